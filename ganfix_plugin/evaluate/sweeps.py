"""How well corrections do over their options: distances of corrected artifacts to real images.

The artifacts are a population's generations of least realism ([C22] and [T21] labelled theirs by
hand).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ganfix_plugin.evaluate.population import Population
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.spec import with_key


@dataclass(frozen=True)
class Effect:
    """What a correction does to artifacts.

    Attributes:
        distance: Fréchet distance to the real images.
        realism: their mean realism score.
    """

    distance: float
    realism: float


def effect(population: Population, spec: str | None, seeds: Sequence[int]) -> Effect:
    """Of one correction on some seeds; None leaves them uncorrected."""
    features = population.features_of(seeds) if spec is None else population.corrected(spec, seeds)
    realism = population.manifold.realism(features).mean()
    return Effect(population.distance(features), float(realism))


RATES = (0.7, 0.5, 0.3, 0.1)


def ablation_rows(rates: Sequence[float] = RATES, samples: int = 10_000) -> dict[str, str]:
    """The rows of [C22], Table 1: by name, a spec without its layers.

    Args:
        samples: latents of the profile.
    """
    rows = {f"LR, R = {rate:g}": f"seqabl:rate={rate:g},samples={samples}" for rate in rates}
    rows["HR, R = 0.7"] = f"seqabl:rate=0.7,side=high,samples={samples}"
    rows["random 30 %"] = "random:portion=30%"
    return rows


def layer_columns(auto: Sequence[Layer], every: Sequence[Layer]) -> dict[str, str]:
    """The columns of Table 1: each default layer, the first two, all, and one more after them."""
    numbers = [str(layer.index) for layer in auto]
    step = int(numbers[-1]) - int(numbers[-2]) if len(numbers) > 1 else 1
    further = [layer for layer in every if layer.index == int(numbers[-1]) + step]
    sets = [[number] for number in numbers]
    sets += [numbers[:end] for end in range(2, len(numbers) + 1)]
    sets += [[*numbers, str(layer.index)] for layer in further]
    return {",".join(each): "+".join(each) for each in sets}


def ablation_sweep(
    population: Population,
    seeds: Sequence[int],
    rows: dict[str, str],
    columns: dict[str, str],
) -> dict[str, dict[str, Effect]]:
    """[C22], Table 1: every row at every column's layers."""
    return {
        name: {
            column: effect(population, with_key(spec, "layers", layers), seeds)
            for column, layers in columns.items()
        }
        for name, spec in rows.items()
    }


def over_values(
    population: Population, seeds: Sequence[int], spec: str, key: str, values: Sequence[str]
) -> dict[str, Effect]:
    """One correction over the values of one of its keys; [T21], Figure 12, among others.

    Raises:
        GanfixError: if the spec sets the key already.
    """
    return {value: effect(population, with_key(spec, key, value), seeds) for value in values}
