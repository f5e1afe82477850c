"""The plot of how times grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganfix_plugin.pictures.plots import Words, colour_cycle, needed, panels


def draw(
    path: Path, title: str, note: str, growth: Mapping[str, Mapping[str, Mapping[float, float]]]
) -> None:
    """A panel for each thing that times grow with, on logarithmic axes.

    The legend gives the power with which a curve grows, fitted over all of its points.

    Args:
        growth: by what varies, curves by name, seconds by its value, both positive.
    """
    needed()
    from matplotlib.ticker import LogLocator

    columns = min(max(len(growth), 1), 3)
    rows = -(-len(growth) // columns) or 1
    words, size = Words(title, note, "", "time"), (4.2 * columns, 3.4 * rows)
    with panels(path, words, size, rows, columns) as all_axes:
        for axes in all_axes[len(growth) :]:
            axes.set_axis_off()
        for axes, (what, curves) in zip(all_axes, growth.items()):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(what)
            for (name, curve), colour in zip(curves.items(), colour_cycle()):
                x, y = list(curve), list(curve.values())
                power = np.polyfit(np.log(x), np.log(y), 1)[0] if len(x) > 1 else np.nan
                label = f"{name}, power {power:.1f}"
                axes.plot(x, y, "-o", color=colour, markersize=4, label=label, zorder=3)
            values = sorted({value for curve in curves.values() for value in curve})
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(_duration)
            axes.margins(y=0.3)
            axes.legend(frameon=False, fontsize=8, loc="upper left")


def _duration(seconds: float, place: int) -> str:
    """A tick of an axis of times."""
    if seconds >= 1:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:g} µs"
