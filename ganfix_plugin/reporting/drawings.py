"""The page's plots, as SVG that takes its colours and letters from the page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.palette import ARTIFACT, FAINT, INK, NORMAL, QUIET, SERIES, as_hex
from ganfix_plugin.profiling.profile import GATE_RATE
from ganfix_plugin.reporting.study import Study

SIZE = (4.2, 3.1)  # inches; on a phone an inch is little more than one
MOST = len(SERIES)  # curves in a plot
_THEME = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    FAINT: "var(--line)",
    NORMAL: "var(--normal)",
    ARTIFACT: "var(--artifact)",
    SERIES[4]: "var(--focus)",
    (255, 255, 255): "none",
}


def histogram(study: Study) -> Markup:
    """The scores of the ranked seeds, with the gates' thresholds."""
    values = study.ranking.scores.numpy()
    marks = {f"gate {gate.text}": gate.threshold for gate in study.gates_shown}
    text = f"Histogram of the {study.score.title} of {len(values):,} seeds, from "
    text += (
        f"{_number(values.min())} to {_number(values.max())}, median {_number(np.median(values))}"
    )
    text += "".join(f"; {name} at {_number(value)}" for name, value in marks.items())
    words = plots.Words("", "", study.score.title)
    return _svg(text, plots.histogram, words, {"seeds": values}, marks)


def _number(value: float) -> str:
    """A count, or a score that may be small, for people."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rates(study: Study) -> Markup:
    """How activation rates are distributed in each of the measured layers, at most `MOST`."""
    shown = [row for row in study.rows if row.low_rate is not None][:MOST]
    values = {
        f"layer {row.layer.index}, {row.layer.resolution[0]}×{row.layer.resolution[1]}": (
            study.profile.rates(row.layer).flatten().numpy()
        )
        for row in shown
    }
    lows = [f"layer {row.layer.index}: {row.low_rate:.0%} up to {GATE_RATE:g}" for row in shown]
    text = f"Share of each layer's neurons by activation rate. {'; '.join(lows)}"
    words = plots.Words("", "", "activation rate R", "neurons of rate ≤ R")
    return _svg(text, plots.cumulative, words, values, {"low rate": GATE_RATE})


def _svg(text: str, draw: Callable[..., None], *what: Any) -> Markup:
    """A plot as an element of a page, with a text for those who do not see it."""
    import matplotlib

    with (
        tempfile.TemporaryDirectory() as folder,
        # Ids that no other plot of the page has, the same whenever it is drawn.
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": text}),
    ):
        path = Path(folder) / "plot.svg"
        draw(path, *what, SIZE)
        svg = path.read_text(encoding="utf-8")
    box = re.search(r'viewBox="[\d. ]+"', svg)
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # the same ones in every plot
    # matplotlib's families, written in one way or the other, give way to the page's.
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for colour, variable in _THEME.items():
        body = body.replace(as_hex(colour), variable)
    assert box
    return Markup('<svg {} role="img" aria-label="{}">{}</svg>').format(
        Markup(box[0]), text, Markup(body)
    )
