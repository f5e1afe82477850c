"""`ganfix detect`: which seeds have artifacts, without rendering them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganfix_plugin.commands.options import RATE, named, network_options, one_line_errors, opened
from ganfix_plugin.commands.prepare import FILE, IMAGES, extractor_option


def num_option(default: int) -> Any:
    """``--num``: how many seeds to rank."""
    return click.option(
        "--num",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help="How many seeds, from --first on.",
    )


first_option = click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="The first seed."
)


@click.command()
@network_options
@num_option(50_000)
@first_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder to write to.",
)
@click.option(
    "--score",
    type=click.Choice(["lr", "artifact", "realism"]),
    default="lr",
    show_default=True,
    help="lr: active low-rate neurons, nothing is rendered. artifact: the probability "
    "of the classifier that ganfix fit made. realism: against the images of --real.",
)
@click.option(
    "--rate", type=RATE, default=0.1, show_default=True, help="lr counts neurons of at most this."
)
@click.option("--layers", default="auto", show_default=True, help="Of lr: auto, 0+1+3, 4x4+8x8.")
@click.option("--samples", default=10_000, show_default=True, help="Latents of lr's profile.")
@click.option("--class", "class_index", type=int, help="The class (conditional generators).")
@click.option("--classifier", type=FILE, help="[default: the one that ganfix fit left]")
@click.option("--real", type=IMAGES, help="Real images, a folder or zip.")
@extractor_option
@click.option("--labels", type=FILE, help="A label file: say how well the score separates it.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=36,
    show_default=True,
    help="Images on each contact sheet.",
)
@one_line_errors
def detect(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    num: int,
    first: int,
    out: Path,
    score: str,
    rate: float,
    layers: str,
    samples: int,
    class_index: int | None,
    classifier: Path | None,
    real: Path | None,
    extractor: str | None,
    labels: Path | None,
    top: int,
) -> None:
    """Rank seeds by how artifact-like their images are.

    \b
    ganfix detect --network ffhq.pkl --num 50000 --out found

    Seeds are the host's own: seed 1234 of the table is what generate.py --seeds=1234 renders. OUT
    gets scores.csv (seed, score, percentile; the most artifact-like first; a percentile of 90 is
    more artifact-like than 90 of 100), histogram.png, top.png and bottom.png with heat maps, and
    heatmaps/ with each of these images by itself.
    """
    from ganfix_plugin.artifacts.ranking import Ranking, score_seeds, separation
    from ganfix_plugin.artifacts.scores import SCORES, Scoring
    from ganfix_plugin.files import ready
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.generators.latents import check_class
    from ganfix_plugin.labels import read
    from ganfix_plugin.pictures import plots
    from ganfix_plugin.pictures.detection import draw
    from ganfix_plugin.spec import layer_choice

    plots.needed()
    given = Scoring(rate, layer_choice(layers), samples, class_index, classifier, real, extractor)
    known_labels = read(labels) if labels else None
    ready(out, folder=True)
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        check_class(generator, class_index)
        if known_labels:
            known_labels.check(generator.fingerprint)
        made = SCORES[score](generator, given)
        auc = separation(generator, made, known_labels, class_index) if known_labels else None
        seeds = range(first, first + num)
        scores = score_seeds(generator, made, seeds, class_index)
        ranking = Ranking.of(seeds, scores, made.worst_first)
        ranking.write(out / "scores.csv")
        draw(
            generator,
            made,
            ranking,
            out,
            subject=named(network),
            top=top,
            class_index=class_index,
            auc=auc,
        )
    worst, best = ranking.seeds[:5], ranking.seeds[-5:][::-1]
    click.echo(f"{num} seeds by {made.how}")
    click.echo(f"most artifact-like:  seeds {', '.join(map(str, worst))}, …")
    click.echo(f"least artifact-like: seeds {', '.join(map(str, best))}, …")
    if auc is not None:
        click.echo(f"ROC AUC on the labels of {labels}: {auc:.3f}")
    click.echo(f"written to {out}: scores.csv, histogram.png, top.png, bottom.png, heatmaps/")
