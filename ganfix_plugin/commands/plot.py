"""`ganfix plot`: pictures of a generator's images and units, and of corrections.

The figures of whole populations are in `figures.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganfix_plugin.commands.options import (
    PNG,
    RATE,
    named,
    network_options,
    one_line_errors,
)
from ganfix_plugin.commands.prepare import extractor_option

if TYPE_CHECKING:
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.hooks.layer import Layer


@click.group()
def plot() -> None:
    """Pictures: what a generator does, and what corrections do to it.

    Every picture carries its title and the settings it was made with. Seeds are the host's own, as
    in generate.py --seeds.
    """


def _seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """0-7, 3,5 or a mixture."""
    found: list[int] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            raise click.BadParameter(f"found {part!r}, expected seeds such as 0-7 or 1,5,8")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def numbers(context: click.Context, option: click.Parameter, text: str) -> list[float]:
    """0.1,0.3."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected rates such as 0.1,0.3") from None
    if not all(0 <= rate <= 1 for rate in found):
        raise click.BadParameter(f"found {text!r}, expected rates from 0 to 1")
    return found


def seeds_option(default: str) -> Any:
    """``--seeds``."""
    return click.option(
        "--seeds", default=default, show_default=True, callback=_seeds, help="As 0-7 or 1,5,8."
    )


out_option = click.option("--out", type=PNG, required=True, help="The picture, a PNG.")
samples_option = click.option(
    "--samples", default=10_000, show_default=True, help="Latents of the profile."
)
layers_option = click.option(
    "--layers", default="auto", show_default=True, help="auto, 0+1+3 or 4x4+8x8."
)
class_option = click.option(
    "--class", "class_index", type=int, help="The class (conditional generators)."
)


@plot.command("corrections")
@network_options
@click.option("--correct", "specs", multiple=True, required=True, help="One or several.")
@seeds_option("0-11")
@samples_option
@class_option
@out_option
@one_line_errors
def corrections(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    specs: tuple[str, ...],
    seeds: list[int],
    samples: int,
    class_index: int | None,
    out: Path,
) -> None:
    """Seeds before and after --correct, the difference, and the heat map of low-rate neurons."""
    from ganfix_plugin.artifacts.scores import Scoring, lr
    from ganfix_plugin.correctors.bind import parse_specs
    from ganfix_plugin.generators.latents import check_class
    from ganfix_plugin.pictures.corrections import before_after
    from ganfix_plugin.pictures.sheet import save

    bound = parse_specs(specs)
    with drawing(network, host, device, adapter, out) as generator:
        check_class(generator, class_index)
        score = lr(generator, Scoring(samples=samples, class_index=class_index))
        note = f"{named(network)} · {' · '.join(map(str, bound))}"
        title = "Before and after correction"
        save(before_after(generator, score, seeds, bound, title, note, class_index), out)


@plot.command("ablation")
@network_options
@seeds_option("0")
@layers_option
@click.option(
    "--rate", type=RATE, default=0.3, show_default=True, help="R: neurons up to it are ablated."
)
@samples_option
@class_option
@out_option
@one_line_errors
def ablation(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    seeds: list[int],
    layers: str,
    rate: float,
    samples: int,
    class_index: int | None,
    out: Path,
) -> None:
    """Sequential ablation layer by layer: heat maps and images (IJCAI 2022, Figure 4)."""
    from ganfix_plugin.pictures.ablation import layer_by_layer
    from ganfix_plugin.pictures.sheet import save

    with drawing(network, host, device, adapter, out) as generator:
        found = _profiled(generator, layers, samples, class_index)
        batch, names = _batch(generator, seeds, class_index)
        note = f"{named(network)} · LR-neurons at R = {rate:g} · {samples} latents"
        title = "Sequential ablation, layer by layer"
        save(
            layer_by_layer(generator, *found, rate, batch, names, title, note),
            out,
        )


@plot.command("rates")
@network_options
@seeds_option("0")
@layers_option
@click.option(
    "--rates", default="0.1,0.3,0.5,0.7,0.9", show_default=True, callback=numbers, help="R."
)
@samples_option
@class_option
@out_option
@one_line_errors
def rates(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    seeds: list[int],
    layers: str,
    rates: list[float],
    samples: int,
    class_index: int | None,
    out: Path,
) -> None:
    """HR- against LR-ablation over rates, at each layer (IJCAI 2022, Figures 5 and 14)."""
    from ganfix_plugin.pictures.ablation import over_rates
    from ganfix_plugin.pictures.sheet import save

    with drawing(network, host, device, adapter, out) as generator:
        found = _profiled(generator, layers, samples, class_index)
        batch, names = _batch(generator, seeds, class_index)
        note = f"{named(network)} · {samples} latents"
        title = "Ablation of high- and low-rate neurons over rates"
        save(
            over_rates(generator, *found, rates, batch, names, title, note),
            out,
        )


