"""One sweep measures rates and thresholds, on as many latents as it takes, and can be stopped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import Noisy, dcgan, recorded
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import partial
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling import measure, store
from ganfix_plugin.profiling import sweep as sweeping
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.quantiles import UnitHistogram
from ganfix_plugin.profiling.rates import count_active
from ganfix_plugin.profiling.store import ensure, profile_path
from ganfix_plugin.profiling.sweep import Swept, Wanted, sweep

CPU = torch.device("cpu")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves are compared after every 40 latents, of at most 400."""
    monkeypatch.setattr(sweeping, "BLOCK", 20)
    monkeypatch.setattr(sweeping, "MOST", 400)
    monkeypatch.setattr(measure, "SCORED", 50)


@pytest.fixture
def G() -> nn.Module:
    """Two layers, some of whose neurons are rarely active."""
    G = dcgan()
    with torch.no_grad():
        G[0].bias -= 0.3
        G[3].bias -= 0.05
    return G


def swept(G: nn.Module, kept: Partial | None = None, **wanted: Any) -> Swept:
    generator = Generator.of(G, layers=["first", "second"] if isinstance(G, Noisy) else None)
    layers = {"rates": generator.layers, "thresholds": generator.layers}
    return sweep(generator, Wanted(**{**layers, **wanted}), Latents.of(generator), kept)


def maps(G: nn.Module, n: int) -> dict[str, Tensor]:
    """The feature maps of the first latents, of full passes."""
    generator = Generator.of(G)
    (z, c), *_ = Latents.of(generator).batches(n, n, CPU)
    with recorded(G, generator.layers) as found, torch.no_grad():
        generator.synthesize(z, c)
    return dict(found)


def same(a: Swept, b: Swept) -> bool:
    tensors = zip((a.counts, a.thresholds), (b.counts, b.thresholds))
    equal = all(
        x.keys() == y.keys() and all(torch.equal(x[n], y[n]) for n in x) for x, y in tensors
    )
    return equal and a.extents == b.extents


def test_a_given_number_of_latents_is_counted_as_by_itself_bit_for_bit(G: nn.Module) -> None:
    generator = Generator.of(G)
    alone = count_active(generator, generator.layers, Latents.of(generator), 330)
    found = swept(G, samples=330)
    assert all(torch.equal(found.counts[name], alone[name]) for name in alone)
    assert {extent.latents for extent in found.extents.values()} == {330}


def agreement(maps: Tensor, n: int, block: int, kind: str, tau: float = 0.005) -> float:
    """Of even and odd blocks among the first n samples: by numpy, of all values at once."""
    odd = np.arange(n) // block % 2 == 1
    halves = [maps[:n].numpy()[odd == which] for which in (False, True)]
    if kind == "rates":
        indices = []
        for rate in (0.1, 0.3):
            a, b = ((half > 0).mean(axis=0) <= rate for half in halves)
            indices.append((a & b).sum() / (a | b).sum() if (a | b).any() else 1.0)
        return float(min(indices))
    by_unit = [np.moveaxis(half, 1, 0).reshape(half.shape[1], -1) for half in halves]
    a, b = (np.quantile(half, 1 - tau, axis=1, method="lower") for half in by_unit)
    both = np.concatenate(by_unit, axis=1)
    extent = both.max(axis=1) - both.min(axis=1)
    return float((abs(a - b)[extent > 0] / extent[extent > 0]).mean())


def test_a_layer_is_done_as_soon_as_two_halves_agree(G: nn.Module, small_blocks: None) -> None:
    found, activations = swept(G), maps(G, 400)
    stopped = set()
    for key, extent in found.extents.items():
        kind, _, name = key.partition("/")
        course = [agreement(activations[name], n, 20, kind) for n in range(40, 401, 40)]
        enough = [x >= 0.9 if kind == "rates" else x <= 0.01 for x in course]
        first = enough.index(True) if any(enough) else len(course) - 1
        assert extent.latents == 40 * (first + 1)
        assert extent.agreement == pytest.approx(course[first], abs=2e-4)
        stopped.add(extent.latents)
    assert len(stopped) > 1  # not all at once


def test_what_is_measured_is_that_of_the_latents_that_it_took(
    G: nn.Module, small_blocks: None
) -> None:
    found, activations = swept(G), maps(G, 400)
    for name, counts in found.counts.items():
        n = found.extents[f"rates/{name}"].latents
        assert torch.equal(counts, (activations[name][:n] > 0).sum(dim=0).int())
        n = found.extents[f"thresholds/{name}"].latents
        values = activations[name][:n].transpose(0, 1).flatten(1).double()
        exact = values.quantile(0.995, dim=1, interpolation="lower")
        error = (found.thresholds[name] - exact).abs()
        assert (error <= 1e-4 * (values.amax(1) - values.amin(1))).all()


