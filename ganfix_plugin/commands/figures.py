"""`ganfix plot sweep`, `options` and `d-values`: numbers of whole populations, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from ganfix_plugin.artifacts import discriminator
from ganfix_plugin.artifacts.prepare import auto_labels
from ganfix_plugin.commands import options
from ganfix_plugin.commands.options import EACH_END, Network, gathers, merged, preset, several
from ganfix_plugin.commands.plot import drawing, out_option, plot, rates_option
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation import population
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.labels import KINDS
from ganfix_plugin.pictures import plots


@dataclass(frozen=True)
class Artifacts:
    """Which generations count as artifacts: those of least realism beside real images."""

    real: Path
    extractor: str | None
    num: int
    artifacts: int

    def among(self, generator: Generator) -> tuple[population.Population, list[int]]:
        """All generations, and the seeds of the artifacts."""
        people = population.Population.of(generator, range(self.num), self.real, self.extractor)
        return people, people.artifacts(self.artifacts)

    def note(self, network: Network, people: population.Population) -> str:
        """What a picture says of them."""
        return (
            f"{network.title} · the {self.artifacts} of {len(people.seeds):,} generations of least "
            f"realism · {len(people.real):,} real images of {self.real.name} · features of "
            f"{people.extractor.name}"
        )


artifacts_options = several(
    options.real_required,
    options.extractor,
    preset("--num", 5000, "Generations to look for artifacts in."),
    preset("--artifacts", 1000, "Of them, those of least realism, which are corrected."),
    gathers(artifacts=Artifacts),
)


@plot.command("sweep")
@options.network
@artifacts_options
@rates_option("0.7,0.5,0.3,0.1")
@options.samples()
@out_option
def sweep(
    network: Network, artifacts: Artifacts, rates: list[float], samples: int | None, out: Path
) -> None:
    """Distance of ablated artifacts to real images by rate and layers (IJCAI 2022, Table 1)."""
    plots.needed()
    with drawing(network, out) as generator:
        people, worst = artifacts.among(generator)
        before = people.effect(None, worst).distance
        rows = population.ablation_rows(rates, samples)
        columns = population.layer_columns(generator)
        distances = {
            name: {column: effect.distance for column, effect in effects.items()}
            for name, effects in population.ablation_sweep(people, worst, rows, columns).items()
        }
        uncorrected = f"uncorrected {before:.4g}"
        _show(distances, uncorrected)
        words = plots.Words(
            "Fréchet distance of ablated artifacts to real images",
            f"{artifacts.note(network, people)} · {uncorrected}",
            "ablated layers",
            "ablated neurons",
        )
        plots.matrix(out, words, distances, before)


@plot.command("options")
@options.network
@options.correct("A correction; of several, each by itself.")
@click.option(
    "--vary", metavar="KEY=V1,V2,…", required=True, help="A key and its values, as top=5%,20%,60%."
)
@artifacts_options
@preset(
    "--measure",
    "distance",
    "The Fréchet distance to real images, or the mean realism score.",
    type=click.Choice(["distance", "realism"]),
)
@out_option
def over_values(
    network: Network,
    specs: tuple[str, ...],
    vary: str,
    artifacts: Artifacts,
    measure: str,
    out: Path,
) -> None:
    """Distance or realism over the values of one option of corrections.

    \b
    --correct ds:layer=2 --correct fid-units:layer=2 --vary units=1,5,10,20   units
    --correct seqc --vary stop=1,2,3,4                                   stopping layer
    --correct seqc --vary top=5%,10%,20%,40%          portion (CVPR 2021, Figure 12)
    """
    plots.needed()
    key, equals, listed = vary.partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if not equals or not values:
        raise GanfixError(f"--vary {vary}: expected KEY=V1,V2,… such as top=5%,20%,60%")
    varied = {text: {value: parse_spec(text, {key: value}) for value in values} for text in specs}
    with drawing(network, out) as generator:
        people, worst = artifacts.among(generator)
        before = getattr(people.effect(None, worst), measure)
        curves = {
            text: {
                value: getattr(people.effect(spec, worst), measure) for value, spec in by.items()
            }
            for text, by in varied.items()
        }
        _show(curves, f"uncorrected {before:.4g}")
        spoken = {"distance": "Fréchet distance", "realism": "realism score"}[measure]
        words = plots.Words(
            f"{spoken} of corrected artifacts over {key}",
            artifacts.note(network, people),
            key,
            f"{spoken} to real images" if measure == "distance" else f"mean {spoken}",
        )
        plots.lines(out, words, curves, ("uncorrected", before), lowest=measure == "distance")


@plot.command("d-values")
@options.network
@options.labels("Label file(s). [default: the ends of the LR count]")
@preset("--num", 5000, "Generations to rank without labels, seeds 0 on.")
@preset("--top", 500, f"{EACH_END}, without labels.")
@options.samples()
@options.class_index
@out_option
@gathers(ends=lambda num, top, samples: (num, top, samples))
def d_values(
    network: Network,
    files: tuple[Path, ...],
    ends: tuple[int, int, int],
    class_index: int | None,
    out: Path,
) -> None:
    """Does the discriminator tell artifacts from normals? Its scores of both (CVPR 2021)."""
    plots.needed()
    labelled = merged(files) if files else None
    who = f"labels of {', '.join(file.name for file in files)}"
    with drawing(network, out) as generator:
        discriminator.discriminator_of(generator)
        check_class(generator, class_index)
        if labelled:
            labelled.check(generator.fingerprint)
        else:
            num, top, samples = ends
            labelled = auto_labels(generator, num, top, samples=samples)
            who = f"the {top} of {num:,} seeds with most and fewest active low-rate neurons"
        values = {
            kind: discriminator.d_values(generator, labelled.samples(kind), class_index)
            for kind in KINDS
        }
        note = f"{network.title} · {who}"
        if all(map(len, values.values())):
            area = auc(*(-scores for scores in values.values()))
            note += f" · ROC AUC of a low D-value {area:.3f}"
        title = "What the discriminator says of artifacts and normals"
        words = plots.Words(title, note, "D-value (logit; high: real)")
        plots.histogram(out, words, {kind: scores.numpy() for kind, scores in values.items()}, {})


def _show(rows: Mapping[str, Mapping[str, float]], before: str) -> None:
    """The figures as text, too."""
    lines = [(name, *(f"{value:.4g}" for value in row.values())) for name, row in rows.items()]
    click.echo(table((before, *next(iter(rows.values()), {})), *lines))
