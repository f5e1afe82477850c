"""One sweep over latents for all that is measured of layers: activation rates, unit thresholds.

How many latents that takes is found out, unless a number is given: they are dealt into two halves,
and a layer is done as soon as both halves say the same of it.

[C22]: Choi, Chang, Choi, IJCAI 2022. [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, like_parameters
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state
from ganfix_plugin.ops.dispatch import implementation
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling.profile import Extent
from ganfix_plugin.profiling.quantiles import UnitHistogram
from ganfix_plugin.workers import Tensors, progress

MOST = 10_000  # latents, where no number is given
BLOCK = 250  # latents that go to one half before as many go to the other
RATES = (0.1, 0.3)  # of the LR score, and the paper's of ablation: whose neurons are compared
# Halves agree where the sets of low-rate neurons are as alike as this, and where thresholds are as
# close as this on the average of a layer, in parts of the unit's range. What both halves say
# together is about half as far from what all latents would.
JACCARD = 0.9
WITHIN = 0.01
TAU = 0.005


@dataclass(frozen=True)
class Wanted:
    """What a sweep is to measure.

    Attributes:
        rates: the layers whose neurons are to be counted.
        thresholds: the layers whose units' T_u are to be found, P(A_u > T_u) = tau over all pixels
            of all samples ([T21], 3.2).
        samples: the number of latents; None takes as many as it needs, up to `MOST`.
        batch: latents per pass; numbers depend on it no more than the generator itself does.
    """

    rates: Sequence[Layer] = ()
    thresholds: Sequence[Layer] = ()
    tau: float = TAU
    samples: int | None = None
    batch: int = BATCH

    @property
    def most(self) -> int:
        """The latents that it may take."""
        return MOST if self.samples is None else self.samples


@dataclass(frozen=True)
class Swept:
    """What a sweep has measured, by layer name.

    Attributes:
        counts: int32 [C, H, W]: in how many samples each neuron was activated, f_n(z) > 0
            ([C22], 3).
        thresholds: float64 [C].
        extents: on how many latents; by ``rates/NAME`` and ``thresholds/NAME``.
    """

    counts: Tensors
    thresholds: Tensors
    extents: dict[str, Extent]


def sweep(
    generator: Generator, wanted: Wanted, latents: Latents, partial: Partial | None = None
) -> Swept:
    """Measure what is wanted of a generator, at psi 1 and constant noise.

    Passes end after the deepest of the layers that are not done yet. Memory does not grow with the
    number of latents.

    Args:
        partial: where the sums are kept, and taken up from.
    """
    partial = partial or Partial(None)
    state = _State(generator, wanted, latents)
    state.take_up(partial.read())
    left = -(-(wanted.most - state.done) // wanted.batch)
    what = "measuring" if wanted.samples else "measuring until two halves agree, at most"
    for half, z, c in progress(state.batches(), left, what):
        state.add(half, z, c)
        partial.keep(state.tensors)
    partial.keep(state.tensors, now=True)
    return state.swept()


class _Sums(Protocol):
    """What is summed over the latents of a half."""

    def add(self, x: Tensor) -> None: ...
    def merge(self, other: Any) -> None: ...
    def tensors(self) -> Tensors: ...


class _Active:
    """In how many samples each neuron of a layer is activated: int32, in the memory order of the
    first feature map."""

    def __init__(self, counts: Tensor | None = None) -> None:
        self.counts = counts

    def add(self, x: Tensor) -> None:
        if self.counts is None:
            self.counts = torch.zeros_like(x[0], dtype=torch.int32)
        elif self.counts.device != x.device:
            self.counts = self.counts.to(x.device)
        implementation(x).count_active_(x, self.counts)

    def merge(self, other: _Active) -> None:
        if self.counts is None or other.counts is None:
            self.counts = other.counts if self.counts is None else self.counts
        else:
            self.counts += other.counts.to(self.counts.device)

    def tensors(self) -> Tensors:
        return {} if self.counts is None else {"counts": self.counts.cpu().contiguous()}

    @classmethod
    def of(cls, tensors: Tensors) -> _Active:
        return cls(tensors.get("counts"))


@dataclass(frozen=True)
class _Kind:
    """A kind of sums: how they begin, how they come out of a file, how far two halves agree, given
    tau and the latents of each, and whether that is enough."""

    new: Callable[[Layer, int], _Sums]
    of: Callable[[Tensors], _Sums]
    agreement: Callable[[Any, Any, float, int], float]
    enough: Callable[[float], bool]


def _jaccard(a: _Active, b: _Active, tau: float, latents: int) -> float:
    """The smallest Jaccard index of two sets of low-rate neurons; 1 where both are empty."""
    assert a.counts is not None and b.counts is not None
    indices, counts = [], (a.counts, b.counts.to(a.counts.device))
    for rate in RATES:
        low = [count <= rate * latents for count in counts]
        both, either = int((low[0] & low[1]).sum()), int((low[0] | low[1]).sum())
        indices.append(both / either if either else 1.0)
    return min(indices)


def _apart(a: UnitHistogram, b: UnitHistogram, tau: float, latents: int) -> float:
    """The mean distance between the thresholds of a unit, in parts of its range; of units that
    have one."""
    span = torch.maximum(a.high, b.high).double() - torch.minimum(a.low, b.low).double()
    apart = (a.above(tau) - b.above(tau)).abs()
    alive = span > 0
    return float((apart / span)[alive].mean()) if alive.any() else 0.0


def _histogram(layer: Layer, most: int) -> UnitHistogram:
    height, width = layer.resolution
    return UnitHistogram(layer.channels, height * width * most)


_KINDS = {
    "rates": _Kind(lambda *_: _Active(), _Active.of, _jaccard, lambda x: x >= JACCARD),
    "thresholds": _Kind(_histogram, UnitHistogram.of, _apart, lambda x: x <= WITHIN),
}


class _Part:
    """What is measured of one layer: the sums of both halves, or of all once it is done."""

    def __init__(self, kind: str, layer: Layer, wanted: Wanted) -> None:
        self.kind, self.layer = _KINDS[kind], layer
        self.sums = [self.kind.new(layer, wanted.most) for _ in range(2)]
        self.extent: Extent | None = None

    def settle(self, wanted: Wanted, done: int) -> None:
        """Find out whether that was enough."""
        agreement = None
        if wanted.samples is None:
            first, second = self.sums
            agreement = self.kind.agreement(first, second, wanted.tau, done // 2)
        if done == wanted.most or (agreement is not None and self.kind.enough(agreement)):
            self.extent = Extent(done, agreement)
            other = self.sums.pop()
            self.sums[0].merge(other)

    def tensors(self) -> Tensors:
        named = {
            f"{i}/{n}": x for i, sums in enumerate(self.sums) for n, x in sums.tensors().items()
        }
        if self.extent is None:
            return named
        latents, agreement = self.extent.latents, self.extent.agreement
        numbers = [latents] if agreement is None else [latents, agreement]
        return named | {"extent": torch.tensor(numbers, dtype=torch.float64)}

    def take_up(self, tensors: Tensors) -> None:
        if "extent" in tensors:
            latents, *agreement = tensors["extent"].tolist()
            self.extent = Extent(int(latents), *(agreement or [None]))
            self.sums.pop()
        self.sums = [self.kind.of(_below(str(i), tensors)) for i in range(len(self.sums))]


class _State:
    """How far a sweep is."""

    def __init__(self, generator: Generator, wanted: Wanted, latents: Latents) -> None:
        self.generator, self.wanted, self.latents = generator, wanted, latents
        self.parts = {
            f"{kind}/{layer.name}": _Part(kind, layer, wanted)
            for kind in _KINDS
            for layer in getattr(wanted, kind)
        }
        self.done = 0  # latents

    def batches(self) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """The half to which a batch belongs, and the batch, until all layers are done."""
        most, size = self.wanted.most, self.wanted.samples or BLOCK
        while self._open():
            if self.done and (self.done == most or self.done % (2 * size) == 0):
                for part in self._open():
                    part.settle(self.wanted, self.done)
                if not self._open():
                    return
            half, end = self.done // size % 2, min((self.done // size + 1) * size, most)
            first, device = self.done, self.generator.device
            for z, c in self.latents.batches(end - first, self.wanted.batch, device, first):
                yield half, *like_parameters(self.generator, z, c)

    def add(self, half: int, z: Tensor, c: Tensor | None) -> None:
        """Take a batch into the sums of its half."""
        parts = self._open()

        def visit(layer: Layer, x: Tensor) -> None:
            for part in parts:
                if part.layer.name == layer.name:
                    part.sums[half].add(x)

        layers = {part.layer.name: part.layer for part in parts}
        self.generator.observe(tuple(layers.values()), z, c, visit)
        self.done += len(z)

    def swept(self) -> Swept:
        """What came out."""
        held = {name: part.sums[0] for name, part in self.parts.items()}
        counts = {n.partition("/")[2]: s.counts for n, s in held.items() if isinstance(s, _Active)}
        return Swept(
            {name: x.cpu().contiguous() for name, x in counts.items() if x is not None},
            {
                name.partition("/")[2]: sums.above(self.wanted.tau)
                for name, sums in held.items()
                if isinstance(sums, UnitHistogram)
            },
            {name: part.extent for name, part in self.parts.items() if part.extent},
        )

    def tensors(self) -> Tensors:
        """All of it, for a file; with the random state, from which some generators draw noise."""
        named = {
            f"{k}/{name}": x for k, part in self.parts.items() for name, x in part.tensors().items()
        }
        states = {f"random/{i}": x for i, (_, x) in enumerate(random_state(self.generator.G))}
        return named | states | {"done": torch.tensor(self.done)}

    def take_up(self, tensors: Tensors) -> None:
        """Go on where a file was written."""
        if not tensors:
            return
        self.done = int(tensors["done"])
        for name, part in self.parts.items():
            part.take_up(_below(name, tensors))
        for i, (source, _) in enumerate(random_state(self.generator.G)):
            source.set_state(tensors[f"random/{i}"])

    def _open(self) -> list[_Part]:
        return [part for part in self.parts.values() if part.extent is None]


def _below(name: str, tensors: Tensors) -> Tensors:
    """Those whose names begin so, by the rest of their names."""
    return {
        key.removeprefix(f"{name}/"): x for key, x in tensors.items() if key.startswith(f"{name}/")
    }
