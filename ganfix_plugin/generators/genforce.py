"""genforce's generators, and those of code that was written before or after it: PGGAN, StyleGAN,
StyleGAN2 and StyleGAN2-ADA.

The authors of [C22] (Choi, Chang, Choi, IJCAI 2022) released their code on the same classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from ganfix_plugin.generators.layers import Growing
from ganfix_plugin.generators.modulation import demodulated


class _Genforce(Growing):
    prefix = "synthesis."
    width = "z_space_dim"
    classes = "label_size"
    image_item = "image"
    quiet = {"randomize_noise": False}
    fused = "fused_modulate"

    def matches(self, G: Any) -> bool:
        layer = dict(G.named_modules()).get(f"{self.prefix}layer1")
        return hasattr(G, self.width) and layer is not None and self.fits(layer)

    def fits(self, layer: nn.Module) -> bool:
        """Whether a layer is one of this family."""
        raise NotImplementedError

    def mean_latent(self, G: Any) -> Tensor | None:
        # With repeat_w=False there is one mean w per layer.
        mean: Tensor = G.truncation.w_avg.view(-1, G.w_space_dim)
        return mean

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        output = G(z) if c is None else G(z, c)
        images: Tensor = output["image"] if isinstance(output, dict) else output
        return images

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        modules = dict(G.named_modules())
        for name in (f"{self.prefix}layer{i}" for i in range(len(modules))):
            if name in modules:
                biases = (
                    x for part, x in modules[name].named_parameters() if part.endswith("bias")
                )
                yield self.inside(name, modules[name]), next(biases).shape[0]

    def inside(self, name: str, layer: nn.Module) -> str:
        """The module in a layer that is read."""
        return name


class StyleGAN2(_Genforce):
    """Layer i is ``synthesis.layer{i}``: 0 at 4×4, then two per resolution."""

    name = "genforce-stylegan2"
    title = "StyleGAN2 and StyleGAN2-ADA of genforce"
    item = 0

    def fits(self, layer: nn.Module) -> bool:
        return hasattr(layer, "style") and not _part(layer, "norm", "normalize")

    def unfuse(self, entry: Any) -> Mapping[str, Any]:
        for module in entry.modules():
            if self.fused in vars(module) and "weight" in module._parameters:
                vars(module)["forward"] = MethodType(_demodulated_after, module)
        return super().unfuse(entry)


class PGGAN(_Genforce):
    """Layer 0 is the 4×4 'dense' layer, 1 the 4×4 convolution, 2 and 3 are at 8×8, and so on."""

    name = "genforce-pggan"
    title = "PGGAN of genforce"
    entry = ""
    first = 2
    modulated = False
    styled = False
    prefix = ""

    def fits(self, layer: nn.Module) -> bool:
        return hasattr(layer, "pixel_norm")

    def mean_latent(self, G: Any) -> Tensor | None:
        return None  # pixel norm undoes any scaling of the latent


class StyleGAN(_Genforce):
    """As PGGAN, read at ``activate``: instance norm and style follow it in the same module."""

    name = "genforce-stylegan"
    title = "StyleGAN of genforce"
    first = 2

    def fits(self, layer: nn.Module) -> bool:
        return bool(_part(layer, "norm", "normalize") and _part(layer, "activate"))

    def inside(self, name: str, layer: nn.Module) -> str:
        return f"{name}.{_part(layer, 'activate')}"


def _part(layer: nn.Module, *names: str) -> str:
    """The module of one of some names in a layer, or deeper in it; "" without one."""
    parts = (part for part, _ in layer.named_modules())
    return next((part for part in parts if part.rpartition(".")[2] in names), "")


def _demodulated_after(
    block: Any, x: Tensor, w: Tensor, randomize_noise: bool = False
) -> tuple[Tensor, Tensor]:
    """Such a block's forward, without kernels of each sample's own; see `modulation`."""
    if randomize_noise or not block.demodulate:
        maps: tuple[Tensor, Tensor] = type(block).forward(block, x, w, randomize_noise)
        return maps
    styles: Tensor = getattr(block, "forward_style", block.style)(w)
    weight, y = block.weight * block.wscale, x * styles[:, :, None, None]
    if block.use_conv2d_transpose:
        kernels = weight.flip(2, 3).transpose(0, 1)
        y = block.filter(conv_transpose2d(y, kernels, None, block.stride, block.padding))
    else:
        y = conv2d(y, weight, None, block.stride, block.padding)
    y = demodulated(y, weight, styles)
    if block.add_noise:
        y = y + block.noise * block.noise_strength
    if block.bias is not None:
        y = y + (block.bias * block.bscale)[:, None, None]
    return block.activate(y) * block.activate_scale, styles
