"""Per-unit quantiles, streaming: the thresholds T_u."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from generators import recorded
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.profiling.quantiles import UnitHistogram
from ganfix_plugin.profiling.sweep import TAU, Wanted, sweep

UNITS = 6


def normal(chance: torch.Generator, batch: int) -> Tensor:
    spread = torch.logspace(-3, 3, UNITS)[:, None, None]
    return torch.randn(16, UNITS, 8, 8, generator=chance) * spread + spread


def skewed(chance: torch.Generator, batch: int) -> Tensor:
    return torch.rand(16, UNITS, 8, 8, generator=chance).pow(8) * 100


def mostly_zero(chance: torch.Generator, batch: int) -> Tensor:
    return (torch.randn(16, UNITS, 8, 8, generator=chance) - 1.5).relu()


def growing_upwards(chance: torch.Generator, batch: int) -> Tensor:
    return torch.rand(16, UNITS, 8, 8, generator=chance) * 1.7**batch


def growing_both_ways(chance: torch.Generator, batch: int) -> Tensor:
    return torch.randn(16, UNITS, 8, 8, generator=chance) * 1.4**batch


def first_dead(chance: torch.Generator, batch: int) -> Tensor:
    x = torch.randn(16, UNITS, 8, 8, generator=chance)
    return x if batch else torch.full_like(x, 0.25)


def moving(chance: torch.Generator, batch: int) -> Tensor:
    return torch.randn(16, UNITS, 8, 8, generator=chance) - 3.0 * batch


DISTRIBUTIONS = [
    normal,
    skewed,
    mostly_zero,
    growing_upwards,
    growing_both_ways,
    first_dead,
    moving,
]
distributions = pytest.mark.parametrize("draw", DISTRIBUTIONS, ids=lambda draw: draw.__name__)


def batches(draw: Callable[[torch.Generator, int], Tensor], count: int = 20) -> list[Tensor]:
    chance = torch.Generator().manual_seed(0)
    return [draw(chance, batch) for batch in range(count)]


def histogram(maps: list[Tensor]) -> UnitHistogram:
    found = UnitHistogram(maps[0].shape[1])
    for each in maps:
        found.add(each)
    return found


def by_unit(maps: list[Tensor]) -> Tensor:
    return torch.cat(maps).transpose(0, 1).flatten(1).double()


@pytest.mark.slow
@distributions
@pytest.mark.parametrize("tau", [0.005, 0.05, 0.5, 0.9])
def test_within_a_ten_thousandth_of_the_units_range_of_the_exact_quantile(
    draw: Callable[[torch.Generator, int], Tensor], tau: float
) -> None:
    maps = batches(draw)
    values = by_unit(maps)
    found = histogram(maps).above(tau)
    # Between two neighbours in so small a sample, any value is a quantile.
    below, above = (values.quantile(1 - tau, dim=1, interpolation=to) for to in ("lower", "higher"))
    error = (found - found.clamp(below, above)).abs()
    assert (error / (values.amax(1) - values.amin(1))).max() < 1e-4


@distributions
def test_the_share_of_activations_above_the_threshold_is_tau(
    draw: Callable[[torch.Generator, int], Tensor],
) -> None:
    maps = batches(draw)
    values = by_unit(maps)
    share = (values > histogram(maps).above(0.005)[:, None]).double().mean(1)
    torch.testing.assert_close(share, torch.full_like(share, 0.005), rtol=0, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1e-30, 12345.678])
def test_a_constant_units_threshold_is_its_value_and_nothing_exceeds_it(value: float) -> None:
    x = torch.full((8, 2, 4, 4), value)
    found = histogram([x, x]).above(TAU)
    assert found.float().tolist() == pytest.approx([value, value], rel=1e-6)
    assert not (x > found.float().view(-1, 1, 1)).any()


def test_a_constant_unit_and_a_lively_one_in_the_same_layer_do_not_disturb_each_other() -> None:
    x = torch.randn(64, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    x[:, 0] = 3
    found = histogram([x[:32], x[32:]]).above(0.1)
    assert found[0] == pytest.approx(3)
    assert found[1] == pytest.approx(1.2816, abs=0.05)


@pytest.mark.slow
@distributions
def test_batches_do_not_matter(draw: Callable[[torch.Generator, int], Tensor]) -> None:
    maps = batches(draw)
    values = by_unit(maps)
    extent = values.amax(1) - values.amin(1)
    single = histogram(list(torch.cat(maps).split(3))).above(TAU)
    assert ((single - histogram(maps).above(TAU)).abs() / extent).max() < 1e-4


@pytest.mark.slow
def test_the_state_of_a_512x32x32_layer_does_not_grow_with_the_samples() -> None:
    found = UnitHistogram(512)
    sizes = []
    for seed in range(3):
        chance = torch.Generator().manual_seed(seed)
        for batch in range(2):
            found.add(torch.randn(2, 512, 32, 32, generator=chance) * (1 + seed + batch))
        held = [each for each in vars(found).values() if isinstance(each, Tensor)]
        sizes.append(sum(each.untyped_storage().nbytes() for each in held))
    assert sizes[0] == sizes[1] == sizes[2] < 64 << 20
    assert int(found.counts.sum()) == 6 * 2 * 512 * 32 * 32


def test_units_that_were_off_in_the_first_batch_have_quantiles_like_others() -> None:
    x = torch.randn(4, 512, 4, 4, generator=torch.Generator().manual_seed(0))
    sleepy = x.clone()
    sleepy[:, :8] = 0
    assert (histogram([sleepy, x]).above(0.5)[:8].abs() < 1e-2).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_activations_that_are_no_numbers_are_refused(value: float) -> None:
    x = torch.ones(2, 2, 4, 4)
    x[1, 0, 2, 3] = value
    with pytest.raises(GanfixError, match="NaN or infinit"):
        UnitHistogram(2).add(x)


@pytest.mark.slow
def test_thresholds_of_a_generator_are_the_quantiles_of_its_layers(stylegan2: nn.Module) -> None:
    generator = Generator.of(stylegan2)
    layers, stream = generator.layers[:4], Latents.of(generator)
    wanted = Wanted(thresholds=layers, tau=0.05, samples=60, batch=25)
    found = sweep(generator, wanted, stream).thresholds
    (z, _), *_ = stream.batches(60, 60, torch.device("cpu"))
    with recorded(stylegan2, layers) as maps, torch.no_grad():
        generator.synthesize(z, None)
    for layer in layers:
        values = maps[layer.name].transpose(0, 1).flatten(1).double()
        below, above = (values.quantile(0.95, 1, interpolation=to) for to in ("lower", "higher"))
        error = (found[layer.name] - found[layer.name].clamp(below, above)).abs()
        assert (error / (values.amax(1) - values.amin(1))).max() < 1e-4
