"""`ganfix units`, `plot unit` and `concepts`: single units of a generator, and what they draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import click
from torch import Tensor

from ganfix_plugin.artifacts.unit_scores import (
    UnitRanking,
    descending,
    rankings,
    score_units_by_fid,
    write_rankings,
)
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import FILE, PATH, Network, gathers, preset
from ganfix_plugin.commands.plot import drawing, out_option, plot
from ganfix_plugin.correctors.units import UnitList, numbered
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.images import check_images
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import ensure

HIGHEST = 20  # units that `fid-units` and `ds` zero by default
HEADER = ("layer", "rank", "by FID", "FID", "by DS", "DS")


@main.command()
@options.network
@click.option(
    "--real",
    type=PATH,
    help="Real images, a folder or zip, to measure FIDs against. Without, show what was measured.",
)
@preset("--layers", "all", "auto, all, 0+1+3 or 4x4+8x8.")
@preset("--num", 200_000, "Generations to choose from.", type=click.IntRange(2))
@preset(
    "--per-unit",
    10_000,
    "Of these, how many a unit's FID is of: those of its highest activation.",
    type=click.IntRange(2),
)
@options.samples("Latents of the profile that keeps them.")
@click.option(
    "--extractor",
    metavar="NAME",
    help="A feature extractor: inception (FID's own), another one of 'ganfix list', or "
    "module:callable. [default: inception where it is at hand, else as for the other commands]",
)
@preset("--show", 10, "Units of each layer to print.")
@click.option("--out", type=FILE, help="Write the ranks of all units here (.csv).")
@gathers(
    way=lambda layers, samples: {"layers": layers, "samples": samples},
    fid=lambda extractor, num, per_unit: {"extractor": extractor, "num": num, "top": per_unit},
)
def units(
    network: Network,
    real: Path | None,
    way: dict[str, Any],
    fid: dict[str, Any],
    show: int,
    out: Path | None,
) -> None:
    """Rank units by the FID of their top-activating images, beside their defective scores.

    \b
    ganfix units --network ffhq.pkl --real ffhq.zip --layers 6 --out units.csv

    A unit's FID is that of the generations in which it is most active, against real images (GAN
    Dissection, ICLR 2019). Neither labels nor a classifier are needed: those are for the defective
    scores (CVPR 2021), which ganfix prepare or ganfix score make. The profile keeps both rankings,
    for --correct fid-units and --correct ds.
    """
    if out:
        ready(out)
    if real:
        check_images(real)
    with network.opened() as generator:
        layers = generator.choose(way["layers"])
        if real:
            profile, path = score_units_by_fid(generator, real, **way, **fid)
        else:
            profile, path = ensure(generator, Settings(way["samples"]), ())
    ranked = rankings(profile, layers)
    if not ranked:
        raise GanfixError(
            f"profile {path}: holds neither FIDs nor defective scores of these units; give --real "
            "IMAGES for the one, run ganfix prepare for the other"
        )
    click.echo(table(HEADER, *(row for ranking in ranked for row in _highest(ranking, show))))
    for ranking in ranked:
        if agreement := ranking.agreement(HIGHEST):
            text = "rank correlation of FID and DS {:+.2f}, {} of the {} highest in common"
            click.echo(f"layer {ranking.layer}: {text.format(*agreement, HIGHEST)}")
    for scores, title in (("unit_fid", "FID"), ("defective", "DS")):
        if scores in profile.made:
            click.echo(f"{title}: {profile.made[scores]}")
    click.echo(f"profile: {path}")
    if out:
        write_rankings(ranked, out)
        click.echo(f"written to {out}")


def _highest(ranking: UnitRanking, show: int) -> list[tuple[str, ...]]:
    """The first lines of both rankings, side by side."""
    lines = zip(*(_in_order(scores, show) for scores in (ranking.fid, ranking.ds)))
    return [(str(ranking.layer.index), str(n), *fid, *ds) for n, (fid, ds) in enumerate(lines, 1)]


def _in_order(scores: Tensor | None, show: int) -> Iterable[tuple[str, str]]:
    """The units of highest score with their scores, as text; empty text if there are no scores."""
    if scores is None:
        return repeat(("", ""), show)
    return [(f"unit {unit}", f"{float(scores[unit]):.4g}") for unit in descending(scores)[:show]]


@dataclass(frozen=True)
class Search:
    """The generations among which a unit's images are looked for, and how many represent it."""

    num: int
    per_unit: int
    samples: int | None

    def layer(self, generator: Generator, number: int) -> tuple[Layer, Tensor | None]:
        """The layer of a number and its units' defective scores [C], if the store has them."""
        layer = numbered(generator.layers, number)
        return layer, ensure(generator, Settings(self.samples), ())[0].defective.get(layer.name)

    def tops(
        self, generator: Generator, layer: Layer, units: tuple[int, ...]
    ) -> dict[int, list[int]]:
        """For each of some units the seeds that activate it most, the strongest first."""
        from ganfix_plugin.profiling.unit_images import top_seeds

        best = top_seeds(generator, layer, range(self.num), self.per_unit)
        return {unit: best[unit].tolist() for unit in units}


