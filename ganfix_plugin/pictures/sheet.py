"""Contact sheets: rows of images under a title, each row with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.files import written
from ganfix_plugin.pictures.palette import HEAT, INK, PAPER, QUIET

_GAP, _MARGIN, _LABEL, _CAPTION = 6, 24, 128, 18

_HEAT = np.array(HEAT)
# Pillow's own font has no more signs than these.
_SIGNS = str.maketrans({"≤": "<=", "≥": ">=", "×": "x", "–": "-", "−": "-", "…": "...", "→": "to"})


@dataclass(frozen=True)
class Row:
    """One row of a sheet: a name, a quieter second line, its images, and a caption below each."""

    name: str
    note: str
    images: Sequence[Image.Image]
    captions: Sequence[str] = ()


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
        bands: from top to bottom; with no images at all the sheet says so.
        size: side of one image in pixels; images are enlarged or reduced to it.
    """
    rows = [row for band in bands for row in band.rows]
    columns = max((len(row.images) for row in rows), default=0)
    if not columns:
        note, bands = f"{note} · nothing to show", ()
    left = _MARGIN + (_LABEL if any(row.name or row.note for row in rows) else 0)
    large, plain, small = (ImageFont.load_default(points) for points in (22, 14, 12))
    width = max(left + columns * (size + _GAP) + _MARGIN - _GAP, 420)
    width = max(width, 2 * _MARGIN + int(large.getlength(_shown(title))))
    notes = _wrapped(_shown(note), small, width - 2 * _MARGIN)
    head = _MARGIN + 34 + 16 * len(notes) + 10
    canvas = Image.new("RGB", (width, head + sum(_height(band, size) for band in bands)), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 4), _shown(title), INK, large)
    for number, line in enumerate(notes):
        draw.text((_MARGIN, _MARGIN + 28 + 16 * number), line, QUIET, small)

    def place(column: int) -> int:
        return left + column * (size + _GAP)

    top = head
    for band in bands:
        if band.heading:
            draw.text((_MARGIN, top), _shown(band.heading), INK, plain)
            top += 24
        for column, caption in enumerate(band.captions):
            draw.text((place(column), top), _fitting(caption, small, size), QUIET, small)
        top += 20 if band.captions else 0
        for row in band.rows:
            draw.text((_MARGIN, top + size // 2 - 16), _shown(row.name), INK, plain)
            draw.text((_MARGIN, top + size // 2 + 4), _shown(row.note), QUIET, small)
            for column, image in enumerate(row.images):
                enlarged = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                canvas.paste(enlarged, (place(column), top))
            top += size + _GAP
            for column, caption in enumerate(row.captions):
                draw.text((place(column), top - 4), _fitting(caption, small, size), QUIET, small)
            top += _CAPTION if row.captions else 0
        top += 12
    return canvas


def contact(
    title: str,
    note: str,
    images: Sequence[Sequence[Image.Image]],
    captions: Sequence[str] = (),
) -> Image.Image:
    """Any number of images on one sheet, from left to right and from top to bottom.

    The more they are, the smaller.

    Args:
        images: one or several equally long lists; what has the same place in them is shown one
            below the other.
        captions: one per place; they show as long as there is room.
    """
    count = len(images[0])
    size = side_of(count * len(images))
    lines = max(1, round(math.sqrt(count / (1.6 * len(images)))))
    columns = max(1, math.ceil(count / lines))
    bands = []
    for start in range(0, count, columns):
        part = slice(start, start + columns)
        rows = [Row("", "", images_below[part]) for images_below in images]
        rows[-1] = replace(rows[-1], captions=captions[part] if size >= 64 else ())
        bands.append(Band("", (), rows))
    return sheet(title, note, bands, size)


def side_of(count: int) -> int:
    """The side of an image in pixels where so many are on one sheet."""
    sides = ((12, 160), (120, 96), (400, 64), (2500, 40))
    return next((side for most, side in sides if count <= most), 24)


def pictured(images: Tensor) -> list[Image.Image]:
    """Images [N, 1 or 3, H, W] in [-1, 1] as the hosts' scripts save them."""
    rows = to_pixels(images.detach()).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(pixels) for pixels in rows]


def save(image: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all.

    Raises:
        GanfixError: if it cannot be written.
    """
    with written(path) as temporary:
        image.save(temporary)


def heat(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values [H, W] as colours: ``low`` dark, ``high`` bright."""
    place = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - below)[..., None]
    colours = _HEAT[below] * (1 - share) + _HEAT[below + 1] * share
    return Image.fromarray(colours.round().astype(np.uint8))


def brightest(maps: Sequence[np.ndarray]) -> float:
    """What is bright in heat maps [H, W], the same for all that are shown together."""
    return float(np.quantile(np.array(maps), 0.995)) if len(maps) else 1.0


def overlay(image: Image.Image, colours: Image.Image) -> Image.Image:
    """Heat colours laid over an image."""
    over = colours.resize(image.size, Image.Resampling.BICUBIC)
    return Image.blend(image.convert("RGB"), over, 0.55)


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """How much each pixel changed, as heat: dark is nothing, bright a third of the range."""
    pair = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in (before, after)]
    return heat(np.abs(pair[0] - pair[1]).mean(axis=2), 0, 85)


def _height(band: Band, size: int) -> int:
    rows = sum(size + _GAP + (_CAPTION if row.captions else 0) for row in band.rows)
    return rows + 12 + (24 if band.heading else 0) + (20 if band.captions else 0)


def _shown(text: str) -> str:
    return text.translate(_SIGNS)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a caption as fits over an image."""
    text = _shown(text)
    while text and font.getlength(text) > width + _GAP - 2:
        text = text[:-1]
    return text


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
