"""genforce's generators: PGGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA.

The authors of [C22] released their code on the same classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganfix_plugin.generators.layers import Family
from ganfix_plugin.hooks.layer import Layer


class _Genforce(Family):
    prefix = "synthesis."
    quiet = {"randomize_noise": False}
    fused = "fused_modulate"

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.z_space_dim,)

    def image_item(self, G: Any) -> int | str | None:
        return "image"

    def mean_latent(self, G: Any) -> Tensor | None:
        # With repeat_w=False there is one mean w per layer.
        mean: Tensor = G.truncation.w_avg.view(-1, G.w_space_dim)
        return mean

    def num_classes(self, G: Any) -> int:
        return int(G.label_size)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G(z, c)["image"]
        return images

    def _convolutions(self, G: Any) -> list[tuple[str, int]]:
        """(module name, number of units) of layer0, layer1, …"""
        modules = dict(G.named_modules())
        names = (f"{self.prefix}layer{i}" for i in range(len(modules)))
        present = [name for name in names if name in modules]
        return [(name, modules[name].bias.shape[0]) for name in present]


class StyleGAN2(_Genforce):
    """Layer i is ``synthesis.layer{i}``: 0 at 4×4, then two per resolution."""

    name = "genforce-stylegan2"
    title = "StyleGAN2 and StyleGAN2-ADA of genforce"

    def matches(self, G: Any) -> bool:
        return type(G).__name__ in ("StyleGAN2Generator", "StyleGAN2ADAGenerator") and hasattr(
            G, "z_space_dim"
        )

    def layers(self, G: Any) -> tuple[Layer, ...]:
        sizes = (4 * 2 ** ((i + 1) // 2) for i in range(100))
        return tuple(
            Layer(i, name, (size, size), units, item=0, modulated=True)
            for i, ((name, units), size) in enumerate(zip(self._convolutions(G), sizes))
        )


class _TwoPerResolution(_Genforce):
    """Layers 2k and 2k+1 are at 4·2^k; the papers' lists name the second."""

    suffix = ""
    modulated = False

    def layers(self, G: Any) -> tuple[Layer, ...]:
        return tuple(
            Layer(i, name + self.suffix, (4 * 2 ** (i // 2),) * 2, units, modulated=self.modulated)
            for i, (name, units) in enumerate(self._convolutions(G))
        )

    def at_resolution(self, layers: Sequence[Layer], size: int) -> Layer | None:
        return super().at_resolution(layers[::-1], size)


class PGGAN(_TwoPerResolution):
    """Layer 0 is the 4×4 'dense' layer, 1 the 4×4 convolution, 2 and 3 are at 8×8, and so on."""

    name = "genforce-pggan"
    title = "PGGAN of genforce"
    styled = False
    prefix = ""

    def matches(self, G: Any) -> bool:
        return type(G).__name__ == "PGGANGenerator" and hasattr(G, "z_space_dim")

    def entry(self, G: Any) -> str:
        return ""

    def mean_latent(self, G: Any) -> Tensor | None:
        return None  # pixel norm undoes any scaling of the latent


class StyleGAN(_TwoPerResolution):
    """As PGGAN, read at ``.activate``: instance norm and style follow it in the same module."""

    name = "genforce-stylegan"
    title = "StyleGAN of genforce"
    suffix = ".activate"
    modulated = True

    def matches(self, G: Any) -> bool:
        return type(G).__name__ == "StyleGANGenerator" and hasattr(G, "z_space_dim")