@plot.command("unit")
@options.network
@click.option("--unit", "chosen", required=True, help="LAYER:UNIT+UNIT, such as 6:12+40.")
@preset("--num", 20_000, "Generations to search.")
@preset("--per-unit", 20, "Of these, how many are shown: those of its highest activation.")
@options.samples("Latents of the profile whose defective scores are shown.")
@out_option
@gathers(search=Search)
def unit(network: Network, chosen: str, search: Search, out: Path) -> None:
    """A unit's top-activating images and its representative generation (CVPR 2021)."""
    from ganfix_plugin.pictures.units import unit_sheet

    try:
        ((number, units),) = UnitList.parse(chosen).layers
    except ValueError:
        raise GanfixError(f"--unit {chosen}: expected LAYER:UNIT+UNIT, such as 6:12+40") from None
    with drawing(network, out) as generator:
        layer, scores = search.layer(generator, number)
        if max(units) >= layer.channels:
            raise GanfixError(f"--unit {chosen}: no unit {max(units)} in layer {layer}")
        tops = search.tops(generator, layer, units)
        note = (
            f"{network.title} · layer {layer} · the {search.per_unit} of {search.num:,} seeds that "
        )
        note += "activate a unit most, the strongest first, and the image of their mean feature map"
        save(unit_sheet(generator, layer, tops, "What units draw", note, scores), out)


@plot.command("concepts")
@options.network
@click.option(
    "--layer", "number", type=click.IntRange(0), required=True, help="The layer's number."
)
@preset("--units", 60, "How many units of highest defective score to group.")
@preset("--groups", 8, "At most so many groups.")
@preset("--num", 20_000, "Generations to search.")
@preset(
    "--per-unit", 20, "Of these, how many stand behind a unit: those of its highest activation."
)
@options.samples("Latents of the profile whose defective scores are shown.")
@options.extractor
@out_option
@gathers(search=Search)
def concepts(
    network: Network,
    number: int,
    units: int,
    groups: int,
    search: Search,
    extractor: str | None,
    out: Path,
) -> None:
    """Units that draw the same, by their representative generations (CVPR 2021).

    The units of highest defective score where ganfix score has made them, the first ones otherwise.
    A group's units are listed as --correct units takes them.
    """
    from ganfix_plugin.pictures.units import concept_sheet

    with drawing(network, out) as generator:
        seen_by = load_extractor(extractor, generator.discriminator)
        layer, scores = search.layer(generator, number)
        if scores is None:
            order, which = list(range(layer.channels)), "first"
        else:
            order, which = scores.argsort(descending=True, stable=True).tolist(), "most defective"
        tops = search.tops(generator, layer, tuple(order[:units]))
        note = f"{network.title} · layer {layer} · its {len(tops)} {which} units, each the image "
        note += f"of the mean feature map of its {search.per_unit} of {search.num:,} seeds · "
        note += f"grouped by {seen_by.name}"
        picture, members = concept_sheet(generator, layer, tops, seen_by, groups, note)
        save(picture, out)
    for place, group in enumerate(members, 1):
        click.echo(f"concept {place}: --correct units:units={number}:{'+'.join(map(str, group))}")
