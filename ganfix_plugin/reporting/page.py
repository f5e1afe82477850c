"""The page itself: one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

import torch

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.pictures import plots
from ganfix_plugin.profiling.profile import GATE_RATE
from ganfix_plugin.reporting.pairs import encoded
from ganfix_plugin.reporting.study import Study

NAME = "report.html"


@dataclass(frozen=True)
class Measured:
    """What `evaluate` found, as tables with a heading and a header, and the record of it.

    The first table is of the figures: name, uncorrected, corrected and difference.
    """

    tables: Sequence[tuple[str, Sequence[tuple[str, ...]]]]
    record: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the page says beside its findings; nothing is measured without real images."""

    network: str  # the generator's name, for people
    commands: Sequence[tuple[str, str]]  # what each is for, and the command
    device: str  # where networks ran
    measured: Measured | None = None
    date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def needed() -> None:
    """Make sure that a page can be made, before the work that leads to it.

    Raises:
        GanfixError: if Jinja2 or matplotlib is not installed.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise GanfixError("the page needs jinja2; run pip install 'ganfix[pictures]'")
    plots.needed()


def page(study: Study, setting: Setting) -> str:
    """The HTML of the report."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from ganfix_plugin.reporting import drawings

    environment = Environment(
        loader=PackageLoader("ganfix_plugin.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # 0.123 as 12.3 %, with a space that does not break.
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
    # Counts in full, other scores as far as they mean something.
    environment.filters["count"] = lambda number: (
        f"{number:,.{10 if number == int(number) else 4}g}"
    )
    groups = (study.worst, study.cleanest, study.drawn)
    (worst, cleanest, drawn), encoding, high = encoded(groups)
    script = _shipped("reporting", "page/report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        study=study,
        setting=setting,
        worst=worst,
        cleanest=cleanest,
        drawn=drawn,
        encoding=encoding,
        high=high,
        percentiles=dict(zip(study.ranking.seeds, study.ranking.percentiles.tolist())),
        drawings=drawings,
        gate_rate=GATE_RATE,
        versions={
            "ganfix": __version__,
            "Python": platform.python_version(),
            "PyTorch": torch.__version__,
            "on": setting.device,
        },
        style=_shipped("web", "static/colours.css") + _shipped("reporting", "page/report.css"),
        script=script,
        script_digest=digest,
        icon=base64.b64encode(_shipped("web", "static/icon.svg").encode()).decode(),
    )


def _shipped(room: str, name: str) -> str:
    """A file of the package, as it is."""
    return (files(f"ganfix_plugin.{room}") / name).read_text(encoding="utf-8")
