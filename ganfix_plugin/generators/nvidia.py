"""NVIDIA's generators: StyleGAN2 (stylegan2-ada-pytorch, stylegan3) and StyleGAN3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ganfix_plugin.generators.layers import Family
from ganfix_plugin.hooks.layer import Layer


class _Nvidia(Family):
    quiet: Mapping[str, Any] = {"noise_mode": "const"}

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.z_dim,)

    def mean_latent(self, G: Any) -> Tensor | None:
        mean: Tensor | None = getattr(G.mapping, "w_avg", None)
        # StyleGAN-XL keeps one mean per class, and truncates towards that.
        return mean if mean is None or mean.dim() == 1 else None

    def num_classes(self, G: Any) -> int:
        return int(G.c_dim)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        if c is None:
            c = z.new_zeros(len(z), 0)
        # The default, random noise, would make what is measured depend on where the pass ends.
        images: Tensor = G(z, c, noise_mode="const")
        return images


class StyleGAN2(_Nvidia):
    """Layer 0 is b4.conv1; 2k−1 and 2k are conv0 (upsampling) and conv1 of b{4·2^k}."""

    name = "nvidia-stylegan2"
    title = "StyleGAN2 of NVIDIA's stylegan2-ada-pytorch and stylegan3"
    quiet = {"noise_mode": "const", "fused_modconv": False}

    def matches(self, G: Any) -> bool:
        synthesis = getattr(G, "synthesis", None)
        return hasattr(synthesis, "block_resolutions") and hasattr(G, "mapping")

    def layers(self, G: Any) -> tuple[Layer, ...]:
        found: list[Layer] = []
        for size in G.synthesis.block_resolutions:
            for conv in ("conv0", "conv1"):
                name = f"synthesis.b{size}.{conv}"
                if size == 4 and conv == "conv0":
                    continue
                units = G.get_submodule(name).bias.shape[0]
                found.append(Layer(len(found), name, (size, size), units, modulated=True))
        return tuple(found)


class StyleGAN3(_Nvidia):
    """Layer i is the i-th of ``synthesis.layer_names``, without the last one, ToRGB."""

    name = "nvidia-stylegan3"
    title = "StyleGAN3 of NVIDIA's stylegan3, StyleGAN-XL"

    def matches(self, G: Any) -> bool:
        synthesis = getattr(G, "synthesis", None)
        return hasattr(synthesis, "layer_names") and hasattr(synthesis, "input")

    def layers(self, G: Any) -> tuple[Layer, ...]:
        found: list[Layer] = []
        for name in G.synthesis.layer_names[:-1]:
            module = G.get_submodule(f"synthesis.{name}")
            width, height = (int(size) for size in module.out_size)
            units = int(module.out_channels)
            found.append(
                Layer(len(found), f"synthesis.{name}", (height, width), units, modulated=True)
            )
        return tuple(found)

    def auto(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        # The feature maps carry a margin and start at a sampling rate of 16, so that 4x4, 8x8 and
        # 16x16 are answered by the layers nearest to them: the first three.
        return tuple(layers[:3])
