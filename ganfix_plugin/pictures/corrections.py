"""Images before and after a correction, what changed, and where the low-rate neurons are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from PIL import Image

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.pictures.palette import brightest, difference, heat
from ganfix_plugin.pictures.sheet import Band, Row, contact, pictured, sheet, side_of

COLUMNS = 12
SMALL = 96  # images that must be smaller than this to fit get no captions


def before_after(
    generator: Generator,
    score: Score,
    seeds: Sequence[int],
    specs: Sequence[BoundSpec],
    title: str,
    note: str,
    class_index: int | None = None,
) -> Image.Image:
    """A sheet of before, after, difference and heat map, one column per seed.

    Several specs give one corrected row and one difference each. Many seeds get smaller images
    without captions.
    """
    side = side_of(len(seeds) * (2 + 2 * len(specs)))
    batches = list(seed_batches(generator, seeds, class_index=class_index))

    def images(corrected: bool = False) -> list[Image.Image]:
        shown = chain(*(pictured(render(generator, z, c, corrected)) for z, c in batches))
        return [image if side >= SMALL else image.resize((side, side)) for image in shown]

    before = images()
    pairs = []
    for spec in specs:
        with attach(generator, spec):
            after = images(corrected=True)
        pairs.append((after, [difference(*pair) for pair in zip(before, after)]))
    size = min(max((image.width for image in before), default=SMALL), 128)
    maps = [values for z, c in batches for values in score.heat(z, c, size).numpy()]
    high = brightest(maps[:64])
    heats = [heat(values, 0, high) for values in maps]
    note = f"{note} · difference: black is none, bright a third of the range · heat maps: "
    note += f"{score.shown}, bright is {high:.2g}"
    if side < SMALL:
        return contact(title, note, [before, *(images for pair in pairs for images in pair), heats])
    bands = []
    for start in range(0, len(seeds), COLUMNS):
        columns = slice(start, start + COLUMNS)
        rows = [Row("before", "as generated", before[columns])]
        for spec, (after, changes) in zip(specs, pairs):
            name = "after" if len(pairs) == 1 else spec.corrector.name
            rows.append(Row(name, _own_keys(spec, specs) or "corrected", after[columns]))
            rows.append(Row("difference", "", changes[columns]))
        rows.append(Row("heat map", score.shown, heats[columns]))
        bands.append(Band("", [f"seed {seed}" for seed in seeds[columns]], rows))
    return sheet(title, note, bands)


def _own_keys(spec: BoundSpec, specs: Sequence[BoundSpec]) -> str:
    """What a spec sets otherwise than some spec of the same corrector."""
    name, _, keys = str(spec).partition(":")
    parts = [str(other).partition(":") for other in specs]
    others = [other.split(",") for corrector, _, other in parts if corrector == name]
    return ",".join(key for key in keys.split(",") if not all(key in other for other in others))
