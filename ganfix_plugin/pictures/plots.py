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
)

KINDS = {"artifact": ARTIFACT, "normal": NORMAL}
SIZE = (8.0, 4.6)  # inches


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
    every = np.concatenate([np.zeros(0), *values.values()])
    with _figure(path, title, note, *size) as (figure, axes):
        axes.set_xlabel(axis)
        axes.set_ylabel("share of images")
        if not len(every):
            _nothing(axes)
            return
        low, high = float(every.min()), float(every.max())
        bins = min(max(int(1.2 * len(every) ** 0.5), 10), 60)
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
        for (name, each), colour in zip(values.items(), _colours()):
            colour = (colours or {}).get(name, colour)
            weights = np.full(len(each), 1 / max(len(each), 1))
            label = f"{name} (n = {len(each):,})"
            axes.hist(
                each, edges, weights=weights, color=_hex(colour), alpha=0.65, label=label, zorder=2
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
    axes_of: tuple[str, str],
    values: Mapping[str, np.ndarray],
    marks: Mapping[str, float] | None = None,
    size: tuple[float, float] = SIZE,
) -> None:
    """For each set of values in [0, 1], the share of them that is at most x.

    Args:
        axes_of: what the values are, and what there is a share of.
        values: by name, [n] each.
        marks: vertical lines by name.
        size: in inches, title and note not counted.
    """
    places = np.linspace(0, 1, 201)
    styles = itertools.cycle(("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5))))
    with _figure(path, title, note, *size) as (_, axes):
        axes.set_xlabel(axes_of[0])
        axes.set_ylabel(axes_of[1])
        if not values:
            _nothing(axes)
            return
        for (name, each), colour, style in zip(values.items(), _colours(), styles):
            shares = np.searchsorted(np.sort(each), places, side="right") / max(len(each), 1)
            axes.plot(places, shares, color=_hex(colour), linestyle=style, label=name, zorder=3)
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
    with _figure(path, title, note) as (_, axes):
        axes.set_xlabel(key)
        axes.set_ylabel(axis)
        if not values:
            _nothing(axes)
            return
        for (name, curve), colour in zip(curves.items(), _colours()):
            x, y = [values.index(value) for value in curve], list(curve.values())
            best = int(np.argmin(y) if lowest else np.argmax(y))
            label = f"{name}; best: {y[best]:.4g} at {values[x[best]]}"
            axes.plot(x, y, color=_hex(colour), marker="o", markersize=4, label=label, zorder=3)
            axes.plot(x[best], y[best], "o", color=_hex(colour), markersize=10, zorder=4)
        if level:
            name, height = level
            label = f"{name}: {height:.4g}"
            axes.axhline(height, color=_hex(INK), linewidth=1, linestyle=(0, (4, 2)), label=label)
        axes.set_xticks(range(len(values)), values)
        axes.margins(y=0.15)
        axes.legend(frameon=True, edgecolor="white", framealpha=1, fontsize=8.5, loc="best")


def matrix(
    path: Path,
    title: str,
    note: str,
    rows: Mapping[str, Mapping[str, float]],
    axis: tuple[str, str],
    level: float,
    bar: str,
) -> None:
    """A table of figures, coloured by their ratio to a level: blue is below, red above.

    Args:
        rows: by name, figures by column.
        axis: what the columns and the rows are.
        level: the figure that is neutral.
        bar: what the ratio is.
    """
    from matplotlib.colors import LinearSegmentedColormap

    columns = list(next(iter(rows.values()), {}))
    figures = np.array([[row[column] for column in columns] for row in rows.values()])
    size = (max(5.5, 2.6 + 0.95 * len(columns)), 1.2 + 0.5 * max(len(rows), 1))
    with _figure(path, title, note, *size) as (figure, axes):
        axes.set_xlabel(axis[0])
        axes.set_ylabel(axis[1])
        axes.grid(False)
        if not figures.size:
            _nothing(axes)
            return
        colours = LinearSegmentedColormap.from_list("", [_hex(NORMAL), "white", _hex(ARTIFACT)])
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
                color="white" if dark else _hex(INK),
                weight="bold" if place == best else "normal",
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        scale = figure.colorbar(shown, ax=axes, ticks=[-1, 0, 1], pad=0.02)
        scale.ax.set_yticklabels(["half", "equal", "double"], fontsize=8.5)
        scale.set_label(bar, fontsize=8.5, color=_hex(QUIET))
        scale.outline.set_visible(False)


def trade(
    path: Path,
    title: str,
    note: str,
    axes_of: tuple[str, str],
    tried: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    marked: Mapping[str, tuple[float, float]],
) -> None:
    """Settings as points of two costs, both better when lower, and the front of the best trades.

    Args:
        axes_of: what the first and the second number of a point are.
        tried: all settings.
        front: those that none beats in both, in the order of the first number.
        marked: some of them, by name.
    """
    with _figure(path, title, note) as (figure, axes):
        axes.set_xlabel(axes_of[0])
        axes.set_ylabel(axes_of[1])
        axes.scatter(*zip(*tried), s=18, color=_hex(QUIET), alpha=0.6, label="tried", zorder=2)
        axes.step(
            *zip(*front), where="post", color=_hex(NORMAL), label="no setting beats these", zorder=2
        )
        for (name, (x, y)), colour in zip(marked.items(), itertools.cycle((ARTIFACT, OTHER, INK))):
            axes.scatter([x], [y], s=70, color=_hex(colour), label=name, zorder=3)
        axes.legend(frameon=False)


def growth(
    path: Path,
    title: str,
    note: str,
    panels: Mapping[str, Mapping[str, Mapping[float, float]]],
) -> None:
    """How times grow, a panel for each thing that they grow with, on logarithmic axes.

    The legend gives the power with which a curve grows, fitted over all of its points.

    Args:
        panels: by what varies, curves by name, seconds by its value, both positive.
    """
    needed()
    from matplotlib.ticker import LogLocator

    columns = min(max(len(panels), 1), 3)
    rows = -(-len(panels) // columns) or 1
    with _figure(path, title, note, 4.2 * columns, 3.4 * rows, (rows, columns)) as (_, every):
        for axes in every[len(panels) :]:
            axes.set_axis_off()
        for axes, (what, curves) in zip(every, panels.items()):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(what)
            axes.set_ylabel("time")
            for (name, curve), colour in zip(curves.items(), _colours()):
                x, y = list(curve), list(curve.values())
                power = np.polyfit(np.log(x), np.log(y), 1)[0] if len(x) > 1 else np.nan
                label = f"{name}, power {power:.1f}"
                axes.plot(x, y, color=_hex(colour), marker="o", markersize=4, label=label, zorder=3)
            values = sorted({value for curve in curves.values() for value in curve})
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(_duration)
            axes.margins(y=0.3)
            axes.legend(frameon=False, fontsize=8, loc="upper left")


@contextmanager
def _figure(
    path: Path,
    title: str,
    note: str,
    width: float = SIZE[0],
    height: float = SIZE[1],
    panels: tuple[int, int] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """A figure in inches under a title, and its axes, or the axes of rows × columns of panels;
    written when the body ends."""
    needed()
    import textwrap

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(note, int(14 * width))
    head = 0.5 + 0.17 * len(lines) + 0.12 if title else 0
    figure = Figure(figsize=(width, height + head), dpi=150)
    FigureCanvasAgg(figure)
    share = 1 - head / (height + head)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, share - 0.01))
    figure.text(0.12 / width, 1 - 0.14 / (height + head), title, size=14, va="top", color=_hex(INK))
    below = 1 - 0.47 / (height + head)
    figure.text(0.12 / width, below, "\n".join(lines), size=8.5, va="top", color=_hex(QUIET))
    rows, columns = panels or (1, 1)
    every = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for axes in every:
        _plain(axes)
    yield figure, every if panels else every[0]
    with written(path) as temporary:
        figure.savefig(temporary, facecolor="white")


def _colours() -> Iterator[Colour]:
    return itertools.cycle(SERIES)


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


def _mark(axes: Any, marks: Mapping[str, float]) -> None:
    """Vertical lines by name."""
    for number, (name, value) in enumerate(marks.items()):
        axes.axvline(value, color=_hex(INK), linewidth=1, linestyle=(0, (4, 2)), zorder=3)
        axes.annotate(
            f" {name}",
            (value, 0.97 - 0.07 * number),
            xycoords=("data", "axes fraction"),
            fontsize=9,
            color=_hex(INK),
            va="top",
        )


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", color=_hex(QUIET))


def _duration(seconds: float, place: int) -> str:
    """A tick of an axis of times."""
    if seconds >= 1:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:g} µs"


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1, decimals=None)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
