"""Contact sheets: rows of images under a title, each row with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, QUIET, PAPER = (34, 34, 38), (110, 110, 118), (255, 255, 255)
_GAP, _MARGIN, _LABEL = 6, 24, 128

# From unremarkable to conspicuous; dark to light in lightness too, so that it reads in grey.
_HEAT = np.array(
    [(0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)]
)


@dataclass(frozen=True)
class Row:
    """One row of a sheet: a name, a quieter second line, and its images."""

    name: str
    note: str
    images: Sequence[Image.Image]


@dataclass(frozen=True)
class Band:
    """Rows whose columns belong together, under a heading and one caption per column."""

    heading: str
    captions: Sequence[str]
    rows: Sequence[Row]


def sheet(title: str, note: str, bands: Sequence[Band], size: int = 96) -> Image.Image:
    """Lay bands of rows out on one picture.

    Args:
        title: what is seen.
        note: the settings it was made with.
        bands: from top to bottom.
        size: side of one image in pixels; images are enlarged or reduced to it.
    """
    columns = max(len(row.images) for band in bands for row in band.rows)
    large, plain, small = (ImageFont.load_default(points) for points in (22, 14, 12))
    width = 2 * _MARGIN + _LABEL + columns * (size + _GAP)
    width = max(width, 2 * _MARGIN + int(max(large.getlength(title), small.getlength(note))))
    height = 2 * _MARGIN + 60 + sum(56 + len(band.rows) * (size + _GAP) for band in bands)
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, INK, large)
    draw.text((_MARGIN, _MARGIN + 30), note, QUIET, small)
    top = _MARGIN + 60
    for band in bands:
        draw.text((_MARGIN, top), band.heading, INK, plain)
        for column, caption in enumerate(band.captions):
            draw.text((_left(column, size), top + 24), caption, QUIET, small)
        top += 44
        for row in band.rows:
            draw.text((_MARGIN, top + size // 2 - 16), row.name, INK, plain)
            draw.text((_MARGIN, top + size // 2 + 4), row.note, QUIET, small)
            for column, image in enumerate(row.images):
                enlarged = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                canvas.paste(enlarged, (_left(column, size), top))
            top += size + _GAP
        top += 12
    return canvas


def heat(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values [H, W] as colours: ``low`` dark, ``high`` bright."""
    place = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - below)[..., None]
    colours = _HEAT[below] * (1 - share) + _HEAT[below + 1] * share
    return Image.fromarray(colours.round().astype(np.uint8))


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """How much each pixel changed, as heat: dark is nothing, bright a third of the range."""
    pair = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in (before, after)]
    return heat(np.abs(pair[0] - pair[1]).mean(axis=2), 0, 85)


def _left(column: int, size: int) -> int:
    return _MARGIN + _LABEL + column * (size + _GAP)
