"""The Fréchet distance between Gaussians, with everything about the real side computed once.

FID is this distance over Inception features (Heusel et al., NeurIPS 2017); over other features it
is called what it is, a Fréchet distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError


@dataclass(frozen=True)
class Gaussian:
    """Mean [d] and unbiased covariance [d, d] of features, float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """Fit to features [n, d], n ≥ 2.

        Raises:
            GanfixError: on fewer than two samples, or NaN or infinite features.
        """
        x = _checked(features)
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(mean, centred.T @ centred / (len(x) - 1))

    def to(self, device: torch.device) -> Gaussian:
        """The same, on a device."""
        return Gaussian(self.mean.to(device), self.covariance.to(device))

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

    def distance(self, other: Gaussian) -> float:
        """‖μ₁ − μ₂‖² + Tr(C₁ + C₂ − 2 (C₁C₂)^½).

        Tr (C₁C₂)^½ is the sum of the square roots of the eigenvalues of S C₂ S with S = √C₁, which
        is symmetric: exact where ``scipy.linalg.sqrtm`` of a general product is slow and shaky.
        """
        product = self.root @ other.covariance @ self.root
        return self._combine(other.mean, other.covariance.trace(), torch.linalg.eigvalsh(product))

    def distance_to_samples(self, features: Tensor) -> float:
        """The distance to the Gaussian of features [n, d]; for n < d without a d × d matrix.

        S C₂ S and the n × n Gram matrix X C₁ Xᵀ / (n − 1) have the same non-zero eigenvalues.

        Raises:
            GanfixError: on fewer than two samples, NaN or infinite features, or another width.
        """
        x = _checked(features)
        if x.shape[1] != len(self.mean):
            raise GanfixError(
                f"features: found widths {len(self.mean)} and {x.shape[1]}, expected one"
            )
        if len(x) >= x.shape[1]:
            return self.distance(Gaussian.of(x))
        mean = x.mean(dim=0)
        centred = (x - mean) / (len(x) - 1) ** 0.5
        gram = centred @ self.covariance @ centred.T
        return self._combine(mean, centred.square().sum(), torch.linalg.eigvalsh(gram))

    def resampled(self, features: Tensor) -> Callable[[Tensor], float]:
        """The distance to features [n, d] as a function of how often, counts [n], each was drawn.

        For n < d everything follows from the Gram matrix of all of them, which is made once.
        """
        x = _checked(features)
        if len(x) >= x.shape[1]:
            return lambda counts: self.distance(Gaussian.of(_drawn(x, counts)))
        x = x - self.mean
        gram = x @ self.covariance @ x.T

        def distance(counts: Tensor) -> float:
            counts = counts.to(x)
            n, rows = counts.sum(), counts > 0
            weights, some = counts[rows], x[rows]
            mean = weights @ some / n
            inner = gram[rows][:, rows]
            to_mean = inner @ weights / n
            centred = inner - to_mean - to_mean[:, None] + weights @ to_mean / n
            scale = (weights / (n - 1)).sqrt()
            trace = (weights[:, None] * (some - mean).square()).sum() / (n - 1)
            eigenvalues = torch.linalg.eigvalsh(scale[:, None] * centred * scale)
            return self._combine(self.mean + mean, trace, eigenvalues)

        return distance

    def _combine(self, mean: Tensor, trace: Tensor, eigenvalues: Tensor) -> float:
        cross = eigenvalues.clamp(min=0).sqrt().sum()
        between = (self.mean - mean).square().sum()
        return float(between + self.covariance.trace() + trace - 2 * cross)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance between two sets of features [n, d] and [m, d].

    Raises:
        GanfixError: if a set has fewer than two samples or holds NaN, or the widths differ.
    """
    return Gaussian.of(a).distance_to_samples(b)


def _drawn(x: Tensor, counts: Tensor) -> Tensor:
    return x.repeat_interleave(counts.long().to(x.device), dim=0)


def _checked(features: Tensor) -> Tensor:
    x = features.double()
    if x.dim() != 2 or len(x) < 2:
        raise GanfixError(f"features: found {list(x.shape)}, expected at least [2, d]")
    if not torch.isfinite(x).all():
        raise GanfixError("features: found NaN or infinity; check the images and the extractor")
    return x
