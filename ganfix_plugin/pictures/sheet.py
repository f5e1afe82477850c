"""Contact sheets: rows of images under a title, each row with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.files import written
from ganfix_plugin.pictures.palette import INK, PAPER, QUIET

Images = Sequence[Image.Image]
_GAP, _MARGIN, _LABEL, _CAPTION = 6, 24, 128, 18
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Pillow's own font has no more signs than these.
_SIGNS = str.maketrans({"≤": "<=", "≥": ">=", "×": "x", "–": "-", "−": "-", "…": "...", "→": "to"})


@dataclass(frozen=True)
class Row:
    """One row of a sheet: a name, a quieter second line, its images, and a caption below each."""

    name: str
    note: str
    images: Images
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
        bands: from top to bottom; the sheet says so if there are no images at all.
        size: side of one image in pixels; images are enlarged or reduced to it.
    """
    rows = [row for band in bands for row in band.rows]
    columns = max((len(row.images) for row in rows), default=0)
    if not columns:
        note, bands = f"{note} · nothing to show", ()
    left = _MARGIN + (_LABEL if any(row.name or row.note for row in rows) else 0)
    large, plain, small = (ImageFont.load_default(points) for points in (22, 14, 12))
    title, lefts = title.translate(_SIGNS), [left + at * (size + _GAP) for at in range(columns + 1)]
    least = max(420, 2 * _MARGIN + int(large.getlength(title))) if title or note else 0
    width = max(lefts[-1] + _MARGIN - _GAP, least)
    notes = _wrapped(note.translate(_SIGNS), small, width - 2 * _MARGIN)
    head = _MARGIN + (44 + 16 * len(notes) if title or note else 0)
    canvas = Image.new("RGB", (width, head + sum(_height(band, size) for band in bands)), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 4), title, INK, large)
    for number, line in enumerate(notes):
        draw.text((_MARGIN, _MARGIN + 28 + 16 * number), line, QUIET, small)

    def caption(captions: Sequence[str], top: int) -> None:
        for left, text in zip(lefts, captions):
            draw.text((left, top), _fitting(text, small, size), QUIET, small)

    top = head
    for band in bands:
        if band.heading:
            draw.text((_MARGIN, top), band.heading.translate(_SIGNS), INK, plain)
            top += 24
        caption(band.captions, top)
        top += 20 if band.captions else 0
        for row in band.rows:
            draw.text((_MARGIN, top + size // 2 - 16), row.name.translate(_SIGNS), INK, plain)
            draw.text((_MARGIN, top + size // 2 + 4), row.note.translate(_SIGNS), QUIET, small)
            for place, image in zip(lefts, row.images):
                enlarged = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                canvas.paste(enlarged, (place, top))
            top += size + _GAP
            caption(row.captions, top - 4)
            top += _CAPTION if row.captions else 0
        top += 12
    return canvas


def contact(
    title: str, note: str, images: Sequence[Images], captions: Sequence[str] = ()
) -> Image.Image:
    """Any number of images on one sheet, line by line; the more they are, the smaller.

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
    return [*map(Image.fromarray, to_pixels(images.detach()).permute(0, 2, 3, 1).cpu().numpy())]


def save(image: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all."""
    with written(path) as temporary:
        image.save(temporary)


def _height(band: Band, size: int) -> int:
    rows = sum(size + _GAP + (_CAPTION if row.captions else 0) for row in band.rows)
    return rows + 12 + (24 if band.heading else 0) + (20 if band.captions else 0)


def _fitting(text: str, font: _Font, width: int) -> str:
    """As much of a caption as fits over an image."""
    text = text.translate(_SIGNS)
    while text and font.getlength(text) > width + _GAP - 2:
        text = text[:-1]
    return text


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
