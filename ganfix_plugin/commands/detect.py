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
from ganfix_plugin.commands.options import (
    EACH_END,
    FILE,
    FOLDER,
    Fraction,
    Network,
    merged,
    preset,
    tell,
)
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.labels import Labels
from ganfix_plugin.moved_latents import check_suffix, entry_name, latents_of_seeds, save_latents
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
    "Whose neurons lr counts and whose units the probe reads: auto, 0+1+3 or 4x4+8x8.",
)
@options.samples("Latents of the profile.")
@options.class_index
@options.classifier
@options.real
@options.extractor
@options.labels("Label file(s): say how well the score separates them.")
@preset("--top", 36, f"{EACH_END} to show, on a sheet each.")
@options.exact
@click.option(
    "--save-w",
    type=FILE,
    help="Also write the ws of these images, the most artifact-like first, for --projected-w and "
    "other projects: NAME.npz, .npy or .pt, as ganfix latents does.",
)
@options.as_json
def detect(
    network: Network,
    seeds: range,
    out: Path,
    by: str,
    rates: tuple[float, ...],
    layers: str,
    files: tuple[Path, ...],
    top: int,
    exact: bool,
    save_w: Path | None,
    as_json: bool,
    **scoring: Any,
) -> None:
    """Rank seeds by how unusual or artifact-like their images are.

    \b
    ganfix detect --network ffhq.pkl --num 50000 --out found

    Seeds are the host's own: seed 1234 of the table is what generate.py --seeds=1234 renders. OUT
    gets scores.csv (seed, score, percentile; the most artifact-like first; a percentile of 90 is
    more artifact-like than 90 of 100), histogram.png, top.png and bottom.png with heat maps, and
    heatmaps/ with each of these images by itself; with --rate 0.1 --rate 0.3 also rates.png, both
    ends by either rate, and in scores.csv a score and percentile by each. --json prints what is in
    the two sheets, and where the table is.
    """
    plots.needed()
    if save_w:
        check_suffix(save_w)
        ready(save_w)
    how = Scoring(rates[0], layer_choice(layers), **scoring)
    if len(rates) > 1 and by != "lr":
        raise GanfixError(f"--rate: found {len(rates)}, expected one; --by {by} knows no rates")
    class_index = how.class_index
    labelled = merged(files) if files else None
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
            ws = latents_of_seeds(generator, ends, (), class_index=class_index)
            save_latents(save_w, ws, len(ends), entry_name(generator), ends, ())
    most, least = _records(ranking, slice(top)), _records(ranking, slice(-top, None))[::-1]
    record = {
        "generator": generator.fingerprint,
        "seeds": len(seeds),
        "how": scorer.how,
        "word": scorer.word,
        "most": most,
        "least": least,
        "auc": auc,
        "table": str(out / "scores.csv"),
    }
    lines = [f"{len(seeds)} seeds by {scorer.how}"]
    for title, end in (("most", most), ("least", least)):
        named = ", ".join(str(row["seed"]) for row in end[:5])
        lines.append(f"{f'{title} {scorer.word}:':{len(scorer.word) + 7}} seeds {named}, …")
    if auc is not None:
        lines.append(f"ROC AUC on the labels of {' '.join(map(str, files))}: {auc:.3f}")
    for name, (counts, area) in beside.items():
        correlation, common = agreement(scores, counts, top)
        record[name] = {"rank_correlation": correlation, "common": common, "auc": area}
        text = f"{common} of the {len(most)} most unusual are the same"
        text += "" if area is None else f"; ROC AUC {area:.3f}"
        lines.append(f"by {name}: rank correlation {correlation:+.2f}, {text}")
    pictures = "histogram.png, top.png, bottom.png, heatmaps/" + ", rates.png" * bool(beside)
    lines.append(f"written to {out}: scores.csv, {pictures}")
    if save_w:
        lines.append(f"written to {save_w}: {len(ends)} latents")
    tell(as_json, record, *lines)


def _records(ranking: Ranking, rows: slice) -> list[dict[str, float]]:
    """Some rows of the table."""
    columns = (
        ranking.seeds[rows],
        ranking.scores[rows].tolist(),
        ranking.percentiles[rows].tolist(),
    )
    names = ("seed", "score", "percentile")
    return [dict(zip(names, row)) for row in zip(*columns)]


def _by_lr(
    generator: Generator, how: Scoring, seeds: range, labelled: Labels | None
) -> tuple[Tensor, float | None]:
    """The LR counts [n] of seeds, and, with labels, how well they separate those."""
    score, class_index = lr(generator, how), how.class_index
    counts = score_seeds(generator, score, seeds, class_index)
    return counts, separation(generator, score, labelled, class_index) if labelled else None
