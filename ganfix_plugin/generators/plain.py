"""Any `nn.Module` given layer names, and DCGAN-like stacks, which are recognised by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept

_RELUS = (nn.ReLU, nn.LeakyReLU)


class _Unconditional(Adapter):
    entry = ""
    styled = False

    def mean_latent(self, G: Any) -> Tensor | None:
        return torch.zeros(self.latent_shape(G))

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        """The input of the first linear layer or convolution: (z,) or (z, 1, 1)."""
        for module in G.modules():
            if isinstance(module, nn.Linear):
                return (module.in_features,)
            if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
                return (module.in_channels, 1, 1)
        raise GanfixError(f"{type(G).__name__}: found no layer that would take a latent z")

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        images = G(z)
        return images[0] if isinstance(images, tuple) else images

    def _layers(self, G: Any, names: Sequence[str]) -> tuple[Layer, ...]:
        """Number modules by the order in which a pass of one latent reaches them."""
        layers: list[Layer] = []

        def visit(layer: Layer, x: Tensor) -> None:
            if not isinstance(x, Tensor) or x.dim() != 4:
                kind = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise GanfixError(
                    f"layers: {layer.name} returns {kind}, expected a feature map [N, C, H, W]"
                )
            _, units, height, width = x.shape
            layers.append(Layer(len(layers), layer.name, (height, width), units))

        tensor = next(iter(G.parameters()), torch.zeros(()))
        z = torch.zeros(1, *self.latent_shape(G), device=tensor.device, dtype=tensor.dtype)
        unknown = [Layer(-1, name, (0, 0), 0) for name in names]
        try:
            with random_state_kept(G):
                observe(G, unknown, visit, lambda view: self.synthesize(view, z, None))
        except GanfixError:
            raise
        except Exception as error:
            raise GanfixError(
                f"{type(G).__name__}: cannot be called on one latent {list(z.shape)} "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            ) from error
        return tuple(layers)


@dataclass(frozen=True)
class Plain(_Unconditional):
    """Layers by module name, numbered in the order in which they run. ``auto`` takes them all."""

    modules: tuple[str, ...]
    name = "plain"
    title = "any torch.nn.Module, layers by module name"

    def matches(self, G: Any) -> bool:
        return True

    def layers(self, G: Any) -> tuple[Layer, ...]:
        names = [name for name, _ in G.named_modules() if name]
        for name in self.modules:
            if name not in names:
                raise GanfixError(
                    f"layers: {name} is no module of {type(G).__name__}; there are "
                    f"{', '.join(names)}"
                )
        return self._layers(G, self.modules)

    def auto(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        return tuple(layers)


class DCGAN(_Unconditional):
    """A sequential stack from a latent: layers are its ReLU modules; ``auto`` the first three."""

    name = "dcgan"
    title = "DCGAN-like nn.Sequential"
    first_three = True

    def matches(self, G: Any) -> bool:
        kinds = [type(module) for module in self._steps(G).values()]
        # What starts with a convolution starts from an image: an encoder, a discriminator.
        weighted = [kind for kind in kinds if kind in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)]
        from_latent = nn.ConvTranspose2d in weighted and weighted[0] is not nn.Conv2d
        return from_latent and any(kind in _RELUS for kind in kinds)

    def layers(self, G: Any) -> tuple[Layer, ...]:
        steps = self._steps(G).items()
        return self._layers(G, [name for name, module in steps if isinstance(module, _RELUS)])

    def _steps(self, G: Any) -> dict[str, nn.Module]:
        """The modules of the one nn.Sequential that G is or consists of, by dotted name."""
        if isinstance(G, nn.Sequential):
            return dict(G.named_children())
        children = list(G.named_children())
        if len(children) == 1 and isinstance(children[0][1], nn.Sequential):
            name, stack = children[0]
            return {f"{name}.{step}": module for step, module in stack.named_children()}
        return {}