@plot.command("unit")
@network_options
@click.option("--unit", "chosen", required=True, help="LAYER:UNIT+UNIT, such as 6:12+40.")
@click.option("--num", default=20_000, show_default=True, help="Generations to search.")
@click.option("--top", default=20, show_default=True, help="Images per unit.")
@click.option("--samples", default=10_000, show_default=True, help="Of the profile, for the DS.")
@out_option
@one_line_errors
def unit(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    chosen: str,
    num: int,
    top: int,
    samples: int,
    out: Path,
) -> None:
    """A unit's top-activating images and its representative generation (CVPR 2021)."""
    from ganfix_plugin.correctors.units import UnitList
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.pictures.sheet import save
    from ganfix_plugin.pictures.units import unit_sheet
    from ganfix_plugin.profiling.unit_images import top_seeds

    try:
        ((number, units),) = UnitList.parse(chosen).layers
    except ValueError:
        raise GanfixError(f"--unit {chosen}: expected LAYER:UNIT+UNIT, such as 6:12+40") from None
    with drawing(network, host, device, adapter, out) as generator:
        layer = _layer(generator, number)
        if max(units) >= layer.channels:
            raise GanfixError(f"--unit {chosen}: no unit {max(units)} in layer {layer}")
        best = top_seeds(generator, layer, range(num), top)
        tops = {each: best[each].tolist() for each in units}
        note = f"{named(network)} · layer {layer} · the {top} of {num:,} seeds that activate a "
        note += "unit most, the strongest first, and the image of their mean feature map"
        scores = _defective(generator, samples).get(layer.name)
        save(
            unit_sheet(generator, layer, tops, "What units draw", note, scores),
            out,
        )


@plot.command("concepts")
@network_options
@click.option("--layer", "number", type=int, required=True, help="The layer's number.")
@click.option("--units", default=60, show_default=True, help="Units of highest DS to group.")
@click.option("--groups", default=8, show_default=True, help="At most so many groups.")
@click.option("--num", default=20_000, show_default=True, help="Generations to search.")
@click.option("--top", default=20, show_default=True, help="Images behind a representative one.")
@click.option("--samples", default=10_000, show_default=True, help="Of the profile, for the DS.")
@extractor_option
@out_option
@one_line_errors
def concepts(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    number: int,
    units: int,
    groups: int,
    num: int,
    top: int,
    samples: int,
    extractor: str | None,
    out: Path,
) -> None:
    """Units that draw the same, by their representative generations (CVPR 2021).

    The units of highest defective score where ganfix score has made them, the first ones otherwise.
    A group's units are listed as --correct units takes them.
    """
    from ganfix_plugin.features.extractors import load_extractor
    from ganfix_plugin.pictures.sheet import save
    from ganfix_plugin.pictures.units import concept_sheet
    from ganfix_plugin.profiling.unit_images import top_seeds

    with drawing(network, host, device, adapter, out) as generator:
        used = load_extractor(extractor)
        layer = _layer(generator, number)
        scores = _defective(generator, samples).get(layer.name)
        order = (
            list(range(layer.channels))
            if scores is None
            else scores.argsort(descending=True, stable=True).tolist()
        )
        best = top_seeds(generator, layer, range(num), top)
        tops = {each: best[each].tolist() for each in order[:units]}
        which = "first" if scores is None else "most defective"
        note = f"{named(network)} · layer {layer} · its {len(tops)} {which} units, each the image "
        note += f"of the mean feature map of its {top} of {num:,} seeds · grouped by {used.name}"
        title = "Units by shared concept"
        picture, found = concept_sheet(generator, layer, tops, used, groups, title, note)
        save(picture, out)
    for place, group in enumerate(found, 1):
        click.echo(f"concept {place}: --correct units:units={number}:{'+'.join(map(str, group))}")


class drawing:
    """The generator and its adapter, once it is sure that the picture can be written."""

    def __init__(
        self, network: str, host: Path | None, device: str | None, adapter: str | None, out: Path
    ) -> None:
        from ganfix_plugin.hosts.loading import open_network

        self.out, self.opened = out, open_network(network, host, device, adapter)

    def __enter__(self) -> Generator:
        from ganfix_plugin.files import ready

        ready(self.out)
        return self.opened.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.opened.__exit__(*error)
        if error[0] is None:
            click.echo(f"written to {self.out}")


def _profiled(
    generator: Generator, layers: str, samples: int, class_index: int | None
) -> tuple[Any, tuple[Layer, ...]]:
    from ganfix_plugin.profiling.profile import Settings
    from ganfix_plugin.profiling.store import ensure
    from ganfix_plugin.spec import layer_choice

    chosen = generator.select(layer_choice(layers))
    return ensure(generator, Settings(samples, class_index=class_index), chosen)[0], chosen


def _batch(
    generator: Generator, seeds: Sequence[int], class_index: int | None
) -> tuple[Any, list[str]]:
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.generators.latents import check_class, seed_batches

    if not 1 <= len(seeds) <= 64:
        raise GanfixError(f"--seeds: found {len(seeds)}, expected 1 to 64 for this picture")
    check_class(generator, class_index)
    batch = next(seed_batches(generator, seeds, len(seeds), class_index))
    return batch, [f"Seed {seed}" for seed in seeds]


def _layer(generator: Generator, number: int) -> Layer:
    from ganfix_plugin.correctors.units import numbered

    return numbered(generator.layers, number)


def _defective(generator: Generator, samples: int) -> dict[str, Any]:
    """The defective scores in the store, by layer name; empty if there are none."""
    from ganfix_plugin.profiling.profile import Settings
    from ganfix_plugin.profiling.store import ensure

    return ensure(generator, Settings(samples), ())[0].defective