def test_it_takes_no_more_than_the_most(
    G: nn.Module, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "JACCARD", 2)
    found = swept(G, thresholds=())
    assert {extent.latents for extent in found.extents.values()} == {400}


def test_a_latent_passes_once_whatever_is_measured_and_only_as_deep_as_is_needed(
    G: nn.Module, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Generator.of(G).layers
    passed = {"1": 0, "4": 0}

    monkeypatch.setattr(Generator, "observe", counting(Generator.observe, passed))
    found = swept(G)
    deepest = max(
        found.extents[f"{kind}/{second.name}"].latents for kind in ("rates", "thresholds")
    )
    most = max(extent.latents for extent in found.extents.values())
    assert passed == {first.name: 0 if most == deepest else most - deepest, second.name: deepest}


def counting(observe: Any, passed: dict[str, int]) -> Any:
    """`Generator.observe`, counting latents by the deepest layer that was asked for."""

    def observed(self: Generator, layers: Any, z: Tensor, *more: Any, **options: Any) -> Any:
        passed[max(layers, key=lambda layer: layer.index).name] += len(z)
        return observe(self, layers, z, *more, **options)

    return observed


class Interrupted(Exception):
    pass


class Kept(Partial):
    """Keeps its sums in every step, and is interrupted in one of them."""

    def __init__(self, path: Path, steps: int) -> None:
        super().__init__(path)
        self.steps = steps

    def keep(self, sums: Any, now: bool = False) -> None:
        super().keep(sums, now=True)
        self.steps -= 1
        if not self.steps:
            raise Interrupted


@pytest.mark.parametrize("samples", [None, 330])
@pytest.mark.parametrize("batch", [7, 20])
@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_interrupted_anywhere_it_goes_on_to_the_same_numbers(
    G: nn.Module, tmp_path: Path, small_blocks: None, samples: int | None, batch: int, steps: int
) -> None:
    whole = swept(G, samples=samples, batch=batch)
    path = tmp_path / "sums"
    with pytest.raises(Interrupted):
        swept(G, Kept(path, steps), samples=samples, batch=batch)
    assert same(swept(G, Partial(path), samples=samples, batch=batch), whole)


def test_a_generator_that_draws_noise_goes_on_with_the_same_noise(
    tmp_path: Path, small_blocks: None
) -> None:
    path = tmp_path / "sums"
    torch.manual_seed(3)
    whole = swept(Noisy(), samples=100, thresholds=())
    torch.manual_seed(3)
    with pytest.raises(Interrupted):
        swept(Noisy(), Kept(path, 2), samples=100, thresholds=())
    torch.manual_seed(8)
    assert same(swept(Noisy(), Partial(path), samples=100, thresholds=()), whole)


def test_sums_are_kept_every_few_seconds_and_not_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(partial.time, "monotonic", lambda: now[0])
    kept, times = Partial(tmp_path / "sums"), []
    for now[0] in range(20):
        kept.keep(lambda: {"at": torch.tensor(times.append(now[0]) or now[0])})
    assert times == [5, 10, 15] and float(kept.read()["at"]) == 15


def profiled(G: nn.Module, **options: Any) -> Profile:
    return ganfix.profile(G, layers="all", **options)


def equal(a: Profile, b: Profile) -> bool:
    return (
        all(torch.equal(a.counts[name], b.counts[name]) for name in b.counts)
        and torch.equal(a.lr_scores, b.lr_scores)  # type: ignore[arg-type]
        and a.extents == b.extents
    )


@pytest.mark.parametrize("samples", [None, 100])
@pytest.mark.parametrize("batches", [3, 6, 9])
def test_a_profile_that_was_interrupted_anywhere_comes_to_the_same_file(
    own_cache: Path,
    small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
    samples: int | None,
    batches: int,
) -> None:
    generator = Generator.of(dcgan())
    path = profile_path(generator, Settings(samples))
    profiled(dcgan(), samples=samples, batch=20)
    whole = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(partial, "EVERY", 0)
    monkeypatch.setattr(partial, "_SHARE", 0)
    with monkeypatch.context() as failing, pytest.raises(Interrupted):
        failing.setattr(nn.ReLU, "forward", failing_after(batches))
        profiled(dcgan(), samples=samples, batch=20)
    assert list(path.parent.glob("*.measuring"))
    profiled(dcgan(), samples=samples, batch=20)
    assert path.read_bytes() == whole
    assert {file.suffix for file in path.parent.iterdir()} == {".safetensors", ".lock"}


def failing_after(calls: int) -> Any:
    forward, left = nn.ReLU.forward, [2 * calls]  # of two layers

    def fails(self: nn.ReLU, x: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted
        return forward(self, x)

    return fails


def test_by_default_the_profile_says_how_many_latents_it_took_and_rates_are_of_these(
    own_cache: Path, small_blocks: None, G: nn.Module
) -> None:
    profile = profiled(G)
    kept = Profile.load(profile_path(Generator.of(G), Settings()))
    assert kept.settings.samples is None and kept.extents == profile.extents
    activations = maps(G, 400)
    for layer in Generator.of(G).layers:
        n = profile.latents(layer)
        expected = (activations[layer.name][:n] > 0).float().mean(dim=0)
        torch.testing.assert_close(kept.rates(layer), expected)
    extent = profile.extents["rates/1"]
    agreed = f"{extent.latents} latents, whose halves agree to {extent.agreement:.3f}"
    assert str(extent) == agreed


def test_one_process_and_several_ranks_come_to_the_same(
    own_cache: Path, small_blocks: None, G: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = profiled(G)
    monkeypatch.setenv("GANFIX_CACHE", str(own_cache / "ranks"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert equal(profiled(G), alone)


def test_scores_are_of_as_many_latents_as_a_quantile_needs() -> None:
    scored = np.random.RandomState(0).binomial(measure.SCORED, 0.5, 10_000) / measure.SCORED
    assert scored.std() == pytest.approx(0.01, rel=0.05)  # of the share above a median


def test_what_was_measured_on_the_most_latents_is_used_by_default(
    own_cache: Path, small_blocks: None, G: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST", 400)
    given = profiled(G, samples=400)
    monkeypatch.setattr(measure, "sweep", None)  # calling it would fail
    profile = profiled(G)
    assert all(torch.equal(profile.counts[name], given.counts[name]) for name in given.counts)
    assert torch.equal(profile.rates(Generator.of(G).layers[0]), given.counts["1"] / 400)


def test_what_was_measured_on_fewer_latents_is_named(
    own_cache: Path, small_blocks: None, G: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    profiled(G, samples=60)
    with caplog.at_level("INFO", "ganfix"):
        profiled(G)
    assert "numbers by samples=60" in caplog.text


def test_thresholds_of_another_tau_take_the_place_of_the_old_ones(
    own_cache: Path, small_blocks: None
) -> None:
    generator = Generator.of(dcgan())
    low, _ = ensure(generator, Settings(), (), thresholds=generator.layers, tau=0.5)
    high, _ = ensure(generator, Settings(), (), thresholds=generator.layers[:1], tau=0.01)
    assert list(high.thresholds) == ["1"] and (high.thresholds["1"] > low.thresholds["1"]).all()
    assert high.made["thresholds"] == "tau=0.01"


def test_latents_from_the_middle_of_a_stream_are_those_of_the_whole() -> None:
    for classes in (0, 2, 7, 1000):
        stream = Latents((5,), 0, classes)
        whole = list(stream.batches(60, 60, CPU))[0]
        rest = list(stream.batches(60 - 13, 10, CPU, first=13))
        assert torch.equal(torch.cat([z for z, _ in rest]), whole[0][13:])
        if classes:
            assert torch.equal(torch.cat([c for _, c in rest]), whole[1][13:])  # type: ignore[index,misc]


def parts(x: Tensor) -> Iterator[UnitHistogram]:
    for rows in x.split([1, 3, 12]):
        histogram = UnitHistogram(x.shape[1])
        histogram.add(rows)
        yield histogram


def test_histograms_of_parts_add_up_to_that_of_the_whole_in_any_order() -> None:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(16, 6, 8, 8, generator=chance) * torch.logspace(-3, 3, 6)[:, None, None]
    x[:1] *= 100
    whole = UnitHistogram(6)
    whole.add(x)
    for order in (1, -1):
        first, *others = list(parts(x))[::order]
        for other in others:
            first.merge(other)
        assert torch.equal(first.above(0.1), whole.above(0.1))
        assert int(first.counts.sum()) == x.numel()


def test_a_histogram_comes_out_of_its_file_as_it_was() -> None:
    histogram = UnitHistogram(2)
    histogram.add(torch.randn(4, 2, 3, 3))
    again = UnitHistogram.of(copy.deepcopy(histogram.tensors()))
    more = torch.randn(4, 2, 3, 3) * 5
    histogram.add(more)
    again.add(more)
    assert torch.equal(again.above(0.2), histogram.above(0.2))
