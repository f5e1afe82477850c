"""Images before and after a correction, what changed, and where the low-rate neurons are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import bare, random_state_kept
from ganfix_plugin.pictures.sheet import (
    Band,
    Row,
    contact,
    difference,
    heat,
    pictured,
    sheet,
    side_of,
)

COLUMNS = 12
SMALL = 96  # images that must be smaller than this to fit get no captions


def before_after(
    G: nn.Module,
    adapter: Adapter,
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

    def images(module: nn.Module) -> list[Image.Image]:
        batches = seed_batches(Generator(G, adapter), seeds, class_index=class_index)
        found = (each for some in rendered(module, G, adapter, batches) for each in pictured(some))
        return [each if side >= SMALL else each.resize((side, side)) for each in found]

    before = images(bare(G))
    pairs = []
    for spec in specs:
        with attach(G, spec, adapter=adapter.name):
            after = images(G)
        pairs.append((spec, after, [difference(*pair) for pair in zip(before, after)]))
    size = max((image.width for image in before), default=SMALL)
    maps = list(_maps(G, adapter, score, seeds, min(size, 128), class_index))
    high = float(np.quantile(np.array(maps[:64]), 0.995)) if maps else 1.0
    heats = [heat(each, 0, high) for each in maps]
    note = f"{note} · difference: black is none, bright a third of the range · heat maps: "
    note += f"{score.shown}, bright is {high:.2g}"
    if side < SMALL:
        every = [before, *(images for _, *two in pairs for images in two), heats]
        return contact(title, note, every)
    bands = []
    for start in range(0, len(seeds), COLUMNS):
        some = slice(start, start + COLUMNS)
        rows = [Row("before", "as generated", before[some])]
        for spec, after, changes in pairs:
            name = "after" if len(pairs) == 1 else spec.corrector.name
            rows.append(Row(name, _own_keys(spec, specs) or "corrected", after[some]))
            rows.append(Row("difference", "", changes[some]))
        rows.append(Row("heat map", score.shown, heats[some]))
        bands.append(Band("", [f"seed {seed}" for seed in seeds[some]], rows))
    return sheet(title, note, bands)


def _own_keys(spec: BoundSpec, specs: Sequence[BoundSpec]) -> str:
    """What a spec sets otherwise than some spec of the same corrector."""
    name, _, keys = str(spec).partition(":")
    parts = [str(other).partition(":") for other in specs]
    others = [other.split(",") for corrector, _, other in parts if corrector == name]
    return ",".join(key for key in keys.split(",") if not all(key in other for other in others))


def rendered(
    module: nn.Module, G: nn.Module, adapter: Adapter, batches: Iterable[Batch]
) -> Iterator[Tensor]:
    """Images [n, C, H, W] in [-1, 1] of batches, by G or a view of it, from one random state."""
    for z, c in batches:
        with torch.no_grad(), random_state_kept(G, seed=0):
            images = adapter.synthesize(module, z, c)
        yield images


def _maps(
    G: nn.Module,
    adapter: Adapter,
    score: Score,
    seeds: Sequence[int],
    size: int,
    class_index: int | None,
) -> Iterator[np.ndarray]:
    for z, c in seed_batches(Generator(G, adapter), seeds, class_index=class_index):
        found: Tensor = score.heat(z, c, size)
        yield from found.numpy()
