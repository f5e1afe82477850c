"""What the first layers say of a call before anything is rendered: the mean of each unit's map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Batch
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import Args, Kwargs, called_with, observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.partial import Partial, rows


@dataclass(frozen=True)
class Reader:
    """Reads the units of a generator, or its latent, in calls of its entry.

    Attributes:
        adapter: of the generator.
        layers: whose units, named relative to the entry; none to read the latent itself.
        centres: [K, e], by class the mean of what tells it (`Latent.condition`); None where classes
            are none, or not told apart.
    """

    adapter: Adapter
    layers: tuple[Layer, ...]
    centres: Tensor | None = None

    @classmethod
    def of(cls, generator: Generator, layers: Iterable[Layer]) -> Reader:
        """A reader of some layers of a generator."""
        entry = generator.adapter.entry
        return cls(generator.adapter, tuple(layer.within(entry) for layer in layers))

    @property
    def numbers(self) -> str:
        """The numbers of its layers, for people."""
        return "+".join(layer.number for layer in self.layers)

    def read(
        self,
        entry: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        gradients: bool = False,
    ) -> Tensor:
        """The mean over H and W of each unit's positive activations, in one early-exit pass.

        Noise is constant, and kernels are not fused with styles, where the family offers it; the
        random state stays as it was.

        Returns:
            float32 [N, units of all layers], and with ``centres`` the one-hot classes [N, K] after
            them; of latents [N, d], the mean of a sample's ws.
        """
        if not self.layers:
            return self.adapter.latent(entry, args, kwargs).vectors
        units = self.units(entry, args, kwargs, gradients)
        return torch.cat([units, self.classes(self.adapter.latent(entry, args, kwargs))], dim=1)

    def classes(self, latent: Latent) -> Tensor:
        """One-hot classes, float32 [N, K], by the nearest of the centres; [N, 0] without them."""
        condition = latent.condition
        if self.centres is None:
            return condition.new_zeros(len(condition), 0)
        centres = self.centres.to(condition)
        return one_hot(torch.cdist(condition, centres).argmin(dim=1), len(centres)).float()

    def units(
        self,
        entry: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        gradients: bool = False,
    ) -> Tensor:
        """What `read` reads, without classes; the mean over all images of a latent."""
        means: dict[str, Tensor] = {}
        latents = len(self.adapter.latent(entry, args, kwargs).x)

        def add(layer: Layer, x: Tensor) -> None:
            of_rows = x.float().relu().mean(dim=(2, 3))
            means[layer.name] = of_rows.view(latents, -1, of_rows.shape[1]).mean(dim=1)

        self.visit(entry, args, kwargs, add, gradients)
        return torch.cat([means[layer.name] for layer in self.layers], dim=1)

    def visit(
        self,
        entry: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        visit: Callable[[Layer, Tensor], None],
        gradients: bool = False,
    ) -> None:
        """Show the feature maps [N, C, H, W] of the layers in the pass that `read` takes, in the
        order in which they run."""

        def call(view: nn.Module) -> Any:
            self.adapter.make_quick(view, quiet=True)
            return view(*args, **kwargs)

        with random_state_kept(entry, seed=0):
            observe(entry, self.layers, visit, call, gradients=gradients)


@dataclass(frozen=True)
class Readings:
    """What was read of many latents.

    Attributes:
        means: [N, D], float32.
        scale: the mean distance of ws from their mean; 0 where the entry takes z.
        root: [d, d], the square root of the covariance of ws; None where the entry takes z.
        conditions: [N, e], what tells the classes; None without any.
        classes: int64 [N]; None without any.
    """

    means: Tensor
    scale: float
    root: Tensor | None = None
    conditions: Tensor | None = None
    classes: Tensor | None = None


def entry_call(
    generator: Generator, call: Callable[[nn.Module], Any]
) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """The entry of a generator, and the arguments that it is called with where ``call`` runs the
    generator, for example ``lambda G: G(z)``."""
    name = generator.adapter.entry
    args, kwargs = called_with(generator.G, name, call)
    return generator.G.get_submodule(name), args, kwargs


def read_batches(
    generator: Generator,
    reader: Reader,
    batches: Iterable[Batch],
    partial: Partial | None = None,
) -> Readings:
    """Read batches (z, c) of a generator, at psi 1.

    Args:
        partial: where what is read is kept, and taken up from.

    Raises:
        GanfixError: if a unit is NaN or infinite.
    """
    latents: list[Latent] = []
    classes: list[Tensor] = []

    def calls() -> Iterator[tuple[nn.Module, Args, Kwargs]]:
        for z, c in batches:
            classes.extend([] if c is None else [c.argmax(dim=1).cpu()])
            call = entry_call(generator, lambda view: generator.synthesize(z, c, view))
            latents.append(generator.adapter.latent(*call))
            yield call

    with torch.no_grad():
        means = rows(calls(), lambda call: reader.read(*call), partial or Partial(None))
    if not torch.isfinite(means).all():
        raise GanfixError(f"{generator.name}: found NaN or infinity in the units of its layers")
    vectors = torch.cat([latent.vectors.cpu() for latent in latents])
    centred = vectors - vectors.mean(dim=0)
    scale, root = 0.0, None
    if latents[0].styled:
        scale, root = float(centred.norm(dim=1).mean()), Gaussian.of(vectors).root.float()
    if not classes:
        return Readings(means, scale, root)
    conditions = torch.cat([latent.condition.cpu() for latent in latents])
    return Readings(means, scale, root, conditions, torch.cat(classes))
