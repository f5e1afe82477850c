"""The Fréchet distance between feature Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from ganfix_plugin import GanfixError
from ganfix_plugin.features.frechet import Gaussian


def features(n: int, d: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Correlated features of very different spreads."""
    chance = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=chance, dtype=torch.float64)
    spread = torch.logspace(-1, 1, d, dtype=torch.float64)
    return torch.randn(n, d, generator=chance, dtype=torch.float64) * spread @ mixing + shift


def frechet_distance(a: Tensor, b: Tensor) -> float:
    return Gaussian.of(a).distance_to_samples(b)


def by_definition(a: Tensor, b: Tensor) -> float:
    """Heusel et al.: numpy's covariances, scipy's root of their product."""
    x, y = a.numpy(), b.numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    between = np.square(x.mean(0) - y.mean(0)).sum()
    return float(between + np.trace(first) + np.trace(second) - 2 * np.trace(np.real(root)))


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (500, 500, 64), (90, 400, 33)])
def test_equals_the_definition_by_scipys_sqrtm(n: int, m: int, d: int) -> None:
    a, b = features(n, d), features(m, d, seed=1, shift=0.5)
    assert frechet_distance(a, b) == pytest.approx(by_definition(a, b), rel=1e-6)


@pytest.mark.parametrize("n", [2, 5, 39])
def test_fewer_samples_than_features_take_a_shorter_way_to_the_same_distance(n: int) -> None:
    real, few = Gaussian.of(features(300, 40)), features(n, 40, seed=1)
    assert real.distance_to_samples(few) == pytest.approx(real.distance(Gaussian.of(few)), rel=1e-6)


def test_is_the_same_from_either_side() -> None:
    a, b = features(200, 12), features(100, 12, seed=1, shift=1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_is_zero_between_equal_sets() -> None:
    a = features(200, 12)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_of_a_shift_alone_is_its_squared_length() -> None:
    a = features(200, 12)
    assert frechet_distance(a, a + 2) == pytest.approx(12 * 2**2, rel=1e-6)


def test_of_a_scale_in_one_dimension_is_the_squared_difference_of_deviations() -> None:
    a = features(200, 1)
    expected = (2 * float(a.std())) ** 2 + (2 * float(a.mean())) ** 2
    assert frechet_distance(a, 3 * a) == pytest.approx(expected, rel=1e-6)


def test_single_precision_features_are_computed_in_double() -> None:
    a, b = features(200, 12).float(), features(100, 12, seed=1).float()
    assert frechet_distance(a, b) == frechet_distance(a.double(), b.double())


def test_dead_features_are_no_obstacle() -> None:
    a, b = features(200, 12), features(100, 12, seed=1)
    a[:, 3] = b[:, 3] = 7
    kept = [i for i in range(12) if i != 3]
    expected = frechet_distance(a[:, kept], b[:, kept])
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_features_that_are_no_numbers_are_refused(side: int, value: float) -> None:
    pair = [features(20, 4), features(20, 4)]
    pair[side][3, 2] = value
    with pytest.raises(GanfixError, match="found NaN or infinity"):
        frechet_distance(*pair)


def test_one_sample_is_too_few() -> None:
    with pytest.raises(GanfixError, match=r"found \[1, 4\], expected at least \[2, d\]"):
        frechet_distance(features(20, 4), features(1, 4))


@pytest.mark.parametrize("other", [features(20, 5), features(20, 1)[:, 0]])
def test_features_of_another_width_are_refused(other: Tensor) -> None:
    with pytest.raises(GanfixError, match="features: found"):
        frechet_distance(features(20, 4), other)


def test_a_gaussian_refuses_samples_of_another_width() -> None:
    with pytest.raises(GanfixError, match="features: found"):
        Gaussian.of(features(20, 4)).distance_to_samples(features(3, 5))


@pytest.mark.parametrize("n", [30, 300])  # of all features, fewer and more than they are wide
@pytest.mark.parametrize("some", [2, 25])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_some_of_many_are_as_far_as_they_are_alone(n: int, some: int, kind: torch.dtype) -> None:
    real, every = Gaussian.of(features(300, 40)), features(n, 40, seed=1, shift=1).to(kind)
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:some]
    counts = torch.zeros(n).index_fill(0, chosen, 1)
    expected = real.distance_to_samples(every[chosen])
    assert real.resampled(every)(counts) == pytest.approx(expected, rel=1e-6)


def test_more_of_many_than_they_are_wide_equal_the_definition_by_scipys_sqrtm() -> None:
    a, b = features(300, 40), features(500, 40, seed=1, shift=0.5)
    counts = torch.zeros(500)
    counts[::3] = 1
    expected = by_definition(a, b[::3])
    assert Gaussian.of(a).resampled(b)(counts) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [3, 300])
def test_many_of_another_width_are_refused(n: int) -> None:
    with pytest.raises(GanfixError, match="found widths 4 and 5"):
        Gaussian.of(features(20, 4)).resampled(features(n, 5))
