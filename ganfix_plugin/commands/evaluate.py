"""`ganfix evaluate`: is the corrected generator better, and by how much?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands.options import network_options, one_line_errors, opened, table
from ganfix_plugin.commands.prepare import FILE, IMAGES

if TYPE_CHECKING:
    from ganfix_plugin.features.bootstrap import Figure

TITLES = {
    "frechet": "Fréchet distance ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "realism": "realism ↑",
}

num_real_option = click.option(
    "--num-real", type=click.IntRange(min=2), help="Real images to use. [default: all]"
)
extractor_option = click.option(
    "--extractor",
    metavar="NAME",
    help="Of features: inception (FID's own, of torch-fidelity or clean-fid), another one of "
    "'ganfix list', or module:callable from images [N,3,H,W] in [-1,1].  [default: inception if "
    "one of those packages is installed, else resnet18 or efficientnet-lite0]",
)
resamples_option = click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Bootstrap resamples for the intervals of differences; 0 leaves them out.",
)


@click.command()
@network_options
@click.option("--real", type=IMAGES, required=True, help="Real images, a folder or zip.")
@click.option(
    "--correct",
    "specs",
    multiple=True,
    metavar="NAME[:key=value,…]",
    help="A correction; may be given several times. Without any, the generator is measured as it "
    "is.",
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
@click.option("--seed", default=0, show_default=True, help="First seed, and that of all choices.")
@extractor_option
@resamples_option
@click.option("--batch", default=16, show_default=True, help="Latents per pass.")
@click.option("--out", type=FILE, help="Write figures and settings here, as JSON.")
@one_line_errors
def evaluate(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    real: Path,
    specs: tuple[str, ...],
    latents: str | None,
    num: int | None,
    num_real: int | None,
    seed: int,
    extractor: str | None,
    resamples: int,
    batch: int,
    out: Path | None,
) -> None:
    """Measure a generator against real images, uncorrected and corrected on the same latents.

    \b
    ganfix evaluate --network ffhq.pkl --real ffhq.zip --correct seqabl --latents labels.csv

    Prints Fréchet distance, precision, recall and realism on both sides, their difference, and its
    95 % bootstrap interval. Under torchrun (write --num-gen) the work is shared among the ranks.
    """
    from ganfix_plugin.artifacts.latent_files import check_latents
    from ganfix_plugin.correctors.bind import parse_specs
    from ganfix_plugin.evaluate.evaluate import evaluate as measure
    from ganfix_plugin.features.images import check_images
    from ganfix_plugin.files import ready
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.workers import rank

    source = latents or f"{seed}-{seed + (num or 10_000) - 1}"

    bound = parse_specs(specs)
    check_images(real)
    check_latents(source)
    if out:
        ready(out)
    with opened(network, host, device) as G:
        found = measure(
            Generator.of(G, adapter),
            real,
            source,
            bound,
            extractor=extractor or seeing_best(),
            num=num,
            num_real=num_real,
            resamples=resamples,
            seed=seed,
            batch=batch,
            share=True,
        )
    record = found.record
    click.echo(
        f"{record['num']} generations, {record['num_real']} real images, features of "
        f"{record['extractor']}"
    )
    click.echo(table([("", "uncorrected", "corrected", "difference"), *map(row, found.figures)]))
    if out and not rank():
        found.save(out)
        click.echo(f"written to {out}")


def seeing_best() -> str:
    """The extractor where none is named: Inception, as FID's own, if it is installed."""
    from ganfix_plugin.features.extractors import default_extractor, has_inception

    return "inception" if has_inception() else default_extractor()


def row(figure: Figure) -> tuple[str, ...]:
    """A line of the table."""
    after, difference = figure.corrected, figure.difference
    change = "" if difference is None else f"{difference:+.4g}"
    if figure.interval:
        low, high = figure.interval
        change += f" [{low:+.4g}, {high:+.4g}]"
    corrected = "" if after is None else f"{after:.4g}"
    return TITLES[figure.name], f"{figure.uncorrected:.4g}", corrected, change
