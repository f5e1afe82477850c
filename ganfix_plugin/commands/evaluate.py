"""`ganfix evaluate`: is the corrected generator better, and by how much?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ganfix_plugin.artifacts.latent_files import check_latents
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import FILE, Network, gathers, merged, preset, several, table
from ganfix_plugin.correctors.bind import BoundSpec, parse_specs
from ganfix_plugin.evaluation import evaluate as evaluating
from ganfix_plugin.evaluation.bench import Trial, held_out
from ganfix_plugin.evaluation.measures import TITLES as MEASURES
from ganfix_plugin.features.bootstrap import Figure
from ganfix_plugin.features.extractors import load_extractor, measuring_extractor
from ganfix_plugin.features.images import check_images
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.workers import rank

TITLES = {
    "frechet": "Fréchet distance ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "realism": "realism ↑",
}

TRIAL: dict[str, Callable[[Trial], str]] = {
    "all to clean": lambda trial: f"{trial.overall:.2f}",
    "artifacts to clean": lambda trial: f"{trial.artifacts:.2f}",
    "left": lambda trial: f"{trial.left:.0%}",
    "their identity": lambda trial: f"{trial.repaired.identity:.2f}",
    "keep their kind": lambda trial: f"{trial.repaired.kind_kept:.0%}",
    "normals change by": lambda trial: f"{trial.change:.1f} of 255",
    "untouched": lambda trial: f"{trial.clean.untouched:.0%}",
    "correction": lambda trial: trial.spec or "none",
}


num_real_option = click.option(
    "--num-real", type=click.IntRange(min=2), help="Real images to use. [default: all]"
)
features_options = several(
    click.option(
        "--extractor",
        metavar="NAME",
        help="Of features: inception (FID's own), vgg16 (what precision, recall and realism were "
        "defined by), another one of 'ganfix list', or module:callable from images [N,3,H,W] in "
        "[-1,1].  [default: inception where it is at hand, else as for the other commands]",
    ),
    click.option(
        "--judge",
        metavar="NAME",
        help="A second extractor, which had no part in the correction: it measures the same, and "
        "says of corrected images whether they are still what they were.  [default: --extractor]",
    ),
    preset(
        "--alternatives/--no-alternatives",
        True,
        "Of a gated correction: also measure rejection of what it changes, and truncation.",
    ),
    preset(
        "--resamples",
        100,
        "Bootstrap resamples for the intervals of differences; 0 leaves them out.",
        type=click.IntRange(min=0),
    ),
)


@dataclass(frozen=True)
class Comparison:
    """What generations are measured against, and how."""

    real: Path | None
    num_real: int | None
    extractor: str | None
    judge: str | None
    alternatives: bool
    resamples: int

    def of(
        self, generator: Generator, latents: str, specs: list[BoundSpec], **how: Any
    ) -> evaluating.Evaluation:
        """Figures of some latents, uncorrected and corrected; errors as of `evaluate`."""
        assert self.real
        how |= {"num_real": self.num_real, "resamples": self.resamples, "judge": self.judge}
        how["with_alternatives"] = self.alternatives
        how["extractor"] = self.extractor or measuring_extractor()
        return evaluating.evaluate(generator, self.real, latents, specs, **how)


@main.command()
@options.network
@options.real_required
@options.correct(
    "A correction; may be given several times. Without any, the generator is measured as it is.",
    required=False,
)
@click.option(
    "--latents",
    metavar="FILE",
    help="Labels (.csv, .json: the seeds labelled artifact), a ranking with a column seed (.csv), "
    "latents [N, …] (.npy, .npz, .safetensors), or seeds such as 0-99. "
    "[default: seeds from --seed on]",
)
@click.option(
    "--num",
    "--num-gen",  # torchrun takes --num for one of its own
    "num",
    type=click.IntRange(min=2),
    help="Number of generations; of --latents at most the first so many.  "
    "[default: 10000, or all of --latents]",
)
@num_real_option
@preset("--seed", 0, "First seed, and that of all choices.")
@options.labels(
    "Label file(s): also say what becomes of labelled artifacts and clean images. Those that a "
    "correction may have learned from are left out."
)
@features_options
@preset("--batch", 16, "Latents per pass.")
@click.option("--out", type=FILE, help="Write figures and settings here, as JSON.")
@gathers(against=Comparison)
def evaluate(
    network: Network,
    against: Comparison,
    specs: tuple[str, ...],
    latents: str | None,
    files: tuple[Path, ...],
    out: Path | None,
    **how: Any,
) -> None:
    """Measure a generator against real images, uncorrected and corrected on the same latents.

    \b
    ganfix evaluate --network ffhq.pkl --real ffhq.zip --correct seqabl --latents labels.csv

    Prints Fréchet distance, precision, recall and realism on both sides, their difference, and its
    95 % bootstrap interval; the same of what could be done instead, rejection and truncation; and
    what the correction keeps of the images. Under torchrun (write --num-gen) the work is shared
    among the ranks.
    """
    bound = parse_specs(specs)
    assert against.real
    check_images(against.real)
    latents = latents or f"{how['seed']}-{how['seed'] + (how['num'] or 10_000) - 1}"
    check_latents(latents)
    labels = merged(files) if files else None
    if out:
        ready(out)
    with network.opened() as generator:
        evaluation = against.of(generator, latents, bound, share=True, **how)
        trials: list[Trial] = []
        if labels:
            extractor = load_extractor(evaluation.record["extractor"], generator.discriminator)
            part = held_out(generator, extractor, labels, bound, how["seed"])
            trials = [part.trial(), *([part.trial(*bound)] if bound else [])]
    about = "{num} generations, {num_real} real images, features of {extractor}"
    click.echo(about.format_map(evaluation.record))
    for heading, rows in tables(evaluation):
        click.echo((f"\n{heading}\n" if heading else "") + table(*rows))
    if trials:
        click.echo(f"\nlabelled, held out\n{table(*trial_rows(*trials))}")
        evaluation.record["labelled"] = [asdict(trial) for trial in trials]
    if out and not rank():
        evaluation.save(out)
        click.echo(f"written to {out}")


def tables(evaluation: evaluating.Evaluation) -> list[tuple[str, list[tuple[str, ...]]]]:
    """What there is to show, each table with a heading; the first row is the header."""
    header = ("", "uncorrected", "corrected", "difference")
    shown = [("", [header, *map(row, evaluation.figures)])]
    if evaluation.judged:
        by = f"by the judge, {evaluation.record['judge']}"
        shown.append((by, [header, *map(row, evaluation.judged)]))
    if others := evaluation.alternatives:
        rows = [map(row, figures) for figures in others.values()]
        cells = [(name[0][0], *(f"{r[2]} ({r[3]})" for r in name)) for name in zip(*rows)]
        shown.append(("instead of correcting what is flagged", [("", *others), *cells]))
    if evaluation.measures:
        names = tuple(MEASURES.values())
        shown.append(("what the correction keeps", [names, evaluation.measures.cells()]))
    return shown


def trial_rows(*trials: Trial) -> list[tuple[str, ...]]:
    """The table of what corrections do to labelled generations, its header first."""
    cells = [tuple(column(trial) for column in TRIAL.values()) for trial in trials]
    return [tuple(TRIAL), *cells]


def row(figure: Figure) -> tuple[str, ...]:
    """A line of the table."""
    after, difference = figure.corrected, figure.difference
    change = "" if difference is None else f"{difference:+.4g}"
    if figure.interval:
        low, high = figure.interval
        change += f" [{low:+.4g}, {high:+.4g}]"
    spread = [f" ± {deviation:.2g}" for deviation in figure.deviations] or ["", ""]
    corrected = "" if after is None else f"{after:.4g}{spread[-1]}"
    return TITLES[figure.name], f"{figure.uncorrected:.4g}{spread[0]}", corrected, change
