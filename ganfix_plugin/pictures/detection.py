"""What `ganfix detect` shows: where the scores lie, and the two ends of the ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ganfix_plugin.artifacts.ranking import Ranking
from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.features.render import render
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.palette import brightest, heat, overlay
from ganfix_plugin.pictures.sheet import Band, Row, contact, pictured, save, sheet, side_of

LARGEST = 256  # heat maps of larger images are made at this size


def draw(
    generator: Generator,
    score: Score,
    ranking: Ranking,
    out: Path,
    *,
    subject: str,
    top: int,
    class_index: int | None = None,
    auc: float | None = None,
) -> None:
    """Write histogram.png, top.png, bottom.png and heatmaps/ into a folder.

    Args:
        subject: which generator, for people.
        top: images on each sheet; fewer if there are fewer seeds.
        auc: of hand labels, if there are any, for the note.
    """
    total = len(ranking.seeds)
    note = f"{subject} · {total:,} seeds · {score.how}"
    note += "" if class_index is None else f" · class {class_index}"
    note += "" if auc is None else f" · ROC AUC on hand labels {auc:.3f}"
    values = ranking.scores.numpy()
    worst = 90 if score.worst_first else 10
    marks = {"median": np.median(values), "worst 10 %": np.percentile(values, worst)}
    words = plots.Words(f"How {score.word} are this generator's images?", note, score.title)
    plots.histogram(out / "histogram.png", words, {"seeds": values}, marks)

    count = min(top, total)
    sample = _seen(generator, score, ranking.seeds[: min(count, 32)], class_index)
    high = brightest([maps for _, maps, _ in sample])
    folder = ready(out / "heatmaps", folder=True)
    note += f" · heat maps: {score.shown}, bright is {high:.2g}"
    percentiles = dict(zip(ranking.seeds, ranking.percentiles.tolist()))
    texts = (f"{x:.0f}" if x == round(x) else f"{x:.3f}" for x in ranking.scores.tolist())
    scores = dict(zip(ranking.seeds, texts))
    side = side_of(2 * count)
    ends = (("top", "most", ranking.seeds), ("bottom", "least", ranking.seeds[::-1]))
    for name, end, seeds in ends:
        images, heats, captions = [], [], []
        for image, maps, seed in _seen(generator, score, seeds[:count], class_index):
            colours = heat(maps, 0, high)
            line = f"score {scores[seed]} · percentile {percentiles[seed]:.2f} · {note}"
            row = Row("", "", [image, colours, overlay(image, colours)])
            band = Band("", ["image", score.shown, "both"], [row])
            save(sheet(f"Seed {seed}", line, [band], 192), folder / f"seed{seed:04d}.png")
            images.append(image.resize((side, side)))
            heats.append(colours.resize((side, side)))
            captions.append(f"{seed}: {scores[seed]}")
        title = f"The {count:,} {end} {score.word} of {total:,} seeds"
        line = f"{note} · below each: its seed and score"
        save(contact(title, line, [images, heats], captions), out / f"{name}.png")


def draw_beside(
    generator: Generator,
    rankings: Mapping[str, Ranking],
    out: Path,
    subject: str,
    top: int,
    class_index: int | None = None,
) -> None:
    """Write rates.png: both ends of several rankings of the same seeds, one below the other."""
    first = next(iter(rankings.values()))
    count, bands = min(top, len(first.seeds), 12), []
    for end, way in (("Most", 1), ("Least", -1)):
        rows = []
        for name, ranking in rankings.items():
            seeds = ranking.seeds[::way][:count]
            batches = seed_batches(generator, seeds, class_index=class_index)
            images = [image for z, c in batches for image in pictured(render(generator, z, c))]
            rows.append(Row(name, "", images, [f"seed {seed}" for seed in seeds]))
        bands.append(Band(f"{end} unusual", (), rows))
    note = f"{subject} · {len(first.seeds):,} seeds by LR count · R: the largest rate that is low"
    save(sheet("The same seeds by other rates", note, bands), out / "rates.png")


def _seen(
    generator: Generator, score: Score, seeds: Sequence[int], class_index: int | None
) -> Iterator[tuple[Image.Image, np.ndarray, int]]:
    """The image and the heat map of seeds, with the seed; memory holds a batch."""
    remaining = iter(seeds)
    for z, c in seed_batches(generator, seeds, class_index=class_index):
        images = render(generator, z, c)
        maps = score.heat(z, c, min(images.shape[-1], LARGEST))
        # Seeds last: zip asks its first for one more than it yields.
        yield from zip(pictured(images), maps.numpy(), remaining)
