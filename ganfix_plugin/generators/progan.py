"""Progressive GAN of the PyPI package pro-gan-pth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ganfix_plugin.generators.layers import Growing
from ganfix_plugin.generators.traced import image_item


class ProGAN(Growing):
    """Layers 2k and 2k+1 are ``layers.{k}.conv_1`` and ``conv_2``, at 4·2^k.

    Their LeakyReLU is one module for both, so that the convolutions are edited before it, with
    the same result: it keeps the sign, and what scales its input by a positive number scales its
    output.
    """

    name = "pro-gan-pth"
    title = "PGGAN of the PyPI package pro-gan-pth"
    marks = ("rgb_converters", "latent_size", "layers")
    width = "latent_size"  # whose mean pixel norm normalises away
    entry = ""
    styled = False
    first = 2
    modulated = False
    returns_alike = False  # there are those that return an image of each resolution

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        output = G(z)
        images: Tensor = output if isinstance(output, Tensor) else output[image_item(output)]
        return images

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        for k in range(len(G.layers)):
            for name in (f"layers.{k}.conv_1", f"layers.{k}.conv_2"):
                yield name, G.get_submodule(name).bias.shape[0]
