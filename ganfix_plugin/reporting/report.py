"""`ganfix report`, also for notebooks: a study of a correction and its page."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ganfix_plugin.correctors.bind import BoundSpec, parse_specs
from ganfix_plugin.evaluation.evaluate import evaluate
from ganfix_plugin.files import ready, write_text
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class
from ganfix_plugin.reporting.page import Measured, Setting, needed, page
from ganfix_plugin.reporting.study import Study, study

SEEDS, TOP = 2000, 12
Commands = Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Report:
    """What came of a correction, and the page that shows it; a notebook shows the page."""

    study: Study
    html: str

    def save(self, path: Path | str) -> Path:
        """Write the page, whole or not at all."""
        write_text(file := ready(Path(path)), self.html)
        return file

    def _repr_html_(self) -> str:
        frame = f'<iframe srcdoc="{html.escape(self.html)}" title="ganfix report"'
        return f'{frame} style="width: 100%; height: 80vh; border: 0"></iframe>'


def report(
    G: nn.Module | Generator,
    *specs: str | BoundSpec,
    seeds: range = range(SEEDS),
    top: int = TOP,
    samples: int | None = None,
    class_index: int | None = None,
    real: Path | str | None = None,
    name: str = "",
    commands: Callable[[Study], Commands] = lambda study: (),
    adapter: str | None = None,
    **measuring: Any,
) -> Report:
    """Show what a correction does to a generator, on one page that needs nothing but itself.

        ganfix.report(G, "seqabl:gate=lr:70%").save("report.html")

    Args:
        G: it is left as it was.
        specs: one or more corrections, applied in the order given.
        seeds: those that are ranked; both ends are shown, ``top`` of each, and some at random.
        samples: latents of the ranking's profile; by default those of the first correction.
        class_index: of conditional generators.
        real: real images, a folder or zip: all seeds are measured against them too.
        name: of the generator, for people; by default that of its class.
        commands: how to make the page and its parts again: what for, and the command.
        adapter: an adapter's name, where none or several recognise G.
        measuring: as of `ganfix.evaluate`: ``extractor``, ``judge``, ``num_real``, ``resamples``.

    Raises:
        GanfixError: as of the specs and options, or if Jinja2 or matplotlib is not installed.
    """
    needed()
    bound, generator = parse_specs(specs), Generator.of(G, adapter)
    check_class(generator, class_index)
    measured = None
    if real:
        latents = f"{seeds[0]}-{seeds[-1]}"
        evaluation = evaluate(generator, *bound, real=real, latents=latents, **measuring)
        measured = Measured(evaluation.tables(), evaluation.record)
    samples = samples or (bound[0].options.samples if bound else None)
    result = study(generator, bound, seeds, top, samples, class_index)
    setting = Setting(name or generator.name, commands(result), str(generator.device), measured)
    return Report(result, page(result, setting))
