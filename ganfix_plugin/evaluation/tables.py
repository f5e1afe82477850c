"""Figures as rows, and rows as text."""

from __future__ import annotations

from collections.abc import Sequence

from ganfix_plugin.features.bootstrap import Figure

TITLES = {
    "frechet": "Fréchet distance ↓",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "coverage": "coverage ↑",
    "realism": "realism ↑",
}


def row(figure: Figure) -> tuple[str, ...]:
    """A line of the table."""
    after, difference = figure.corrected, figure.difference
    change = "" if difference is None else f"{difference:+.4g}"
    if figure.interval:
        low, high = figure.interval
        change += f" [{low:+.4g}, {high:+.4g}]"
    spread = [f" ± {deviation:.2g}" for deviation in figure.deviations] or ["", ""]
    corrected = "" if after is None else f"{after:.4g}{spread[-1]}"
    return TITLES[figure.name], f"{figure.uncorrected:.4g}{spread[0]}", corrected, change


def table(*rows: Sequence[object]) -> str:
    """Rows as aligned columns, the first one being the header."""
    lines = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
