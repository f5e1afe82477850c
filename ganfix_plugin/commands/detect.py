"""`ganfix detect`: which seeds have artifacts, without rendering them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganfix_plugin.artifacts.ranking import Ranking, score_seeds, separation
from ganfix_plugin.artifacts.scores import SCORES, Scoring
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import FILE, FOLDER, Network, preset
from ganfix_plugin.files import ready
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.labels import read
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.detection import draw
from ganfix_plugin.spec import layer_choice


@main.command()
@options.network
@options.seed_range(50_000)
@click.option("--out", type=FOLDER, required=True, help="The folder to write to.")
@preset(
    "--by",
    "lr",
    "lr: active low-rate neurons; probe: what --correct steer goes by; both render nothing. "
    "artifact: the probability of the classifier that ganfix fit made. realism: against the images "
    "of --real.",
    type=click.Choice(list(SCORES)),
)
@preset("--rate", 0.1, "lr counts neurons of at most this.", type=click.FloatRange(0, 1))
@preset("--layers", "auto", "Of lr and probe: auto, 0+1+3, 4x4+8x8.")
@options.samples("Latents of the profile.")
@options.class_index
@options.classifier
@options.real
@options.extractor
@click.option("--labels", type=FILE, help="A label file: say how well the score separates it.")
@preset("--top", 36, "Images on each contact sheet.", type=click.IntRange(1))
def detect(
    network: Network,
    seeds: range,
    out: Path,
    by: str,
    layers: str,
    labels: Path | None,
    top: int,
    **scoring: Any,
) -> None:
    """Rank seeds by how artifact-like their images are.

    \b
    ganfix detect --network ffhq.pkl --num 50000 --out found

    Seeds are the host's own: seed 1234 of the table is what generate.py --seeds=1234 renders. OUT
    gets scores.csv (seed, score, percentile; the most artifact-like first; a percentile of 90 is
    more artifact-like than 90 of 100), histogram.png, top.png and bottom.png with heat maps, and
    heatmaps/ with each of these images by itself.
    """
    plots.needed()
    how = Scoring(layers=layer_choice(layers), **scoring)
    class_index = how.class_index
    labelled = read(labels) if labels else None
    ready(out, folder=True)
    with network.opened() as generator:
        check_class(generator, class_index)
        if labelled:
            labelled.check(generator.fingerprint)
        scorer = SCORES[by](generator, how)
        auc = separation(generator, scorer, labelled, class_index) if labelled else None
        scores = score_seeds(generator, scorer, seeds, class_index)
        ranking = Ranking.of(seeds, scores, scorer.worst_first)
        ranking.write(out / "scores.csv")
        of_class: Any = {"class_index": class_index, "auc": auc}
        draw(generator, scorer, ranking, out, subject=network.title, top=top, **of_class)
    worst, best = ranking.seeds[:5], ranking.seeds[-5:][::-1]
    click.echo(f"{len(seeds)} seeds by {scorer.how}")
    click.echo(f"most artifact-like:  seeds {', '.join(map(str, worst))}, …")
    click.echo(f"least artifact-like: seeds {', '.join(map(str, best))}, …")
    if auc is not None:
        click.echo(f"ROC AUC on the labels of {labels}: {auc:.3f}")
    click.echo(f"written to {out}: scores.csv, histogram.png, top.png, bottom.png, heatmaps/")
