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
from ganfix_plugin.commands.options import FILE, Network, gathers, merged, preset, several, tell
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.evaluation import evaluate as evaluating
from ganfix_plugin.evaluation.bench import Trial, held_out
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.images import check_images
from ganfix_plugin.files import ready
from ganfix_plugin.workers import rank

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
        help="A feature extractor: inception (FID's own), vgg16 (what precision, recall and "
        "realism were defined by), another one of 'ganfix list', or module:callable from images "
        "[N,3,H,W] in [-1,1].  [default: inception where it is at hand, else as for the other "
        "commands]",
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

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of `evaluating.evaluate`."""
        named = asdict(self)
        named["with_alternatives"] = named.pop("alternatives")
        return named


@main.command()
@options.network
@options.real_required
@options.correct(
    "A correction; several are applied in a row. Without any, the generator is measured as it is.",
    required=False,
)
@click.option(
    "--latents",
    metavar="FILE",
    help="Labels (.csv, .json: the seeds labelled artifact), a ranking with a column seed (.csv), "
    "latents [N, …] (.npy, .npz, .safetensors), or seeds such as 0-99. "
    "[default: seeds 0 on]",
)
@click.option(
    "--num",
    "--num-gen",  # torchrun takes --num for one of its own
    "num",
    type=click.IntRange(min=2),
    help="Number of generations; of --latents, the first so many.  "
    "[default: 10000, or all of --latents]",
)
@num_real_option
@preset("--seed", 0, "Seed of the choice of real images, of resamples and splits.")
@options.labels(
    "Label file(s): also say what becomes of labelled artifacts and clean images. Those that a "
    "correction may have learned from are left out."
)
@features_options
@preset("--batch", 16, "Latents per pass.")
@click.option("--out", type=FILE, help="Write figures and settings here, as JSON.")
@options.as_json
@gathers(against=Comparison)
def evaluate(
    network: Network,
    against: Comparison,
    specs: tuple[str, ...],
    latents: str | None,
    files: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure a generator against real images, uncorrected and corrected on the same latents.

    \b
    ganfix evaluate --network ffhq.pkl --real ffhq.zip --correct seqabl --latents labels.csv

    Prints Fréchet distance, precision, recall, coverage and realism on both sides, their
    difference, and its 95 % bootstrap interval; the same of what could be done instead, rejection
    and truncation; and what the correction keeps of the images. Under torchrun (write --num-gen)
    the work is shared among the ranks.
    """
    bound = parse_specs(specs)
    assert against.real
    check_images(against.real)
    if latents:
        check_latents(latents)
    labels = merged(files) if files else None
    if out:
        ready(out)
    with network.opened() as generator:
        how |= {**against.options, "latents": latents, "share": True}
        evaluation = evaluating.evaluate(generator, *bound, **how)
        trials: list[Trial] = []
        if labels:
            extractor = load_extractor(evaluation.record["extractor"], generator.discriminator)
            part = held_out(generator, extractor, labels, bound, how["seed"])
            trials = [part.trial(), *([part.trial(*bound)] if bound else [])]
    if trials:
        evaluation.record["labelled"] = [asdict(trial) for trial in trials]
    held = [f"\nlabelled, held out\n{table(*trial_rows(*trials))}"] if trials else []
    tell(as_json, evaluation.values(), evaluation, *held)
    if out and not rank():
        evaluation.save(out)
        click.echo(f"written to {out}")


def trial_rows(*trials: Trial) -> list[tuple[str, ...]]:
    """The table of what corrections do to labelled generations, its header first."""
    cells = [tuple(column(trial) for column in TRIAL.values()) for trial in trials]
    return [tuple(TRIAL), *cells]
