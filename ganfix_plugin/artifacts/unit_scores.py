"""Units by what their top-activating images are worth, and by how well they cover artifacts.

`fid-units` zeroes the first of the one ranking ([B19]), `ds` of the other ([T21]).

- [B19]: Bau et al., ICLR 2019.
- [T21]: Tousi et al., CVPR 2021; it compares both.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ganfix_plugin.artifacts.ranking import agreement
from ganfix_plugin.features.extractors import load_extractor, measuring_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.files import written
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import Sample
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import update
from ganfix_plugin.profiling.unit_images import unit_fids

log = logging.getLogger("ganfix")


def score_units_by_fid(
    generator: Generator,
    real: Path | Sequence[Sample],
    *,
    extractor: str | None = None,
    layers: str = "all",
    samples: int | None = None,
    num: int = 200_000,
    top: int = 10_000,
) -> tuple[Profile, Path]:
    """FID of every unit ([B19]), into the stored profile; neither labels nor classifier are needed.

    Args:
        real: real images, a folder or zip; or seeds and latents whose generations stand for them.
        extractor: of the features; by default `measuring_extractor`. It is FID by Inception only.
        layers: whose units.
        samples: of the stored profile that keeps them.
        num: generations to choose from; ``top`` of them, by its highest activation, for each unit.

    Raises:
        GanfixError: if there are no real images of the generator's size, or no such extractor.
    """
    chosen = generator.choose(layers)
    network = load_extractor(extractor or measuring_extractor(), generator.discriminator)
    network = network.to(generator.device)
    if isinstance(real, Path):
        reference, source = real_features(generator, real, network), str(real)
    else:
        reference, source = seed_features(generator, network, real), "generations"
    log.info(
        "FID of the units of %d layers: %d generations, the top %d of each unit, against %d real "
        "images, features of %s",
        *(len(chosen), num, top, len(reference), network.name),
    )
    fids = unit_fids(generator, chosen, num, top, network, Gaussian.of(reference))
    made = {"unit_fid": f"extractor={network.name},num={num},top={top},real={source}"}
    return update(
        generator,
        Settings(samples),
        lambda profile: replace(profile, unit_fid=fids, made=profile.made | made),
    )


@dataclass(frozen=True)
class UnitRanking:
    """The units of a layer, each with its FID and its defective score.

    Attributes:
        fid: float64 [C], or None where it was not measured; ``ds`` likewise.
    """

    layer: Layer
    fid: Tensor | None
    ds: Tensor | None

    def agreement(self, top: int) -> tuple[float, int] | None:
        """Of FID and DS; see `ranking.agreement`. None where there are not both."""
        return None if self.fid is None or self.ds is None else agreement(self.fid, self.ds, top)


def rankings(profile: Profile, layers: Sequence[Layer]) -> list[UnitRanking]:
    """Of those layers whose units a profile has scores of."""
    scored = [
        UnitRanking(layer, profile.unit_fid.get(layer.name), profile.defective.get(layer.name))
        for layer in layers
    ]
    return [units for units in scored if units.fid is not None or units.ds is not None]


def descending(scores: Tensor) -> list[int]:
    """The units in the order of their scores [C], the highest first; of equal ones the first."""
    order: list[int] = scores.argsort(descending=True, stable=True).tolist()
    return order


def write_rankings(ranked: Sequence[UnitRanking], path: Path) -> None:
    """Both rankings as CSV, a line for each unit; ranks begin at 1. As `files.written` does."""
    with written(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("layer", "unit", "fid", "fid_rank", "ds", "ds_rank"))
        for ranking in ranked:
            number, units = ranking.layer.index, ranking.layer.channels
            columns = (_with_ranks(scores, units) for scores in (ranking.fid, ranking.ds))
            rows.writerows(
                (number, unit, *fid, *ds) for unit, (fid, ds) in enumerate(zip(*columns))
            )


def _with_ranks(scores: Tensor | None, units: int) -> list[tuple[str, str]]:
    """The scores [C] and ranks of a layer's units as text, empty if there are no scores."""
    if scores is None:
        return [("", "")] * units
    ranks = torch.tensor(descending(scores)).argsort() + 1
    return [(f"{score:.6g}", str(rank)) for score, rank in zip(scores.tolist(), ranks.tolist())]
