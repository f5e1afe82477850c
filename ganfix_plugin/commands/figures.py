"""The figures of `ganfix plot`: numbers of whole populations, measured and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands.options import Command, named, network_options, one_line_errors, table
from ganfix_plugin.commands.plot import (
    class_option,
    drawing,
    numbers,
    out_option,
    plot,
    samples_option,
)
from ganfix_plugin.commands.prepare import FILE, IMAGES, extractor_option

if TYPE_CHECKING:
    from ganfix_plugin.evaluate.population import Population
    from ganfix_plugin.generators.generator import Generator


def population_options(command: Command) -> Command:
    """What is needed to measure distances to real images."""
    options = (
        click.option("--real", type=IMAGES, required=True, help="Real images, a folder or zip."),
        extractor_option,
        click.option(
            "--num", default=5000, show_default=True, help="Generations to look for artifacts in."
        ),
        click.option(
            "--artifacts",
            default=1000,
            show_default=True,
            help="Of them, those of least realism, which are corrected.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@plot.command("sweep")
@network_options
@population_options
@click.option("--rates", default="0.7,0.5,0.3,0.1", show_default=True, callback=numbers, help="R.")
@samples_option
@out_option
@one_line_errors
def sweep(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    real: Path,
    extractor: str | None,
    num: int,
    artifacts: int,
    rates: list[float],
    samples: int,
    out: Path,
) -> None:
    """Distance of ablated artifacts to real images by rate and layers (IJCAI 2022, Table 1)."""
    from ganfix_plugin.evaluate.population import ablation_rows, ablation_sweep, layer_columns
    from ganfix_plugin.pictures import plots

    plots.needed()
    with drawing(network, host, device, adapter, out) as generator:
        people = _population(generator, num, real, extractor)
        worst = people.artifacts(artifacts)
        columns = layer_columns(generator)
        before = people.effect(None, worst).distance
        effects = ablation_sweep(people, worst, ablation_rows(rates, samples), columns)
        figures = {
            name: {column: cell.distance for column, cell in row.items()}
            for name, row in effects.items()
        }
        _show(figures, f"uncorrected {before:.4g}")
        note = f"{_described(network, people, artifacts, real)} · {samples} latents · "
        note += f"uncorrected {before:.4g}"
        plots.matrix(
            out,
            "Fréchet distance of ablated artifacts to real images",
            note,
            figures,
            ("ablated layers", "ablated neurons"),
            before,
            "against uncorrected",
        )


@plot.command("options")
@network_options
@click.option("--correct", "specs", multiple=True, required=True, help="One or several.")
@click.option("--vary", metavar="KEY=V1,V2,…", required=True, help="A key, as top=5%,20%,60%.")
@population_options
@click.option(
    "--measure",
    type=click.Choice(["distance", "realism"]),
    default="distance",
    show_default=True,
    help="The Fréchet distance to real images, or the mean realism score.",
)
@out_option
@one_line_errors
def options(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    specs: tuple[str, ...],
    vary: str,
    real: Path,
    extractor: str | None,
    num: int,
    artifacts: int,
    measure: str,
    out: Path,
) -> None:
    """Distance or realism over the values of one option of corrections.

    \b
    --correct ds:layer=2 --correct fid-units:layer=2 --vary units=1,5,10,20   units
    --correct seqc --vary stop=1,2,3,4                                   stopping layer
    --correct seqc --vary top=5%,10%,20%,40%          portion (CVPR 2021, Figure 12)
    """
    from ganfix_plugin.correctors.bind import parse_spec
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.pictures import plots

    plots.needed()
    key, equals, listed = vary.partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if not equals or not values:
        raise GanfixError(f"--vary {vary}: expected KEY=V1,V2,… such as top=5%,20%,60%")
    varied = {spec: {value: parse_spec(spec, {key: value}) for value in values} for spec in specs}
    with drawing(network, host, device, adapter, out) as generator:
        people = _population(generator, num, real, extractor)
        worst = people.artifacts(artifacts)
        before = people.effect(None, worst)
        curves = {
            text: {
                value: getattr(people.effect(spec, worst), measure)
                for value, spec in by_value.items()
            }
            for text, by_value in varied.items()
        }
        _show(curves, f"uncorrected {getattr(before, measure):.4g}")
        spoken = {"distance": "Fréchet distance", "realism": "realism score"}[measure]
        plots.lines(
            out,
            f"{spoken} of corrected artifacts over {key}",
            _described(network, people, artifacts, real),
            key,
            f"{spoken} to real images" if measure == "distance" else f"mean {spoken}",
            curves,
            ("uncorrected", getattr(before, measure)),
            lowest=measure == "distance",
        )


@plot.command("d-values")
@network_options
@click.option("--labels", type=FILE, help="A label file; without, the ends of the LR count.")
@click.option("--num", default=5000, show_default=True, help="Without labels: seeds to rank.")
@click.option("--top", default=500, show_default=True, help="Without labels: of each end.")
@samples_option
@class_option
@out_option
@one_line_errors
def d_values(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    labels: Path | None,
    num: int,
    top: int,
    samples: int,
    class_index: int | None,
    out: Path,
) -> None:
    """Does the discriminator tell artifacts from normals? Its scores of both (CVPR 2021)."""
    from ganfix_plugin.artifacts.discriminator import d_values as values_of
    from ganfix_plugin.artifacts.prepare import auto_labels
    from ganfix_plugin.features.classifier import auc
    from ganfix_plugin.generators.latents import check_class
    from ganfix_plugin.labels import KINDS, read
    from ganfix_plugin.pictures import plots

    plots.needed()
    known_labels = read(labels) if labels else None
    with drawing(network, host, device, adapter, out) as generator:
        check_class(generator, class_index)
        if known_labels:
            used, who = known_labels.check(generator.fingerprint), f"labels of {named(str(labels))}"
        else:
            used = auto_labels(generator, num, top, samples=samples)
            who = f"the {top} of {num:,} seeds with most and fewest active low-rate neurons"
        found = {
            kind: values_of(generator, used.samples(kind), class_index).numpy() for kind in KINDS
        }
        note = f"{named(network)} · {who}"
        if all(map(len, found.values())):
            import torch

            area = auc(*(torch.from_numpy(-each) for each in found.values()))
            note += f" · ROC AUC of a low D-value {area:.3f}"
        plots.histogram(
            out,
            "What the discriminator says of artifacts and normals",
            note,
            "D-value (logit; high: real)",
            found,
            colours=plots.KINDS,
        )


def _show(rows: Mapping[str, Mapping[str, float]], before: str) -> None:
    """The figures as text, too."""
    columns = next(iter(rows.values()), {})
    lines = [(before, *columns)]
    lines += [(name, *(f"{each:.4g}" for each in row.values())) for name, row in rows.items()]
    click.echo(table(lines))


def _population(generator: Generator, num: int, real: Path, extractor: str | None) -> Population:
    from ganfix_plugin.evaluate.population import Population

    return Population.of(generator, range(num), real, extractor)


def _described(network: str, people: Population, artifacts: int, real: Path) -> str:
    return (
        f"{named(network)} · the {artifacts} of {len(people.seeds):,} generations of least realism "
        f"· {len(people.real):,} real images of {real.name} · features of {people.extractor.name}"
    )
