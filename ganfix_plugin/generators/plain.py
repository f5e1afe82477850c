"""DCGAN-like stacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.traced import first_width
from ganfix_plugin.hooks.layer import Layer

_RELUS = (nn.ReLU, nn.LeakyReLU)


class DCGAN(Adapter):
    """A sequential stack from a latent: layers are its ReLU modules; ``auto`` the first three."""

    name = "dcgan"
    title = "DCGAN-like nn.Sequential"
    entry = ""
    styled = False
    first_three = True

    def matches(self, G: Any) -> bool:
        kinds = [type(module) for module in self._steps(G).values()]
        # What starts with a convolution starts from an image: an encoder, a discriminator.
        weighted = [kind for kind in kinds if kind in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)]
        from_latent = nn.ConvTranspose2d in weighted and weighted[0] is not nn.Conv2d
        return from_latent and any(kind in _RELUS for kind in kinds)

    def layers(self, G: Any) -> tuple[Layer, ...]:
        steps = self._steps(G).items()
        names = [name for name, module in steps if isinstance(module, _RELUS)]
        return tuple(Layer(i, name, (0, 0), 0) for i, name in enumerate(names))

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        """The input of the first linear layer or convolution: (z,) or (z, 1, 1)."""
        return first_width(G) or ()

    def mean_latent(self, G: Any) -> Tensor | None:
        return torch.zeros(self.latent_shape(G))

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images = G(z)
        return images[0] if isinstance(images, tuple) else images

    def _steps(self, G: Any) -> dict[str, nn.Module]:
        """The modules of the one nn.Sequential that G is or consists of, by dotted name."""
        if isinstance(G, nn.Sequential):
            return dict(G.named_children())
        children = list(G.named_children())
        if len(children) == 1 and isinstance(children[0][1], nn.Sequential):
            name, stack = children[0]
            return {f"{name}.{step}": module for step, module in stack.named_children()}
        return {}
