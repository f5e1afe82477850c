"""Figures before and after correction, and the intervals of their differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from prdc import compute_prdc
from torch import Tensor

from ganfix_plugin.evaluation.evaluate import figures
from ganfix_plugin.features.bootstrap import Bootstrap, Figure, frechet, mean
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold

NONE = Bootstrap(resamples=0)


def features(n: int, seed: int = 0, shift: float = 0.0, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def pair(n: int = 60, gain: float = 0.4) -> tuple[Tensor, Tensor]:
    """Generations, and the same ones nearer to the real images, which lie around the origin."""
    before = features(n, seed=1, shift=0.9)
    return before, before - gain


@pytest.mark.parametrize("d", [8, 90])
def test_the_frechet_distance_of_each_side_equals_scipys(d: int) -> None:
    real, before = features(200, d=d), features(60, seed=1, shift=0.9, d=d)
    figure = frechet(Gaussian.of(real), [before, before - 0.4], NONE)
    for distance, side in ((figure.uncorrected, before), (figure.corrected, before - 0.4)):
        a, b = (np.cov(x.double().numpy(), rowvar=False) for x in (real, side))
        root = np.real(scipy.linalg.sqrtm(a @ b))
        between = (real.double().mean(0) - side.double().mean(0)).square().sum()
        expected = float(between) + np.trace(a) + np.trace(b) - 2 * np.trace(root)
        assert distance == pytest.approx(expected, rel=1e-5)


def test_precision_recall_and_coverage_of_each_side_equal_prdc_s() -> None:
    real, (before, after) = features(80), pair()
    manifold = Manifold.of(real)
    names = ("precision", "recall", "coverage")
    ours = {name: mean(name, manifold, [before, after], NONE) for name in names}
    for name, side in (("uncorrected", before), ("corrected", after)):
        theirs = compute_prdc(real.double().numpy(), side.double().numpy(), nearest_k=3)
        for key, figure in ours.items():
            assert getattr(figure, name) == pytest.approx(theirs[key])
    for key in ("precision", "coverage"):
        assert 0 < ours[key].uncorrected < ours[key].corrected  # type: ignore[operator]


def test_realism_is_the_mean_score() -> None:
    real, (before, after) = Manifold.of(features(80)), pair()
    figure = mean("realism", real, [before, after], NONE)
    assert figure.uncorrected == pytest.approx(float(real.realism(before).mean()))
    assert figure.difference == pytest.approx(
        float((real.realism(after) - real.realism(before)).mean())
    )


def test_realism_has_the_standard_deviation_of_the_generations() -> None:
    real, sides = Manifold.of(features(80)), pair()
    figure = mean("realism", real, sides, NONE)
    expected = [float(np.std(real.realism(side).double().numpy(), ddof=1)) for side in sides]
    assert figure.deviations == pytest.approx(expected)
    recorded = figure.values()
    assert [recorded["uncorrected_sd"], recorded["corrected_sd"]] == list(figure.deviations)


def test_without_a_second_side_there_is_one_value_and_nothing_of_the_other() -> None:
    for figure in figures(features(80), pair()[:1], Bootstrap()):
        assert figure.corrected is figure.difference is figure.interval is None
        assert {*figure.values()} <= {"uncorrected", "uncorrected_sd"}


@pytest.mark.parametrize("d", [8, 90])
def test_a_resample_counts_samples_as_if_they_were_there_so_often(d: int) -> None:
    real, some = Gaussian.of(features(200, d=d)), features(40, seed=1, shift=0.5, d=d)
    drawn = np.random.RandomState(0).randint(40, size=40)
    counts = torch.from_numpy(np.bincount(drawn, minlength=40))
    again = real.distance_to_samples(some[torch.from_numpy(drawn)])
    assert real.resampled(some)(counts) == pytest.approx(again, rel=1e-7)


def test_no_difference_has_the_interval_zero() -> None:
    before, _ = pair()
    for figure in figures(features(80), [before, before.clone()], Bootstrap()):
        assert figure.interval == (0, 0)


def test_intervals_surround_the_difference_and_narrow_with_more_samples() -> None:
    real, widths = features(300), []
    for n in (50, 800):
        for figure in figures(real, pair(n), Bootstrap()):
            low, high = figure.interval  # type: ignore[misc]
            assert low <= figure.difference <= high  # type: ignore[operator]
            widths.append(high - low)
    few, many = np.array(widths).reshape(2, 5)
    # Those of recall and coverage are over the real images.
    assert (many[[0, 1, 4]] < few[[0, 1, 4]]).all()


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error() -> None:
    gains = features(400, d=1)[:, 0].double()
    sides = [lambda counts: 0.0, lambda counts: float(counts @ gains / 400)]
    low, high = Bootstrap(2000).interval(400, *sides)  # type: ignore[misc]
    assert (high - low) / 2 == pytest.approx(1.96 * float(gains.std()) / 20, rel=0.08)


def test_the_seed_alone_decides_about_the_draws() -> None:
    real, sides = features(80), pair()
    first, again, other = (figures(real, sides, Bootstrap(50, seed)) for seed in (0, 0, 1))
    assert first == again
    assert [figure.interval for figure in first] != [figure.interval for figure in other]


def test_a_record_names_every_value() -> None:
    figure = Figure("frechet", 3.0, 2.0, interval=(-1.5, -0.5))
    assert figure.values() == {
        "uncorrected": 3.0,
        "corrected": 2.0,
        "difference": -1.0,
        "difference_low": -1.5,
        "difference_high": -0.5,
    }
