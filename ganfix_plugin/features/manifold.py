"""Precision, recall, coverage and the realism score of k-nearest-neighbour manifolds.

- [K19]: Kynkäänniemi et al., NeurIPS 2019.
- [N20]: Naeem et al., ICML 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.frechet import finite

K = 3
_DISTANCES = 2 << 20  # as many are computed at a time


@dataclass(frozen=True)
class Manifold:
    """The union of balls around features, each reaching to its k-th nearest neighbour."""

    features: Tensor  # [n, d]
    radii: Tensor  # [n]

    @classmethod
    def of(cls, features: Tensor, k: int = K) -> Manifold:
        """Raises GanfixError on k or fewer samples, or NaN or infinite features."""
        if features.dim() != 2 or len(features) <= k:
            raise GanfixError(f"features: found {list(features.shape)}, expected over {k} rows")
        x = features.float()
        # The nearest neighbour of a sample is itself.
        return cls(x, _by_row(x, x, lambda far: far.kthvalue(k + 1, dim=1).values))

    def contains(self, features: Tensor) -> Tensor:
        """Whether samples [m, d] lie in any ball: bool [m]."""
        return _by_row(features, self.features, lambda far: (far <= self.radii).any(dim=1)).bool()

    def covered(self, features: Tensor) -> Tensor:
        """Whether each ball holds any of samples [m, d]: bool [n]. Of real images' balls their
        mean is the coverage of [N20], which no wide ball of a stray generation adds to."""
        samples = finite(features).float()
        return _by_row(self.features, samples, lambda far: far.amin(dim=1)) <= self.radii

    def realism(self, features: Tensor) -> Tensor:
        """The realism score of samples [m, d]: float32 [m]; at 1 or more inside the manifold.

        The half of the balls with the largest radii is left out, as in [K19], section 5.
        """
        kept = self.radii <= self.radii.median()
        balls, radii = self.features[kept], self.radii[kept]
        return _by_row(features, balls, lambda far: (radii / far.clamp(min=1e-12)).amax(dim=1))


def precision_recall(real: Tensor, generated: Tensor, k: int = K) -> tuple[float, float]:
    """Share of generated inside the real manifold, and of real inside the generated one."""
    precision = Manifold.of(real, k).contains(generated).float().mean()
    recall = Manifold.of(generated, k).contains(real).float().mean()
    return float(precision), float(recall)


def _by_row(a: Tensor, b: Tensor, number: Callable[[Tensor], Tensor]) -> Tensor:
    """For each row of a, a number that is made of its distances to all rows of b: float32 [n]."""
    # Not by the expanded square, whose cancellation moves samples across radii.
    distances = partial(torch.cdist, x2=b, compute_mode="donot_use_mm_for_euclid_dist")
    x, size = finite(a).float(), max(_DISTANCES // len(b), 1)
    # In place, since what is allocated between large blocks keeps the allocator from reusing them.
    numbers = x.new_empty(len(x))
    for rows, block in zip(numbers.split(size), x.split(size)):
        rows.copy_(number(distances(block)))
    return numbers
