"""StyleGAN2 of rosinality's stylegan2-pytorch, and of the PyPI package stylegan2-torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import Latent, with_keywords
from ganfix_plugin.generators.layers import Family
from ganfix_plugin.hooks.forward import Call, bare
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import first_argument, with_first


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
    quiet = {"randomize_noise": False, "noise": None}
    fused = "fused"

    def matches(self, G: Any) -> bool:
        return all(hasattr(G, name) for name in ("style_dim", "conv1", "convs", "noises"))

    def image_item(self, G: Any) -> int | str | None:
        return 0

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """The ws of the styles that are handed in: the mapping network is a part of the entry."""
        bound = inspect.signature(entry.forward).bind(*args, **kwargs)
        styles = bound.arguments["styles"]
        if not bound.arguments.get("input_is_latent"):
            style = bare(entry.style)
            styles = [style(z) for z in styles]

        def call(ws: Tensor) -> Call:
            taken = {"styles": list(ws.unbind(dim=1)), "input_is_latent": True}
            return with_keywords(entry, args, kwargs, taken)

        return Latent(torch.stack(list(styles), dim=1), True, call)

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
    styled = False

    def matches(self, G: Any) -> bool:
        return all(hasattr(G, name) for name in ("up_convs", "n_w_plus", "latent_dim"))

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        return (G.latent_dim,)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G([z], **self.quietly(G))
        return images

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """Of a list of one z.

        Raises:
            GanfixError: where several are mixed.
        """
        styles = first_argument(entry, args, kwargs)
        if len(styles) != 1:
            raise GanfixError(
                f"steer: found {len(styles)} latents z that are mixed, expected one; mix ws instead"
            )
        return Latent(styles[0], False, lambda z: with_first(entry, args, kwargs, [z]))

    def quietly(self, entry: Any) -> Mapping[str, Any]:
        # It keeps no noise of its own: the same one by layer and seed in every pass.
        chance = torch.Generator().manual_seed(0)
        sizes = [layer.resolution for layer in self.layers(entry)]
        like = next(entry.parameters())
        kind = torch.float32
        noises = [torch.randn(1, 1, *size, generator=chance, dtype=kind) for size in sizes]
        return {"noises": [noise.to(like) for noise in noises]}

    def _names(self, G: Any) -> list[str]:
        pairs = [(f"up_convs.{i}", f"convs.{i + 1}") for i in range(len(G.up_convs))]
        return ["convs.0", *(name for pair in pairs for name in pair)]

    def _units(self, convolution: Any) -> int:
        return int(convolution.weight.shape[1])
