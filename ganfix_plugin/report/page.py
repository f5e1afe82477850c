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
from typing import TYPE_CHECKING, Any

import torch

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.pictures import plots
from ganfix_plugin.profiling.profile import GATE_RATE
from ganfix_plugin.report.pairs import encoded
from ganfix_plugin.report.study import Study

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "report.html"


@dataclass(frozen=True)
class Measured:
    """Distances to real images, ready to be shown.

    Attributes:
        rows: name, uncorrected, corrected and difference of each figure.
        record: of `evaluation.Evaluation`.
    """

    rows: Sequence[tuple[str, ...]]
    record: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the page says beside its findings.

    Attributes:
        network: the generator's name, for people.
        commands: what each is for, and the command.
        device: where networks ran.
        measured: None where there were no real images.
    """

    network: str
    commands: Sequence[tuple[str, str]]
    device: str
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
    from ganfix_plugin.report import drawings

    (worst, cleanest), encoding, high = encoded((study.worst, study.cleanest))
    script = _shipped("report", "page/report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html")
        .render(
            study=study,
            setting=setting,
            worst=worst,
            cleanest=cleanest,
            encoding=encoding,
            shown_side=min(study.side, encoding.side),
            high=high,
            percentiles=dict(zip(study.ranking.seeds, study.ranking.percentiles.tolist())),
            histogram=drawings.histogram(study),
            rates=drawings.rates(study),
            most_curves=drawings.MOST,
            gate_rate=GATE_RATE,
            versions={
                "ganfix": __version__,
                "Python": platform.python_version(),
                "PyTorch": torch.__version__,
                "on": setting.device,
            },
            style=_shipped("web", "static/colours.css") + _shipped("report", "page/report.css"),
            script=script,
            script_digest=digest,
            icon=base64.b64encode(_shipped("web", "static/icon.svg").encode()).decode(),
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ganfix_plugin.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["count"] = lambda number: f"{number:,.10g}"
    return environment


def _percent(share: float) -> str:
    """0.123 as 12.3 %, with a space that does not break."""
    return f"{share:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def _shipped(room: str, name: str) -> str:
    """A file of the package, as it is."""
    return (files(f"ganfix_plugin.{room}") / name).read_text(encoding="utf-8")
