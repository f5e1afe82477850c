"""BigGAN in PyTorch, and U-net GAN, whose generator is BigGAN's."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.layer import Layer


class BigGAN(Adapter):
    """Layer i is ``blocks.{i}.0``, a residual block; the first one is at 8×8.

    A block returns the residual sum, before the next one's normalisation and ReLU: it counts as
    activated where it is positive. Their ReLU itself is one module, shared with the discriminator.
    Each normalisation scales and shifts units by the sample's class and latent.
    """

    name = "biggan"
    title = "BigGAN of BigGAN-PyTorch, and U-net GAN"
    marks = ("blocks", "shared", "linear", "dim_z", "arch")
    width = "dim_z"
    entry = ""
    styled = False
    first_three = True  # there is no convolution at 4×4

    def layers(self, G: Any) -> tuple[Layer, ...]:
        return tuple(
            Layer(i, f"blocks.{i}.0", (size, size), G.blocks[i][0].out_channels, conditioned=True)
            for i, size in enumerate(G.arch["resolution"])
        )

    def mean_latent(self, G: Any) -> Tensor | None:
        return torch.zeros(G.dim_z)

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """z, with the embedding of the class that comes after it."""
        bound = inspect.signature(entry.forward).bind(*args, **kwargs).arguments
        embedding = next((x for name, x in bound.items() if name == "y"), None)
        return replace(super().latent(entry, args, kwargs), embedding=embedding)

    def num_classes(self, G: Any) -> int:
        return 0 if getattr(G, "unconditional", False) else int(G.n_classes)

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        y = torch.zeros(len(z), dtype=torch.long, device=z.device) if c is None else c.argmax(1)
        images: Tensor = G(z, G.shared(y))
        return images
