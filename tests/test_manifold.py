"""Precision, recall and realism of k-nearest-neighbour manifolds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganfix_plugin import GanfixError
from ganfix_plugin.features import manifold
from ganfix_plugin.features.manifold import Manifold, precision_recall


def features(n: int, seed: int = 0, shift: float = 0.0, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().sum().sqrt())


def radius(x: Tensor, i: int, k: int) -> float:
    """To the k-th nearest of the others."""
    return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]


def share_inside(a: Tensor, b: Tensor, k: int) -> float:
    """Share of b in the union of a's balls, word for word as in section 2 of [K19]."""
    radii = [radius(a, i, k) for i in range(len(a))]
    inside = [any(distance(y, x) <= r for x, r in zip(a, radii)) for y in b]
    return sum(inside) / len(b)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_a_plain_reading(k: int) -> None:
    real, generated = features(60), features(47, seed=1, shift=0.9)
    expected = share_inside(real, generated, k), share_inside(generated, real, k)
    assert 0 < expected[0] < 1 and expected[0] != expected[1]
    assert precision_recall(real, generated, k) == pytest.approx(expected, abs=1e-6)


def test_precision_and_recall_equal_the_formulae_of_prdc() -> None:
    real, generated = features(60), features(45, seed=1, shift=0.7)
    between = torch.cdist(real.double(), generated.double())
    near = [torch.cdist(x, x).sort(dim=1).values[:, 3] for x in (real.double(), generated.double())]
    precision = (between < near[0][:, None]).any(dim=0).double().mean()
    recall = (between < near[1][None]).any(dim=1).double().mean()
    assert precision_recall(real, generated) == pytest.approx((float(precision), float(recall)))


def test_realism_equals_a_plain_reading() -> None:
    real, generated = features(60), features(45, seed=1, shift=0.7)
    radii = [radius(real, i, 3) for i in range(60)]
    half = sorted(range(60), key=lambda i: radii[i])[:30]
    expected = [max(radii[i] / distance(g, real[i]) for i in half) for g in generated]
    scores = Manifold.of(real).realism(generated)
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=1e-5, atol=0)


def test_realism_is_high_on_a_real_sample_and_falls_with_the_distance() -> None:
    real = features(60)
    scores = Manifold.of(real).realism(torch.stack([real.mean(0), real.mean(0) + 5]))
    assert scores[0] > 1 > scores[1]


def test_a_sample_upon_a_real_one_is_finite() -> None:
    real = features(60)
    assert Manifold.of(real).realism(real).isfinite().all()


def test_samples_of_the_same_kind_are_inside_and_strangers_are_not() -> None:
    real = Manifold.of(features(400))
    assert real.contains(features(200, seed=1)).float().mean() > 0.8
    assert not real.contains(features(200, seed=1, shift=20)).any()


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = features(60), features(45, seed=1, shift=0.7)
    whole = precision_recall(real, generated), Manifold.of(real).realism(generated)
    monkeypatch.setattr(manifold, "_DISTANCES", 300)
    assert precision_recall(real, generated) == whole[0]
    assert torch.equal(Manifold.of(real).realism(generated), whole[1])


@pytest.mark.parametrize("n", [1, 3])
def test_k_samples_are_too_few(n: int) -> None:
    with pytest.raises(GanfixError, match=r"expected over 3 rows"):
        Manifold.of(features(n))


def test_nan_features_are_refused() -> None:
    real, generated = features(60), features(45)
    real[7, 1] = torch.nan
    with pytest.raises(GanfixError, match="NaN"):
        precision_recall(real, generated)
    with pytest.raises(GanfixError, match="NaN"):
        Manifold.of(generated).realism(real)
