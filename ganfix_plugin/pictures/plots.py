"""Plots, by matplotlib (``pip install 'ganfix[pictures]'``), all in one style.

Every function draws one figure and writes it whole or not at all, in the format of the file's
ending. Without a title it is bare axes, for a page that says the rest.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import written
from ganfix_plugin.pictures.palette import (
    ARTIFACT,
    FAINT,
    INK,
    NORMAL,
    OTHER,
    QUIET,
    SERIES,
    Colour,
    as_hex,
)

KINDS = {"artifact": ARTIFACT, "normal": NORMAL}
SIZE = (8.0, 4.6)  # inches
_INK, _QUIET = as_hex(INK), as_hex(QUIET)


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
    colours: Mapping[str, Colour] | None = None,
    size: tuple[float, float] = SIZE,
) -> None:
    """Histograms of one or several sets of values over one another, each normalised to its size.

    Args:
        axis: what the values are.
        values: by name, [n] each; empty sets are named and not drawn.
        marks: vertical lines by name.
        colours: by name, where they mean something.
        size: in inches, title and note not counted.
    """
    together = np.concatenate([np.zeros(0), *values.values()])
    with _plot(path, title, note, (axis, "share of images"), size) as (_, axes):
        if not len(together):
            _nothing(axes)
            return
        low, high = float(together.min()), float(together.max())
        bins = min(max(int(1.2 * len(together) ** 0.5), 10), 60)
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
        for (name, numbers), colour in zip(values.items(), colour_cycle()):
            if colours and name in colours:
                colour = as_hex(colours[name])
            weights = np.full(len(numbers), 1 / max(len(numbers), 1))
            label = f"{name} (n = {len(numbers):,})"
            axes.hist(
                numbers, edges, weights=weights, color=colour, alpha=0.65, label=label, zorder=2
            )
        _mark(axes, marks or {})
        axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for names and the legend
        axes.yaxis.set_major_formatter(_percent())
        if len(values) > 1:
            axes.legend(frameon=False)


def cumulative(
    path: Path,
    title: str,
    note: str,
    axis_names: tuple[str, str],
    values: Mapping[str, np.ndarray],
    marks: Mapping[str, float] | None = None,
    size: tuple[float, float] = SIZE,
) -> None:
    """For each set of values in [0, 1], the share of them that is at most x.

    Args:
        axis_names: what the values are, and what there is a share of.
        values: by name, [n] each.
        marks: vertical lines by name.
        size: in inches, title and note not counted.
    """
    places = np.linspace(0, 1, 201)
    styles = itertools.cycle(("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5))))
    with _plot(path, title, note, axis_names, size) as (_, axes):
        if not values:
            _nothing(axes)
            return
        for (name, numbers), colour, style in zip(values.items(), colour_cycle(), styles):
            shares = np.searchsorted(np.sort(numbers), places, "right") / max(len(numbers), 1)
            axes.plot(places, shares, color=colour, linestyle=style, label=name, zorder=3)
        _mark(axes, marks or {})
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(_percent())
        axes.legend(frameon=False, fontsize=9, loc="lower right")


def lines(
    path: Path,
    title: str,
    note: str,
    key: str,
    axis: str,
    curves: Mapping[str, Mapping[str, float]],
    level: tuple[str, float] | None = None,
    lowest: bool = True,
) -> None:
    """Curves of a figure over the values of an option, evenly spaced, the best point marked.

    Args:
        key: what varies.
        axis: what is measured.
        curves: by name, figures by value.
        level: a horizontal line to compare with, by name.
        lowest: whether the lowest figure is the best one.
    """
    values = list(dict.fromkeys(value for curve in curves.values() for value in curve))
    with _plot(path, title, note, (key, axis)) as (_, axes):
        if not values:
            _nothing(axes)
            return
        for (name, curve), colour in zip(curves.items(), colour_cycle()):
            x, y = [values.index(value) for value in curve], list(curve.values())
            best = int(np.argmin(y) if lowest else np.argmax(y))
            label = f"{name}; best: {y[best]:.4g} at {values[x[best]]}"
            curve_through(axes, x, y, colour, label)
            axes.plot(x[best], y[best], "o", color=colour, markersize=10, zorder=4)
        if level:
            name, height = level
            label = f"{name}: {height:.4g}"
            axes.axhline(height, color=_INK, linewidth=1, linestyle=(0, (4, 2)), label=label)
        axes.set_xticks(range(len(values)), values)
        axes.margins(y=0.15)
        axes.legend(frameon=True, edgecolor="white", framealpha=1, fontsize=8.5, loc="best")


def matrix(
    path: Path,
    title: str,
    note: str,
    rows: Mapping[str, Mapping[str, float]],
    axis_names: tuple[str, str],
    level: float,
    bar: str,
) -> None:
    """A table of figures, coloured by their ratio to a level: blue is below, red above.

    Args:
        rows: by name, figures by column.
        axis_names: what the columns and the rows are.
        level: the figure that is neutral.
        bar: what the ratio is.
    """
    from matplotlib.colors import LinearSegmentedColormap

    columns = list(next(iter(rows.values()), {}))
    figures = np.array([[row[column] for column in columns] for row in rows.values()])
    size = (max(5.5, 2.6 + 0.95 * len(columns)), 1.2 + 0.5 * max(len(rows), 1))
    with _plot(path, title, note, axis_names, size) as (figure, axes):
        axes.grid(False)
        if not figures.size:
            _nothing(axes)
            return
        colours = LinearSegmentedColormap.from_list("", [as_hex(NORMAL), "white", as_hex(ARTIFACT)])
        ratio = np.log2(np.maximum(figures, 1e-12) / level)
        shown = axes.imshow(ratio, colours, vmin=-1, vmax=1, aspect="auto")
        best = np.unravel_index(figures.argmin(), figures.shape)
        for place, value in np.ndenumerate(figures):
            dark = abs(ratio[place]) > 0.65
            axes.text(
                place[1],
                place[0],
                f"{value:.4g}" if value < 1000 else f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=10,
                color="white" if dark else _INK,
                weight="bold" if place == best else "normal",
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        scale = figure.colorbar(shown, ax=axes, ticks=[-1, 0, 1], pad=0.02)
        scale.ax.set_yticklabels(["half", "equal", "double"], fontsize=8.5)
        scale.set_label(bar, fontsize=8.5, color=_QUIET)
        scale.outline.set_visible(False)


def trade(
    path: Path,
    title: str,
    note: str,
    axis_names: tuple[str, str],
    tried: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    marked: Mapping[str, tuple[float, float]],
) -> None:
    """Settings as points of two costs, both better when lower, and the front of the best trades.

    Args:
        axis_names: what the first and the second number of a point are.
        tried: all settings.
        front: those that none beats in both, in the order of the first number.
        marked: a few of all, by name.
    """
    with _plot(path, title, note, axis_names) as (_, axes):
        axes.scatter(*zip(*tried), s=18, color=_QUIET, alpha=0.6, label="tried", zorder=2)
        line = {"color": as_hex(NORMAL), "label": "no setting beats these", "zorder": 2}
        axes.step(*zip(*front), where="post", **line)
        marks = itertools.cycle(map(as_hex, (ARTIFACT, OTHER, INK)))
        for (name, (x, y)), colour in zip(marked.items(), marks):
            axes.scatter([x], [y], s=70, color=colour, label=name, zorder=3)
        axes.legend(frameon=False)


@contextmanager
def panels(
    path: Path, title: str, note: str, size: tuple[float, float], rows: int, columns: int
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure under a title, and the axes of its panels; written when the body ends.

    Args:
        size: in inches, title and note not counted.
    """
    needed()
    import textwrap

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = size
    lines = textwrap.wrap(note, int(14 * width))
    head = 0.5 + 0.17 * len(lines) + 0.12 if title else 0
    figure = Figure(figsize=(width, height + head), dpi=150)
    FigureCanvasAgg(figure)
    share = 1 - head / (height + head)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, share - 0.01))
    figure.text(0.12 / width, 1 - 0.14 / (height + head), title, size=14, va="top", color=_INK)
    below = 1 - 0.47 / (height + head)
    figure.text(0.12 / width, below, "\n".join(lines), size=8.5, va="top", color=_QUIET)
    panels = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for axes in panels:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(_QUIET)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_color(_INK)
        axes.tick_params(colors=_QUIET, labelsize=9)
        axes.grid(color=as_hex(FAINT), linewidth=0.7, zorder=0)
        axes.set_axisbelow(True)
    yield figure, panels
    with written(path) as temporary:
        figure.savefig(temporary, facecolor="white")


