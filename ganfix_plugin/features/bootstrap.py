"""Figures of the same latents before and after correction, with the interval of their difference.

The intervals are percentiles of a bootstrap (Efron, 1979). What is drawn again is what a figure is
a mean over, in pairs, the same for both sides: latents for the Fréchet distance, precision and
realism; real images for recall, since generated samples drawn twice would have neighbours at
distance zero.

[K19]: Kynkäänniemi et al., NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold

RESAMPLES = 100
CONFIDENCE = 0.95

Side = Callable[[Tensor], float]


@dataclass(frozen=True)
class Figure:
    """One figure of generations, and of the same generations corrected.

    Attributes:
        name: "frechet", "precision", "recall" or "realism".
        uncorrected: its value without correction.
        corrected: its value with it; None where nothing is corrected.
        interval: the bounds of the difference at `CONFIDENCE`; None if it was not asked for.
    """

    name: str
    uncorrected: float
    corrected: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def difference(self) -> float | None:
        """Corrected minus uncorrected."""
        return None if self.corrected is None else self.corrected - self.uncorrected

    def values(self) -> dict[str, float]:
        """All its values, by the names under which records keep them."""
        values = {"uncorrected": self.uncorrected}
        if self.corrected is not None:
            values |= {"corrected": self.corrected, "difference": self.corrected - self.uncorrected}
        if self.interval is not None:
            values |= dict(zip(("difference_low", "difference_high"), self.interval))
        return values


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples: how often to draw; 0 leaves intervals out.
        seed: of the draws.
    """

    resamples: int = RESAMPLES
    seed: int = 0

    def interval(self, n: int, *sides: Side) -> tuple[float, float] | None:
        """The interval of second minus first side, functions of counts [n] of how often each of n
        samples was drawn; None without a second side."""
        if not self.resamples or len(sides) < 2:
            return None
        chance = np.random.RandomState(self.seed)
        first, second = sides
        differences = []
        for _ in range(self.resamples):
            drawn = np.bincount(chance.randint(n, size=n), minlength=n)
            counts = torch.from_numpy(drawn).double()
            differences.append(second(counts) - first(counts))
        low, high = np.quantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)


def frechet(
    real: Gaussian, before: Tensor, after: Tensor | None = None, how: Bootstrap | None = None
) -> Figure:
    """The Fréchet distance of features [n, d] to real ones; lower is better.

    Raises:
        GanfixError: on fewer than two samples, NaN or infinite features, or another width.
    """
    sides = [before] if after is None else [before, after]
    distances = [real.distance_to_samples(side) for side in sides]
    how = how or Bootstrap()
    interval = how.interval(len(before), *map(real.resampled, sides)) if how.resamples else None
    return Figure("frechet", distances[0], _second(distances), interval)


def precision(
    real: Manifold, before: Tensor, after: Tensor | None = None, how: Bootstrap | None = None
) -> Figure:
    """The share of features [n, d] inside the real manifold ([K19]); higher is better."""
    return _mean("precision", real.contains, before, after, how)


def recall(
    real: Manifold, before: Tensor, after: Tensor | None = None, how: Bootstrap | None = None
) -> Figure:
    """The share of real samples inside the manifold of features [n, d]; higher is better."""
    return _mean("recall", lambda x: Manifold.of(x).contains(real.features), before, after, how)


def realism(
    real: Manifold, before: Tensor, after: Tensor | None = None, how: Bootstrap | None = None
) -> Figure:
    """The mean realism score of features [n, d] ([K19], section 5); higher is better."""
    return _mean("realism", real.realism, before, after, how)


def _mean(
    name: str,
    numbers: Callable[[Tensor], Tensor],
    before: Tensor,
    after: Tensor | None,
    how: Bootstrap | None,
) -> Figure:
    """A figure that is the mean of a number per sample, which a function of the features gives."""
    sides = [numbers(side).double().cpu() for side in (before, after) if side is not None]
    interval = (how or Bootstrap()).interval(len(sides[0]), *map(_weighted, sides))
    means = [float(side.mean()) for side in sides]
    return Figure(name, means[0], _second(means), interval)


def _second(values: list[float]) -> float | None:
    return values[1] if len(values) > 1 else None


def _weighted(numbers: Tensor) -> Side:
    return lambda counts: float(counts @ numbers / len(numbers))
