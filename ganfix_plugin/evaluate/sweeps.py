"""How well corrections do over their options: distances of corrected artifacts to real images.

The artifacts are a population's generations of least realism ([C22] and [T21] labelled theirs by
hand).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.evaluate.population import Population
from ganfix_plugin.hooks.layer import Layer


@dataclass(frozen=True)
class Effect:
    """What a correction does to artifacts.

    Attributes:
        distance: Fréchet distance to the real images.
        realism: their mean realism score.
    """

    distance: float
    realism: float


def effect(population: Population, spec: BoundSpec | None, seeds: Sequence[int]) -> Effect:
    """Of one correction on some seeds; None leaves them uncorrected."""
    features = population.features_of(seeds) if spec is None else population.corrected(spec, seeds)
    realism = population.manifold.realism(features).mean()
    return Effect(population.distance(features), float(realism))


RATES = (0.7, 0.5, 0.3, 0.1)


def ablation_rows(rates: Sequence[float] = RATES, samples: int = 10_000) -> dict[str, BoundSpec]:
    """The rows of [C22], Table 1: by name, a spec without its layers.

    Args:
        samples: latents of the profile.
    """
    texts = {f"LR, R = {rate:g}": f"seqabl:rate={rate:g},samples={samples}" for rate in rates}
    texts["HR, R = 0.7"] = f"seqabl:rate=0.7,side=high,samples={samples}"
    texts["random 30 %"] = "random:portion=30%"
    return {name: parse_spec(text) for name, text in texts.items()}


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
    rows: Mapping[str, BoundSpec],
    columns: Mapping[str, str],
) -> dict[str, dict[str, Effect]]:
    """[C22], Table 1: every row at every column's layers."""
    return {
        name: {
            column: effect(population, spec.replaced({"layers": layers}), seeds)
            for column, layers in columns.items()
        }
        for name, spec in rows.items()
    }


def effects(
    population: Population, specs: Mapping[str, BoundSpec], seeds: Sequence[int]
) -> dict[str, Effect]:
    """Of several corrections, by name; over the values of one key: [T21], Figure 12."""
    return {name: effect(population, spec, seeds) for name, spec in specs.items()}
