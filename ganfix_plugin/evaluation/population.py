"""Generations beside real images, and what corrections over their options do to artifacts.

Artifacts are the generations of least realism, where nobody labelled any.

- [C22]: Choi, Chang, Choi, IJCAI 2022, who labelled theirs by hand.
- [T21]: Tousi et al., CVPR 2021, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ganfix_plugin.api import attach
from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.generators.generator import Generator

RATES = (0.7, 0.5, 0.3, 0.1)


class Effect(NamedTuple):
    """What a correction does: Fréchet distance to the real images, and mean realism score."""

    distance: float
    realism: float


@dataclass(frozen=True, eq=False)
class Population:
    """The generations of some seeds beside real images, as an extractor sees them.

    Attributes:
        features: float32 [n, D] of the uncorrected generations, in the order of the seeds.
        real: float32 [m, D] of the real images.
    """

    generator: Generator
    extractor: Extractor
    seeds: tuple[int, ...]
    features: Tensor
    real: Tensor

    @classmethod
    def of(
        cls,
        generator: Generator,
        seeds: Sequence[int],
        real: Path,
        extractor: str | None = None,
        num_real: int | None = None,
    ) -> Population:
        """Render the seeds and read the real images.

        Args:
            real: a folder or zip of images of the generator's size.
            extractor: by name; None is the default one.
            num_real: of the real images, chosen by a seed; all by default.

        Raises:
            GanfixError: if there are no or too few images of the right size, or no such extractor.
        """
        network = load_extractor(extractor, generator.discriminator)
        features = real_features(generator, real, network, num_real)
        generations = seed_features(generator, network, seeds)
        return cls(generator, network, tuple(seeds), generations, features)

    @cached_property
    def _gaussian(self) -> Gaussian:
        return Gaussian.of(self.real)

    @cached_property
    def _manifold(self) -> Manifold:
        return Manifold.of(self.real)

    @cached_property
    def realism(self) -> Tensor:
        """The realism score of every uncorrected generation, float32 [n]."""
        return self._manifold.realism(self.features)

    def artifacts(self, count: int) -> list[int]:
        """The seeds of least realism, the lowest first.

        Raises:
            GanfixError: if there are not so many.
        """
        if not 1 < count <= (total := len(self.seeds)):
            raise GanfixError(
                f"artifacts: found {count} of {total} generations, expected from 2 on"
            )
        return [self.seeds[place] for place in self.realism.argsort(stable=True)[:count].tolist()]

    def effect(self, spec: BoundSpec | None, seeds: Sequence[int]) -> Effect:
        """Of a correction on seeds of the population; None leaves them uncorrected.

        Raises:
            GanfixError: on a spec that this generator is not prepared for.
        """
        if spec:
            with attach(self.generator, spec):
                features = seed_features(self.generator, self.extractor, seeds, corrected=True)
        else:
            places = {seed: place for place, seed in enumerate(self.seeds)}
            features = self.features[[places[seed] for seed in seeds]]
        distance = self._gaussian.distance_to_samples(features)
        return Effect(distance, float(self._manifold.realism(features).mean()))


def ablation_rows(
    rates: Sequence[float] = RATES, samples: int | None = None
) -> dict[str, BoundSpec]:
    """The rows of [C22], Table 1, and "random, fixed": by name, a spec without its layers, by a
    profile of so many samples.

    The paper's random neurons are chosen among those that an image activates, the fixed ones are
    the same in every image.
    """
    by = "" if samples is None else f",samples={samples}"
    texts = {f"LR, R = {rate:g}": f"seqabl:rate={rate:g}{by}" for rate in rates}
    texts["HR, R = 0.7"] = f"seqabl:rate=0.7,side=high{by}"
    texts["random 30 %"] = "random:of=activated,portion=30%"
    texts["random, fixed"] = "random:of=neurons,portion=30%"
    return {name: parse_spec(text) for name, text in texts.items()}


def layer_columns(generator: Generator) -> dict[str, str]:
    """The columns of Table 1: each default layer, the first two, all, and one more after them; by
    name, the text of the key ``layers``."""
    numbers = [layer.index for layer in generator.auto]
    step = numbers[-1] - numbers[-2] if len(numbers) > 1 else 1
    further = [layer.index for layer in generator.layers if layer.index == numbers[-1] + step]
    sets = [[number] for number in numbers]
    sets += [numbers[:end] for end in range(2, len(numbers) + 1)]
    sets += [[*numbers, number] for number in further]
    return {",".join(map(str, layers)): "+".join(map(str, layers)) for layers in sets}


def ablation_sweep(
    population: Population,
    seeds: Sequence[int],
    rows: Mapping[str, BoundSpec],
    columns: Mapping[str, str],
) -> dict[str, dict[str, Effect]]:
    """[C22], Table 1: every row at every column's layers."""
    return {
        name: {
            column: population.effect(spec.replaced({"layers": layers}), seeds)
            for column, layers in columns.items()
        }
        for name, spec in rows.items()
    }
