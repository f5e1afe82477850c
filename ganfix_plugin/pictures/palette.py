"""The colours of every picture, so that they mean the same in all of them."""

from __future__ import annotations

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
