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
    def of(cls, features: Tensor, more: Tensor | None = None) -> Gaussian:
        """Fit to features [n, d]; raises GanfixError on n < 2, and on NaN or infinite ones.

        Args:
            more: `sums` of further features, which are not kept.
        """
        x = _checked(features).double()
        if more is not None:
            total = sums(features) + more.to(x)
            n, mean = total[0, 0], total[0, 1:] / total[0, 0]
            return cls(mean, (total[1:, 1:] - n * mean.outer(mean)) / (n - 1))
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(mean, _gram(centred) / (len(x) - 1))

    def to(self, device: torch.device) -> Gaussian:
        """The same, on a device."""
        return Gaussian(self.mean.to(device), self.covariance.to(device))

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """The standard deviations [d] along the principal axes, and these as columns [d, d]."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return values.clamp(min=0).sqrt(), vectors

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance."""
        deviations, axes = self._axes
        return (axes * deviations) @ axes.T

    def distance(self, other: Gaussian) -> float:
        """‖μ₁ − μ₂‖² + Tr(C₁ + C₂ − 2 (C₁C₂)^½).

        Tr (C₁C₂)^½ is the sum of the square roots of the eigenvalues of S C₂ S with S = √C₁, which
        is symmetric: exact where ``scipy.linalg.sqrtm`` of a general product is slow and shaky.
        """
        product = self.root @ other.covariance @ self.root
        return self._combine(other.mean - self.mean, other.covariance.trace(), product)

    def distance_to_samples(self, features: Tensor) -> float:
        """The distance to the Gaussian of features [n, d].

        Raises:
            GanfixError: on fewer than two samples, NaN or infinite features, or another width.
        """
        return self.resampled(features)(torch.ones(len(features)))

    def resampled(self, features: Tensor) -> Callable[[Tensor], float]:
        """The distance to features [n, d] as a function of how often, counts [n], each was drawn:
        the draws of a bootstrap, or some of the features by zeros and ones.

        What all draws share, the features `turned`, is made once and takes 8 n d bytes. Features
        are checked as by `distance_to_samples`.
        """
        x = _checked(features, len(self.mean))
        turned = torch.empty(x.shape, dtype=torch.float64, device=x.device)
        for rows, block in zip(turned.split(4096), x.split(4096)):
            rows.copy_(self.turned(block))

        def distance(counts: Tensor) -> float:
            weights = counts.to(turned)
            drawn = weights > 0
            return self.distance_to_turned(turned[drawn], weights[drawn])

        return distance

    def turned(self, features: Tensor) -> Tensor:
        """Features [n, d] for `distance_to_turned`: float64 in the axes of this Gaussian, whose
        origin is its mean. Errors as of `distance_to_samples`, but one sample will do."""
        x = _checked(features, len(self.mean), least=1)
        return (x.double() - self.mean) @ self._axes[1]

    def distance_to_turned(self, rows: Tensor, weights: Tensor) -> float:
        """The distance to features that were `turned` [n, d], of weights [n], such as counts; for
        n < d without a d × d matrix.

        Turning changes neither lengths nor, of S C₂ S, the eigenvalues; and S is diagonal here.
        """
        drawn, n = rows.to(torch.float64, copy=True), weights.sum()
        mean = weights @ drawn / n
        drawn -= mean
        drawn *= (weights / (n - 1)).sqrt()[:, None]
        trace = torch.linalg.vector_norm(drawn).square()
        drawn *= self._axes[0]
        # Of drawn and its transpose, the smaller Gram matrix has all non-zero eigenvalues.
        gram = _gram(drawn if len(drawn) >= drawn.shape[1] else drawn.T)
        return self._combine(mean, trace, gram)

    def _combine(self, offset: Tensor, trace: Tensor, product: Tensor) -> float:
        """Of how far another mean lies off, the trace of its covariance, and S C₂ S."""
        cross = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
        return float(offset.square().sum() + self.covariance.trace() + trace - 2 * cross)


def sums(features: Tensor) -> Tensor:
    """What mean and covariance of features [n, d] are made of, to be added to those of others:
    n, their sum and their Gram matrix, as the Gram matrix [1 + d, 1 + d] of (1, x)."""
    x = finite(features).double()
    return _gram(torch.cat([x.new_ones(len(x), 1), x], dim=1))


def finite(features: Tensor) -> Tensor:
    """The features themselves; raises GanfixError if they hold NaN or infinity."""
    if not torch.isfinite(features).all():
        raise GanfixError("features: found NaN or infinity; check the images and the extractor")
    return features


def _gram(x: Tensor) -> Tensor:
    """xᵀx. On a CPU by numpy, which has BLAS compute one triangle; PyTorch computes both."""
    if x.device.type != "cpu":
        return x.T @ x
    values = x.numpy()
    return torch.from_numpy(values.T @ values)


def _checked(features: Tensor, width: int | None = None, least: int = 2) -> Tensor:
    if features.dim() != 2 or len(features) < least:
        raise GanfixError(f"features: found {list(features.shape)}, expected at least [{least}, d]")
    x = finite(features).detach()
    if width and x.shape[1] != width:
        raise GanfixError(f"features: found widths {width} and {x.shape[1]}, expected one")
    return x
