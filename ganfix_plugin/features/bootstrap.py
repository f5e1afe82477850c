"""Figures of the same latents before and after correction, with the interval of their difference.

The intervals are percentiles of a bootstrap (Efron, 1979). What is drawn again is what a figure is
a mean over, in pairs, the same for both sides: latents for the Fréchet distance, precision and
realism; real images for recall, since generated samples drawn twice would have neighbours at
distance zero, and for coverage.

[K19]: Kynkäänniemi et al., NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
    """One figure of generations, and of the same generations where they are corrected.

    The interval is of the difference, at `CONFIDENCE`, if it was asked for. The deviations, of one
    or both sides, are the standard deviations over the generations of what realism is the mean of.
    """

    name: str  # "frechet", "precision", "recall", "coverage" or "realism"
    uncorrected: float
    corrected: float | None = None
    interval: tuple[float, float] | None = field(default=None, kw_only=True)
    deviations: tuple[float, ...] = field(default=(), kw_only=True)

    @property
    def difference(self) -> float | None:
        """Corrected minus uncorrected."""
        return None if self.corrected is None else self.corrected - self.uncorrected

    def values(self) -> dict[str, float]:
        """All its values, by the names under which records keep them."""
        low, high = self.interval or (None, None)
        deviations = dict(zip(("uncorrected_sd", "corrected_sd"), self.deviations))
        values = {
            "uncorrected": self.uncorrected,
            "corrected": self.corrected,
            "difference": self.difference,
            "difference_low": low,
            "difference_high": high,
            **deviations,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    resamples: int = RESAMPLES  # 0 leaves intervals out
    seed: int = 0

    def interval(self, n: int, *sides: Side) -> tuple[float, float] | None:
        """The interval of second minus first side, functions of counts [n] of how often each of n
        samples was drawn; None without a second side."""
        if not self.resamples or len(sides) < 2:
            return None
        chance, differences = np.random.RandomState(self.seed), []
        for _ in range(self.resamples):
            drawn = np.bincount(chance.randint(n, size=n), minlength=n)
            first, second = (side(torch.from_numpy(drawn).double()) for side in sides)
            differences.append(second - first)
        low, high = np.quantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)


def frechet(
    real: Gaussian, sides: Sequence[Tensor], how: Bootstrap, more: Sequence[Tensor] = ()
) -> Figure:
    """The Fréchet distance to real features of one or two sides [n, d]; lower is better.

    Args:
        more: `frechet.sums` of further generations of each side. The distances are of all of them;
            the interval is as wide as that of the n, which is the wider one, around their
            difference.
    """
    distances = [real.distance_to_samples(side) for side in sides]
    draws = [real.resampled(side) for side in sides] if how.resamples else []
    interval = how.interval(len(sides[0]), *draws)
    if more:
        of_all = [real.distance(Gaussian.of(side, further)) for side, further in zip(sides, more)]
        moved = (of_all[-1] - of_all[0]) - (distances[-1] - distances[0])
        interval = interval and (interval[0] + moved, interval[1] + moved)
        distances = of_all
    return Figure("frechet", *distances, interval=interval)


_NUMBERS: dict[str, Callable[[Manifold, Tensor], Tensor]] = {
    "precision": Manifold.contains,
    "recall": lambda real, features: Manifold.of(features).contains(real.features),
    "coverage": Manifold.covered,
    "realism": Manifold.realism,
}


def mean(name: str, real: Manifold, sides: Sequence[Tensor], how: Bootstrap) -> Figure:
    """A figure ([K19]) of one or two sides, features [n, d]; higher is better.

    Args:
        name: "precision", the share of them inside the real manifold, "recall", the share of real
            samples inside theirs, "coverage", the share of real balls that hold one of them, or
            "realism", their mean realism score (section 5).
    """
    numbers = [_NUMBERS[name](real, side).double().cpu() for side in sides]
    interval = how.interval(len(numbers[0]), *map(_weighted, numbers))
    means = [float(side.mean()) for side in numbers]
    # The others are shares of yes and no, whose deviation says nothing more.
    deviations = tuple(float(side.std()) for side in numbers) if name == "realism" else ()
    return Figure(name, *means, interval=interval, deviations=deviations)


def _weighted(numbers: Tensor) -> Side:
    return lambda counts: float(counts @ numbers / len(numbers))
