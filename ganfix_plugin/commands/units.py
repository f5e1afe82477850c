"""`ganfix plot unit` and `concepts`: what single units of a generator draw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from torch import Tensor

from ganfix_plugin.commands import options
from ganfix_plugin.commands.options import Network, gathers, preset
from ganfix_plugin.commands.plot import drawing, out_option, plot
from ganfix_plugin.correctors.units import UnitList, numbered
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import ensure


@dataclass(frozen=True)
class Search:
    """The generations among which a unit's images are looked for, and how many represent it."""

    num: int
    top: int
    samples: int

    def layer(self, generator: Generator, number: int) -> tuple[Layer, Tensor | None]:
        """The layer of a number and its units' defective scores [C], if the store has them."""
        layer = numbered(generator.layers, number)
        return layer, ensure(generator, Settings(self.samples), ())[0].defective.get(layer.name)

    def tops(
        self, generator: Generator, layer: Layer, units: tuple[int, ...]
    ) -> dict[int, list[int]]:
        """For each of some units the seeds that activate it most, the strongest first."""
        from ganfix_plugin.profiling.unit_images import top_seeds

        best = top_seeds(generator, layer, range(self.num), self.top)
        return {unit: best[unit].tolist() for unit in units}


@plot.command("unit")
@options.network
@click.option("--unit", "chosen", required=True, help="LAYER:UNIT+UNIT, such as 6:12+40.")
@preset("--num", 20_000, "Generations to search.")
@preset("--top", 20, "Images per unit.")
@options.samples("Of the profile, for the DS.")
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
        note = f"{network.title} · layer {layer} · the {search.top} of {search.num:,} seeds that "
        note += "activate a unit most, the strongest first, and the image of their mean feature map"
        save(unit_sheet(generator, layer, tops, "What units draw", note, scores), out)


@plot.command("concepts")
@options.network
@click.option("--layer", "number", type=int, required=True, help="The layer's number.")
@preset("--units", 60, "Units of highest DS to group.")
@preset("--groups", 8, "At most so many groups.")
@preset("--num", 20_000, "Generations to search.")
@preset("--top", 20, "Images behind a representative one.")
@options.samples("Of the profile, for the DS.")
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
        note += f"of the mean feature map of its {search.top} of {search.num:,} seeds · grouped by "
        note += seen_by.name
        picture, members = concept_sheet(generator, layer, tops, seen_by, groups, note)
        save(picture, out)
    for place, group in enumerate(members, 1):
        click.echo(f"concept {place}: --correct units:units={number}:{'+'.join(map(str, group))}")
