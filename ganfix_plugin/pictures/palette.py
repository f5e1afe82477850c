"""The colours of every picture, so that they mean the same in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]

INK: Colour = (34, 34, 38)
QUIET: Colour = (110, 110, 118)
FAINT: Colour = (225, 225, 230)
PAPER: Colour = (255, 255, 255)

ARTIFACT: Colour = (205, 58, 92)  # what is broken, uncorrected or ranked worst
NORMAL: Colour = (38, 110, 152)  # what is clean, corrected or ranked best
OTHER: Colour = (226, 146, 60)
SERIES: tuple[Colour, ...] = (NORMAL, ARTIFACT, OTHER, (92, 138, 74), (120, 88, 160), QUIET)

# From unremarkable to conspicuous; dark to light in lightness too, so that it reads in grey.
HEAT: tuple[Colour, ...] = (
    (0, 0, 4),
    (59, 15, 112),
    (140, 41, 129),
    (222, 73, 104),
    (254, 159, 109),
    (252, 253, 191),
)


def as_hex(colour: Colour) -> str:
    """A colour as matplotlib and web pages take it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def heat(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Values [H, W] as colours: ``low`` dark, ``high`` bright."""
    place = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(HEAT) - 1)
    below = np.minimum(place.astype(int), len(HEAT) - 2)
    share, steps = (place - below)[..., None], np.array(HEAT)
    colours = steps[below] * (1 - share) + steps[below + 1] * share
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
