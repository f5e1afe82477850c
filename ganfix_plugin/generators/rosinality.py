"""StyleGAN2 of rosinality's stylegan2-pytorch, and of the PyPI package stylegan2-torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import Latent, with_keywords
from ganfix_plugin.generators.layers import Growing
from ganfix_plugin.generators.modulation import demodulated
from ganfix_plugin.hooks.forward import Call
from ganfix_plugin.hooks.standalone import bare, first_argument, with_first


class Rosinality(Growing):
    """Layer 0 is ``conv1``, layer i is ``convs.{i−1}``."""

    name = "rosinality-stylegan2"
    title = "StyleGAN2 of rosinality's stylegan2-pytorch"
    marks = ("style_dim", "input", "conv1", "convs", "noises")  # what takes maps has no input
    image_item = 0
    width = "style_dim"  # its mean stays unknown: what scripts call truncates by itself
    entry = ""
    quiet = {"randomize_noise": False, "noise": None}
    fused = "fused"

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """The ws of the styles that are handed in: the mapping network is a part of the entry."""
        bound = inspect.signature(entry.forward).bind(*args, **kwargs)
        styles = bound.arguments["styles"]
        if not bound.arguments.get("input_is_latent"):
            styles = map(bare(entry.style), styles)

        def call(ws: Tensor) -> Call:
            taken = {"styles": list(ws.unbind(dim=1)), "input_is_latent": True}
            return with_keywords(entry, args, kwargs, taken)

        return Latent(torch.stack(list(styles), dim=1), True, call)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G([z], randomize_noise=False)[0]
        return images

    def unfuse(self, entry: Any) -> Mapping[str, Any]:
        for module in entry.modules():
            if self.fused in vars(module) and getattr(module, "demodulate", False):
                module.demodulate = False
                vars(module)["forward"] = MethodType(_demodulated_after, module)
        return super().unfuse(entry)

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        names = ["conv1", *(f"convs.{i}" for i in range(len(G.convs)))]
        return [(name, int(G.get_submodule(name).conv.out_channel)) for name in names]


def _demodulated_after(convolution: Any, x: Tensor, w: Tensor) -> Tensor:
    """A modulated convolution that was told not to demodulate, and then does; see `modulation`."""
    y: Tensor = type(convolution).forward(convolution, x, w)
    return demodulated(y, convolution.scale * convolution.weight[0], convolution.modulation(w))


class StyleGAN2Torch(Growing):
    """Layer 0 is ``convs.0``; 2k−1 and 2k are ``up_convs.{k−1}`` and ``convs.{k}``."""

    name = "stylegan2-torch"
    title = "StyleGAN2 of the PyPI package stylegan2-torch"
    marks = ("up_convs", "n_w_plus", "latent_dim")
    width = "latent_dim"
    entry = ""
    styled = False

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images: Tensor = G([z], **self.quietly(G))
        return images

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """Of a list of one z; raises a GanfixError where several are mixed."""
        styles = first_argument(entry, args, kwargs)
        if len(styles) != 1:
            raise GanfixError(
                f"steer: found {len(styles)} latents z that are mixed, expected one; mix ws instead"
            )
        return Latent(styles[0], False, lambda z: with_first(entry, args, kwargs, [z]))

    def quietly(self, entry: Any) -> Mapping[str, Any]:
        # It keeps no noise of its own: the same one by layer and seed in every pass.
        chance, like = torch.Generator().manual_seed(0), next(entry.parameters())
        shapes = [(1, 1, *layer.resolution) for layer in self.layers(entry)]
        noises = [torch.randn(shape, generator=chance, dtype=torch.float32) for shape in shapes]
        return {"noises": [noise.to(like) for noise in noises]}

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        pairs = [(f"up_convs.{i}", f"convs.{i + 1}") for i in range(len(G.up_convs))]
        names = ["convs.0", *(name for pair in pairs for name in pair)]
        return [(name, int(G.get_submodule(name).weight.shape[1])) for name in names]
