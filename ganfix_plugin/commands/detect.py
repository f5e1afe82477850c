"""`ganfix detect`: which seeds have artifacts, without rendering them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from torch import Tensor

from ganfix_plugin.artifacts.ranking import Ranking, agreement, score_seeds, separation
from ganfix_plugin.artifacts.scores import SCORES, Scoring, lr
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import FILE, FOLDER, Fraction, Network, preset
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.labels import Labels, read
from ganfix_plugin.moved_latents import check_suffix, corrected_latents, entry_name, save_latents
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.detection import draw, draw_beside
from ganfix_plugin.profiling.profile import GATE_RATE
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
@click.option(
    "--rate",
    "rates",
    default=(GATE_RATE,),
    show_default=True,
    multiple=True,
    type=Fraction(),
    help="lr counts neurons of at most this activation rate; 0.3 is the IJCAI 2022 paper's. Given "
    "twice, seeds are ranked by the first, with the count by the second beside it.",
)
@preset(
    "--layers",
    "auto",
    "Whose neurons lr counts and whose units the probe reads: auto, 0+1+3, 4x4+8x8.",
)
@options.samples("Latents of the profile.")
@options.class_index
@options.classifier
@options.real
@options.extractor
@click.option("--labels", type=FILE, help="A label file: say how well the score separates it.")
@preset("--top", 36, "Images on each contact sheet.")
@options.exact
@click.option(
    "--save-w",
    type=FILE,
    help="Also write the ws of these images, the most artifact-like first, for --projected-w and "
    "other projects: NAME.npz, .npy or .pt, as ganfix latents does.",
)
def detect(
    network: Network,
    seeds: range,
    out: Path,
    by: str,
    rates: tuple[float, ...],
    layers: str,
    labels: Path | None,
    top: int,
    exact: bool,
    save_w: Path | None,
    **scoring: Any,
) -> None:
    """Rank seeds by how unusual or artifact-like their images are.

    \b
    ganfix detect --network ffhq.pkl --num 50000 --out found

    Seeds are the host's own: seed 1234 of the table is what generate.py --seeds=1234 renders. OUT
    gets scores.csv (seed, score, percentile; the most artifact-like first; a percentile of 90 is
    more artifact-like than 90 of 100), histogram.png, top.png and bottom.png with heat maps, and
    heatmaps/ with each of these images by itself; with --rate 0.1 --rate 0.3 also rates.png, both
    ends by either rate, and in scores.csv a score and percentile by each.
    """
    plots.needed()
    if save_w:
        check_suffix(save_w)
        ready(save_w)
    how = Scoring(rates[0], layer_choice(layers), **scoring)
    if len(rates) > 1 and by != "lr":
        raise GanfixError(f"--rate: found {len(rates)}, expected one; --by {by} knows no rates")
    class_index = how.class_index
    labelled = read(labels) if labels else None
    ready(out, folder=True)
    with network.opened() as generator:
        generator = generator.measured_exactly(exact)
        check_class(generator, class_index)
        if labelled:
            labelled.check(generator.fingerprint)
        scorer = SCORES[by](generator, how)
        auc = separation(generator, scorer, labelled, class_index) if labelled else None
        scores = score_seeds(generator, scorer, seeds, class_index)
        ranking = Ranking.of(seeds, scores, scorer.worst_first)
        others = {f"R = {rate:g}": replace(how, rate=rate) for rate in rates[1:]}
        beside = {name: _by_lr(generator, how, seeds, labelled) for name, how in others.items()}
        rankings = {name: Ranking.of(seeds, counts) for name, (counts, _) in beside.items()}
        ranking.write(out / "scores.csv", rankings)
        of_class: Any = {"class_index": class_index, "auc": auc}
        draw(generator, scorer, ranking, out, subject=network.title, top=top, **of_class)
        if rankings:
            by_rate = {f"R = {rates[0]:g}": ranking, **rankings}
            draw_beside(generator, by_rate, out, network.title, top, class_index)
        if save_w:
            ends = list(dict.fromkeys((*ranking.seeds[:top], *ranking.seeds[-top:])))
            ws = corrected_latents(generator, ends, class_index=class_index)
            save_latents(save_w, ws, entry_name(generator), ends, "")
    worst, best = ranking.seeds[:5], ranking.seeds[-5:][::-1]
    click.echo(f"{len(seeds)} seeds by {scorer.how}")
    click.echo(f"most {scorer.word}:  seeds {', '.join(map(str, worst))}, …")
    click.echo(f"least {scorer.word}: seeds {', '.join(map(str, best))}, …")
    if auc is not None:
        click.echo(f"ROC AUC on the labels of {labels}: {auc:.3f}")
    for name, (counts, area) in beside.items():
        correlation, shared = agreement(scores, counts, top)
        text = f"{shared} of the {min(top, len(seeds))} most unusual are the same{area}"
        click.echo(f"by {name}: rank correlation {correlation:+.2f}, {text}")
    pictures = "histogram.png, top.png, bottom.png, heatmaps/" + ", rates.png" * bool(beside)
    click.echo(f"written to {out}: scores.csv, {pictures}")
    if save_w:
        click.echo(f"written to {save_w}: {len(ends)} latents")


def _by_lr(
    generator: Generator, how: Scoring, seeds: range, labelled: Labels | None
) -> tuple[Tensor, str]:
    """The LR counts [n] of seeds, and, with labels, how well they separate those, for people."""
    score, class_index = lr(generator, how), how.class_index
    counts = score_seeds(generator, score, seeds, class_index)
    if labelled is None:
        return counts, ""
    return counts, f"; ROC AUC {separation(generator, score, labelled, class_index):.3f}"
