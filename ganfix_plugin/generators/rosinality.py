"""StyleGAN2 of rosinality's stylegan2-pytorch, and of the PyPI package stylegan2-torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.generators.layers import Family
from ganfix_plugin.hooks.layer import Layer


class _StyleGAN2(Family):
    """Layer 0 is the convolution at 4×4, then come two per resolution, the first of them up."""

    def entry(self, G: Any) -> str:
        return ""

    def mean_latent(self, G: Any) -> Tensor | None:
        return None  # what scripts call takes a list of latents, and truncates by itself

    def num_classes(self, G: Any) -> int:
        return 0

    def layers(self, G: Any) -> tuple[Layer, ...]:
        sizes = (4 * 2 ** ((i + 1) // 2) for i in range(100))
        return tuple(
            Layer(i, name, (size, size), self._units(G.get_submodule(name)), modulated=True)
            for i, (name, size) in enumerate(zip(self._names(G), sizes))
        )

    def _names(self, G: Any) -> list[str]:
        raise NotImplementedError

    def _units(self, convolution: Any) -> int:
        raise NotImplementedError


class Rosinality(_StyleGAN2):
    """Layer 0 is ``conv1``, layer i is ``convs.{i−1}``."""

    name = "rosinality-stylegan2"
    title = "StyleGAN2 of rosinality's stylegan2-pytorch"

    def matches(self, G: Any) -> bool:
        return all(hasattr(G, name) for name in ("style_dim", "conv1", "convs", "noises"))

    def image_item(self, G: Any) -> int | str | None:
        return 0

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.style_dim,)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G([z], randomize_noise=False)[0]
        return images

    def _names(self, G: Any) -> list[str]:
        return ["conv1", *(f"convs.{i}" for i in range(len(G.convs)))]

    def _units(self, convolution: Any) -> int:
        return int(convolution.conv.out_channel)


class StyleGAN2Torch(_StyleGAN2):
    """Layer 0 is ``convs.0``; 2k−1 and 2k are ``up_convs.{k−1}`` and ``convs.{k}``."""

    name = "stylegan2-torch"
    title = "StyleGAN2 of the PyPI package stylegan2-torch"

    def matches(self, G: Any) -> bool:
        return all(hasattr(G, name) for name in ("up_convs", "n_w_plus", "latent_dim"))

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.latent_dim,)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        # It keeps no noise of its own: the same one by layer and seed in every pass.
        chance = torch.Generator().manual_seed(0)
        sizes = [layer.resolution for layer in self.layers(G)]
        noises = [torch.randn(1, 1, *size, generator=chance).to(z) for size in sizes]
        images: Tensor = G([z], noises=noises)
        return images

    def _names(self, G: Any) -> list[str]:
        pairs = [(f"up_convs.{i}", f"convs.{i + 1}") for i in range(len(G.up_convs))]
        return ["convs.0", *(name for pair in pairs for name in pair)]

    def _units(self, convolution: Any) -> int:
        return int(convolution.weight.shape[1])
