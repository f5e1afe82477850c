"""Stacked bars: shares that add up to 1, each part named and its figure written on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ganfix_plugin.pictures.palette import ARTIFACT, INK, NORMAL, PAPER, QUIET

_COLOURS = (NORMAL, QUIET, ARTIFACT)
_MARGIN, _WIDTH, _HEIGHT, _STEP = 24, 640, 32, 96


def stacked(title: str, note: str, bars: Sequence[tuple[str, Mapping[str, float]]]) -> Image.Image:
    """Draw named bars of three shares by name, good, indifferent and bad, under each other."""
    large, plain, small = (ImageFont.load_default(points) for points in (22, 14, 12))
    names = [plain.getlength(name) for name, _ in bars]
    widest = max(large.getlength(title), small.getlength(note), _WIDTH, *names)
    size = (int(widest) + 2 * _MARGIN, 2 * _MARGIN + 64 + _STEP * len(bars))
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, INK, large)
    draw.text((_MARGIN, _MARGIN + 30), note, QUIET, small)
    for number, (name, parts) in enumerate(bars):
        top = _MARGIN + 64 + _STEP * number
        draw.text((_MARGIN, top), name, INK, plain)
        left, key = float(_MARGIN), float(_MARGIN)
        for colour, (part, share) in zip(_COLOURS, parts.items()):
            right = left + share * _WIDTH
            draw.rectangle((left, top + 20, right, top + 20 + _HEIGHT), colour)
            text = f"{share:.1%}"
            if plain.getlength(text) + 8 < right - left:
                draw.text((left + 6, top + 28), text, PAPER, plain)
            text = f"{part} {share:.1%}"
            draw.rectangle((key, top + 60, key + 10, top + 70), colour)
            draw.text((key + 15, top + 57), text, QUIET, small)
            left, key = right, key + small.getlength(text) + 36
    return canvas


def as_text(parts: Mapping[str, float], width: int = 60) -> str:
    """One bar in characters, with its key."""
    ends = [round(sum(list(parts.values())[: place + 1]) * width) for place in range(len(parts))]
    bar = "".join(fill * (end - begin) for fill, begin, end in zip("█▒░", [0, *ends], ends))
    keys = (f"{fill} {name} {parts[name]:.1%}" for fill, name in zip("█▒░", parts))
    return f"{bar}\n{'  '.join(keys)}"
