"""Plots, by matplotlib (``pip install 'ganfix[pictures]'``), all in one style.

Every function draws one figure and writes it whole or not at all.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.outputs import written
from ganfix_plugin.pictures.palette import (
    FAINT,
    INK,
    QUIET,
    SERIES,
    Colour,
)


def needed() -> None:
    """Make sure that plots can be drawn, before the work that leads to them.

    Raises:
        GanfixError: if matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise GanfixError("plots need matplotlib; run pip install 'ganfix[pictures]'")


def histogram(
    path: Path,
    title: str,
    note: str,
    axis: str,
    values: Mapping[str, np.ndarray],
    marks: Mapping[str, float] | None = None,
) -> None:
    """Histograms of one or several sets of values over one another, each normalised to its size.

    Args:
        axis: what the values are.
        values: by name, [n] each; empty sets are named and not drawn.
        marks: vertical lines by name.
    """
    every = np.concatenate([np.zeros(0), *values.values()])
    with _figure(path, title, note) as (figure, axes):
        axes.set_xlabel(axis)
        axes.set_ylabel("share of images")
        if not len(every):
            _nothing(axes)
            return
        low, high = float(every.min()), float(every.max())
        edges = np.linspace(low, high, 61) if high > low else np.array([low - 0.5, low + 0.5])
        for (name, each), colour in zip(values.items(), SERIES):
            weights = np.full(len(each), 1 / max(len(each), 1))
            label = f"{name} (n = {len(each):,})"
            axes.hist(
                each, edges, weights=weights, color=_hex(colour), alpha=0.65, label=label, zorder=2
            )
        for number, (name, value) in enumerate((marks or {}).items()):
            axes.axvline(value, color=_hex(INK), linewidth=1, linestyle=(0, (4, 2)), zorder=3)
            axes.annotate(
                f" {name}",
                (value, 0.97 - 0.07 * number),
                xycoords=("data", "axes fraction"),
                fontsize=9,
                color=_hex(INK),
                va="top",
            )
        axes.yaxis.set_major_formatter(_percent())
        if len(values) > 1:
            axes.legend(frameon=False)


@contextmanager
def _figure(
    path: Path, title: str, note: str, width: float = 8, height: float = 4.6
) -> Iterator[tuple[Any, Any]]:
    """A figure in inches under a title, and its axes; written when the body ends."""
    needed()
    import textwrap

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(note, int(14 * width))
    head = 0.5 + 0.17 * len(lines) + 0.12
    figure = Figure(figsize=(width, height + head), dpi=150)
    FigureCanvasAgg(figure)
    share = 1 - head / (height + head)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, share - 0.01))
    figure.text(0.12 / width, 1 - 0.14 / (height + head), title, size=14, va="top", color=_hex(INK))
    below = 1 - 0.47 / (height + head)
    figure.text(0.12 / width, below, "\n".join(lines), size=8.5, va="top", color=_hex(QUIET))
    axes = figure.add_subplot()
    _plain(axes)
    yield figure, axes
    with written(path) as temporary:
        figure.savefig(temporary, facecolor="white")


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_hex(QUIET))
    for name in ("xaxis", "yaxis"):
        getattr(axes, name).label.set_color(_hex(INK))
    axes.tick_params(colors=_hex(QUIET), labelsize=9)
    axes.grid(color=_hex(FAINT), linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=_hex(QUIET))


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1, decimals=None)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