@contextmanager
def _plot(
    path: Path,
    title: str,
    note: str,
    axis_names: tuple[str, str],
    size: tuple[float, float] = SIZE,
) -> Iterator[tuple[Any, Any]]:
    """A figure of one panel, and its axes."""
    with panels(path, title, note, size, 1, 1) as (figure, (axes,)):
        axes.set_xlabel(axis_names[0])
        axes.set_ylabel(axis_names[1])
        yield figure, axes


def curve_through(
    axes: Any, x: Sequence[float], y: Sequence[float], colour: str, name: str
) -> None:
    """Draw points and a line through them."""
    axes.plot(x, y, color=colour, marker="o", markersize=4, label=name, zorder=3)


def colour_cycle() -> Iterator[str]:
    """The colours of things that are shown in one plot."""
    return itertools.cycle(map(as_hex, SERIES))


def _mark(axes: Any, marks: Mapping[str, float]) -> None:
    """Vertical lines by name."""
    for number, (name, value) in enumerate(marks.items()):
        axes.axvline(value, color=_INK, linewidth=1, linestyle=(0, (4, 2)), zorder=3)
        axes.annotate(
            f" {name}",
            (value, 0.97 - 0.07 * number),
            xycoords=("data", "axes fraction"),
            fontsize=9,
            color=_INK,
            va="top",
        )


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=_QUIET)


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1, decimals=None)
