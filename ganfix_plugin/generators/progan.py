"""Progressive GAN of the PyPI package pro-gan-pth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganfix_plugin.generators.layers import Family
from ganfix_plugin.hooks.layer import Layer


class ProGAN(Family):
    """Layers 2k and 2k+1 are ``layers.{k}.conv_1`` and ``conv_2``, at 4·2^k.

    Their LeakyReLU is one module for both, so that the convolutions are edited before it. That
    comes to the same: it keeps the sign, and what scales its input by a positive number scales its
    output.
    """

    name = "pro-gan-pth"
    title = "PGGAN of the PyPI package pro-gan-pth"
    styled = False

    def matches(self, G: Any) -> bool:
        return all(hasattr(G, name) for name in ("rgb_converters", "latent_size", "layers"))

    def layers(self, G: Any) -> tuple[Layer, ...]:
        names = [f"layers.{k}.conv_{i}" for k in range(len(G.layers)) for i in (1, 2)]
        return tuple(
            Layer(i, name, (4 * 2 ** (i // 2),) * 2, G.get_submodule(name).bias.shape[0])
            for i, name in enumerate(names)
        )

    def at_resolution(self, layers: Sequence[Layer], size: int) -> Layer | None:
        return super().at_resolution(layers[::-1], size)

    def entry(self, G: Any) -> str:
        return ""

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.latent_size,)

    def mean_latent(self, G: Any) -> Tensor | None:
        return None  # pixel norm undoes any scaling of the latent

    def num_classes(self, G: Any) -> int:
        return 0

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G(z)
        return images
