"""Seeds before and after a correction, and the pictures of them inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.pictures.palette import brightest, difference, heat
from ganfix_plugin.pictures.sheet import pictured
from ganfix_plugin.workers import progress

LARGEST = 512  # no image is shown larger
BUDGET = 8_000_000  # bytes of all pictures of a page
_BATCH = 8  # both sides of a batch of 1024×1024 fit into 200 MB
_MAP = 128  # side of the largest heat map


@dataclass(frozen=True)
class Pair:
    """One seed, uncorrected and corrected, as hosts save them, reduced to `LARGEST`."""

    seed: int
    identical: bool  # whether the generator returned the same bits
    change: float  # mean absolute difference of the pixels, of 255
    before: Image.Image
    after: Image.Image
    changes: Image.Image  # the difference as heat
    maps: np.ndarray  # the heat map of the uncorrected image, float [h, w]


@dataclass(frozen=True)
class Encoding:
    """How pictures are kept in a page: no larger than ``side``, losslessly without a quality."""

    side: int
    quality: int | None

    def uri(self, image: Image.Image) -> str:
        """The picture as a data URI."""
        content, kind = io.BytesIO(), "png" if self.quality is None else "webp"
        reduced(image, self.side).save(content, kind, quality=self.quality, optimize=True)
        return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


# From the best to the smallest; what is small enough is kept as it is.
ENCODINGS = (
    Encoding(128, None),
    Encoding(LARGEST, 90),
    Encoding(LARGEST, 75),
    Encoding(320, 75),
    Encoding(192, 70),
    Encoding(128, 60),
    Encoding(96, 40),
)


@dataclass(frozen=True)
class Shown:
    """A pair as the page's template reads it: data URIs; without ``after`` it is identical."""

    seed: int
    change: float
    before: str
    after: str
    changes: str
    heat: str


def reduced(image: Image.Image, side: int) -> Image.Image:
    """An image that is at most so wide."""
    if image.width <= side:
        return image
    height = round(image.height * side / image.width)
    return image.resize((side, height), Image.Resampling.LANCZOS)


def pairs(
    generator: Generator, score: Score, seeds: Sequence[int], class_index: int | None
) -> tuple[list[Pair], int]:
    """Seeds of a generator with corrections attached, and the side of its images in pixels."""
    batches = seed_batches(generator, seeds, _BATCH, class_index)
    shown: list[Pair] = []
    width = 0
    for z, c in progress(batches, -(-len(seeds) // _BATCH), "rendering"):
        before, after = (render(generator, z, c, corrected) for corrected in (False, True))
        width = before.shape[-1]
        maps = score.heat(z, c, min(width, _MAP))
        shown += map(_pair, seeds[len(shown) : len(shown) + len(z)], before, after, maps)
    return shown, width


def _pair(seed: int, before: Tensor, after: Tensor, maps: Tensor) -> Pair:
    images = pictured(torch.stack([before, after]))
    pixels = [np.asarray(image, dtype=np.float32) for image in images]
    change = float(np.abs(pixels[0] - pixels[1]).mean())
    first, second = (reduced(image, LARGEST) for image in images)
    same = torch.equal(before, after)
    return Pair(seed, same, change, first, second, difference(*images), maps.numpy())


def encoded(
    groups: Sequence[Sequence[Pair]], budget: int = BUDGET
) -> tuple[list[list[Shown]], Encoding, float]:
    """Groups of pairs as a page shows them, in the best encoding that keeps to the budget; that
    encoding; and what is bright in the heat maps."""
    together = list(chain(*groups))
    side = max(pair.before.width for pair in together)
    high = brightest([pair.maps for pair in together[:64]])
    for encoding in ENCODINGS:
        if encoding.quality is None and side > encoding.side:
            continue
        shown = [[_shown(pair, encoding, high) for pair in group] for group in groups]
        uris = [pair.before + pair.after + pair.changes + pair.heat for pair in chain(*shown)]
        if sum(map(len, uris)) <= budget:
            break
    return shown, encoding, high


def _shown(pair: Pair, encoding: Encoding, high: float) -> Shown:
    # What is looked at for its place only is smaller.
    small = replace(encoding, side=min(encoding.side, 256))
    return Shown(
        pair.seed,
        pair.change,
        encoding.uri(pair.before),
        "" if pair.identical else encoding.uri(pair.after),
        small.uri(pair.changes),
        small.uri(heat(pair.maps, 0, high)),
    )
