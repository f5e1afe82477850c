"""genforce's generators: PGGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA.

The authors of [C22] (Choi, Chang, Choi, IJCAI 2022) released their code on the same classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ganfix_plugin.generators.layers import Growing


class _Genforce(Growing):
    kinds: tuple[str, ...]  # names of classes: their structure is the same
    prefix = "synthesis."
    suffix = ""
    width = "z_space_dim"
    classes = "label_size"
    image_item = "image"
    quiet = {"randomize_noise": False}
    fused = "fused_modulate"

    def matches(self, G: Any) -> bool:
        return type(G).__name__ in self.kinds and hasattr(G, self.width)

    def mean_latent(self, G: Any) -> Tensor | None:
        # With repeat_w=False there is one mean w per layer.
        mean: Tensor = G.truncation.w_avg.view(-1, G.w_space_dim)
        return mean

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G(z, c)["image"]
        return images

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        modules = dict(G.named_modules())
        for name in (f"{self.prefix}layer{i}" for i in range(len(modules))):
            if name in modules:
                yield name + self.suffix, modules[name].bias.shape[0]


class StyleGAN2(_Genforce):
    """Layer i is ``synthesis.layer{i}``: 0 at 4×4, then two per resolution."""

    name = "genforce-stylegan2"
    title = "StyleGAN2 and StyleGAN2-ADA of genforce"
    kinds = ("StyleGAN2Generator", "StyleGAN2ADAGenerator")
    item = 0


class PGGAN(_Genforce):
    """Layer 0 is the 4×4 'dense' layer, 1 the 4×4 convolution, 2 and 3 are at 8×8, and so on."""

    name = "genforce-pggan"
    title = "PGGAN of genforce"
    kinds = ("PGGANGenerator",)
    entry = ""
    first = 2
    modulated = False
    styled = False
    prefix = ""

    def mean_latent(self, G: Any) -> Tensor | None:
        return None  # pixel norm undoes any scaling of the latent


class StyleGAN(_Genforce):
    """As PGGAN, read at ``.activate``: instance norm and style follow it in the same module."""

    name = "genforce-stylegan"
    title = "StyleGAN of genforce"
    kinds = ("StyleGANGenerator",)
    first = 2
    suffix = ".activate"
