"""Plots, by matplotlib (``pip install 'ganfix[pictures]'``), all in one style.

Every function draws one figure and writes it whole or not at all, in the format of the file's
ending.
"""

from __future__ import annotations

import importlib.util
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import written
from ganfix_plugin.pictures.palette import ARTIFACT, FAINT, INK, NORMAL, QUIET, SERIES, as_hex

KINDS = {"artifact": as_hex(ARTIFACT), "normal": as_hex(NORMAL)}
SIZE = (8.0, 4.6)  # inches, title and note not counted
_INK, _QUIET = as_hex(INK), as_hex(QUIET)
_LINE = {"color": _INK, "linewidth": 1, "linestyle": (0, (4, 2))}

Point = tuple[float, float]
Points = Sequence[Point]
Sets = Mapping[str, np.ndarray]  # by name, [n]
Table = Mapping[str, Mapping[str, float]]


class Words(NamedTuple):
    """What stands around a plot: title, the settings it was made with, and what its axes are.

    Without a title the plot is bare axes, for a page that says the rest.
    """

    title: str
    note: str
    x: str
    y: str = "share of images"


def needed() -> None:
    """Make sure that plots can be drawn, before the work that leads to them.

    Raises:
        GanfixError: if matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise GanfixError("plots need matplotlib; run pip install 'ganfix[pictures]'")


def histogram(
    path: Path, words: Words, values: Sets, marks: Mapping[str, float], size: Point = SIZE
) -> None:
    """Histograms of one or several sets of values over one another, each normalised to its size.

    Args:
        values: by name, [n] each; empty sets are named and not drawn. `KINDS` have their colours.
        marks: vertical lines by name.
    """
    together = np.concatenate([np.zeros(0), *values.values()])
    with panels(path, words, size) as (axes,):
        if not len(together):
            return _nothing(axes)
        low, high = float(together.min()), float(together.max())
        bins = min(max(int(1.2 * len(together) ** 0.5), 10), 60)
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
        for (name, numbers), colour in zip(values.items(), colour_cycle()):
            weights = np.full(len(numbers), 1 / max(len(numbers), 1))
            style = {"color": KINDS.get(name, colour), "alpha": 0.65, "zorder": 2}
            label = f"{name} (n = {len(numbers):,})"
            axes.hist(numbers, edges, weights=weights, label=label, **style)
        _shares(axes, marks)
        axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for names and the legend
        if len(values) > 1:
            axes.legend(frameon=False)


def cumulative(
    path: Path, words: Words, values: Sets, marks: Mapping[str, float], size: Point = SIZE
) -> None:
    """For each set of values in [0, 1], the share of them that is at most x.

    Args:
        values: by name, [n] each.
        marks: vertical lines by name.
    """
    places = np.linspace(0, 1, 201)
    styles = itertools.cycle(("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5))))
    with panels(path, words, size) as (axes,):
        if not values:
            return _nothing(axes)
        for (name, numbers), colour, style in zip(values.items(), colour_cycle(), styles):
            shares = np.searchsorted(np.sort(numbers), places, "right") / max(len(numbers), 1)
            axes.plot(places, shares, color=colour, linestyle=style, label=name, zorder=3)
        _shares(axes, marks)
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, fontsize=9, loc="lower right")


def lines(
    path: Path, words: Words, curves: Table, level: tuple[str, float], lowest: bool = True
) -> None:
    """Curves of a figure over the values of an option, evenly spaced, the best point marked.

    Args:
        curves: by name, figures by value.
        level: a horizontal line to compare with, by name.
        lowest: whether the lowest figure is the best one.
    """
    values = list(dict.fromkeys(value for curve in curves.values() for value in curve))
    with panels(path, words) as (axes,):
        if not values:
            return _nothing(axes)
        for (name, curve), colour in zip(curves.items(), colour_cycle()):
            x, y = [values.index(value) for value in curve], list(curve.values())
            best = int(np.argmin(y) if lowest else np.argmax(y))
            label = f"{name}; best: {y[best]:.4g} at {values[x[best]]}"
            axes.plot(x, y, "-o", color=colour, markersize=4, label=label, zorder=3)
            axes.plot(x[best], y[best], "o", color=colour, markersize=10, zorder=4)
        name, height = level
        axes.axhline(height, label=f"{name}: {height:.4g}", **_LINE)
        axes.set_xticks(range(len(values)), values)
        axes.margins(y=0.15)
        axes.legend(frameon=True, edgecolor="white", framealpha=1, fontsize=8.5, loc="best")


def matrix(path: Path, words: Words, rows: Table, level: float, lowest: bool = True) -> None:
    """A table of figures, coloured by their ratio to the uncorrected one: blue better, red worse.

    Args:
        rows: by name, figures by column.
        level: the figure that is neutral, of the uncorrected generations.
        lowest: whether the lowest figure is the best one.
    """
    columns = list(next(iter(rows.values()), {}))
    figures = np.array([[row[column] for column in columns] for row in rows.values()])
    size = (max(5.5, 2.6 + 0.95 * len(columns)), 1.2 + 0.5 * max(len(rows), 1))
    with panels(path, words, size) as (axes,):
        from matplotlib.colors import LinearSegmentedColormap

        axes.grid(False)
        if not figures.size:
            return _nothing(axes)
        scale_ends = [as_hex(NORMAL), "white", as_hex(ARTIFACT)][:: 1 if lowest else -1]
        colours = LinearSegmentedColormap.from_list("", scale_ends)
        ratio = np.log2(np.maximum(figures, 1e-12) / level)
        shown = axes.imshow(ratio, colours, vmin=-1, vmax=1, aspect="auto")
        best = np.unravel_index((figures if lowest else -figures).argmin(), figures.shape)
        for place, value in np.ndenumerate(figures):
            text = f"{value:.4g}" if value < 1000 else f"{value:.0f}"
            colour = "white" if abs(ratio[place]) > 0.65 else _INK
            style = {"color": colour, "weight": "bold" if place == best else "normal"}
            axes.text(*place[::-1], text, ha="center", va="center", fontsize=10, **style)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        scale = axes.figure.colorbar(shown, ax=axes, ticks=[-1, 0, 1], pad=0.02)
        scale.ax.set_yticklabels(["half", "equal", "double"], fontsize=8.5)
        scale.set_label("against uncorrected", fontsize=8.5, color=_QUIET)
        scale.outline.set_visible(False)


def trade(
    path: Path, words: Words, tried: Points, front: Points, marked: Mapping[str, Point]
) -> None:
    """Settings as points of two costs, both better when lower, and the front of the best trades.

    Args:
        tried: all settings.
        front: those that none beats in both, in the order of the first number.
        marked: a few of all, by name.
    """
    with panels(path, words) as (axes,):
        axes.scatter(*zip(*tried), s=18, color=_QUIET, alpha=0.6, label="tried", zorder=2)
        style = {"color": as_hex(NORMAL), "label": "no setting beats these", "zorder": 2}
        axes.step(*zip(*front), where="post", **style)
        marks = itertools.cycle(map(as_hex, (*SERIES[1:3], INK)))
        for (name, point), colour in zip(marked.items(), marks):
            axes.scatter(*point, s=70, color=colour, label=name, zorder=3)
        axes.legend(frameon=False)


@contextmanager
def panels(
    path: Path, words: Words, size: Point = SIZE, rows: int = 1, columns: int = 1
) -> Iterator[list[Any]]:
    """The axes of a figure's panels under a title; written when the body ends."""
    needed()
    from matplotlib.figure import Figure

    width, height = size
    wrapped = textwrap.wrap(words.note, int(14 * width))
    head = 0.5 + 0.17 * len(wrapped) + 0.12 if words.title else 0
    tall = height + head
    figure = Figure(figsize=(width, tall), dpi=150)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, 1 - head / tall - 0.01))
    left = 0.12 / width
    figure.text(left, 1 - 0.14 / tall, words.title, size=14, va="top", color=_INK)
    figure.text(left, 1 - 0.47 / tall, "\n".join(wrapped), size=8.5, va="top", color=_QUIET)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_QUIET)
        axes.set_xlabel(words.x, color=_INK)
        axes.set_ylabel(words.y, color=_INK)
        axes.tick_params(colors=_QUIET, labelsize=9)
        axes.grid(color=as_hex(FAINT), linewidth=0.7, zorder=0)
        axes.set_axisbelow(True)
    yield panels
    with written(path) as temporary:
        figure.savefig(temporary, facecolor="white")


def colour_cycle() -> Iterator[str]:
    """The colours of things that are shown in one plot."""
    return itertools.cycle(map(as_hex, SERIES))


def _shares(axes: Any, marks: Mapping[str, float]) -> None:
    """An axis of shares, and vertical lines by name."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    for number, (name, value) in enumerate(marks.items()):
        axes.axvline(value, zorder=3, **_LINE)
        place = {"xy": (value, 0.97 - 0.07 * number), "xycoords": ("data", "axes fraction")}
        axes.annotate(f" {name}", **place, fontsize=9, color=_INK, va="top")


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=_QUIET)
