"""What needs people: the share of artifacts, and the verdicts of [T21], Tables 3, 5, Figure 17."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from report import Report

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import written
from ganfix_plugin.labels import KINDS, read
from ganfix_plugin.pictures.bars import as_text, stacked
from ganfix_plugin.web.answers import Answers
from ganfix_plugin.web.summary import Summary, bars, rows, summarise


def table1(report: Report) -> None:
    """The share of artifacts among labelled generations."""
    path = report.asked.labels
    if path is None:
        raise GanfixError(
            "t21-table1: needs labels by people, --labels FILE; make them by ganfix label --order "
            "random, then ganfix labels export"
        )
    labels = read(path)
    artifacts, normals = (len(labels.samples(kind)) for kind in KINDS)
    raters = sorted({item.rater or "unnamed" for item in labels.items})
    ours = f"{100 * artifacts / max(artifacts + normals, 1):.2f}"
    lines = [("", report.published.columns[0], "images", "raters")]
    lines.append((path.name, ours, str(artifacts + normals), str(len(raters))))
    for name, (theirs,) in report.published.rows.items():
        lines.append((f"{report.published.source}, {name}", f"{theirs}", "about 2,000", "–"))
    report.table(lines)


def table3(report: Report) -> None:
    """How often people called corrected artifacts normal, and better than they were."""
    for summary in _judged(report):
        report.say(summary.correction)
        report.table(rows(summary))
        lines = [("", *report.published.columns)]
        lines.append(
            (report.asked.subject or "here", str(summary.corrected), str(summary.improved))
        )
        for name, figures in report.published.rows.items():
            cells = (f"{figure} %" for figure in figures)
            lines.append((f"{report.published.source}, {name}", *cells))
        report.table(lines)


def figure17(report: Report) -> None:
    """Corrected images that all raters call normal, all artifact, or neither."""
    drawn = [
        (f"{summary.correction}: {name}", part)
        for summary in _judged(report)
        for name, part in bars(summary)
    ]
    for name, parts in drawn:
        report.say(f"{name}\n{as_text(parts)}")
    with written(report.picture()) as temporary:
        stacked("Corrections, judged by people", "", drawn).save(temporary, "PNG")


def _judged(report: Report) -> Iterator[Summary]:
    """A summary for each correction that people judged.

    Raises:
        GanfixError: if nobody did.
    """
    path, command = report.asked.answers, report.asked.command
    if path is None:
        raise GanfixError(
            f"{command}: needs people; let them judge by ganfix judge --network NETWORK --correct "
            "seqc --raters ann,ben, then give --answers answers.sqlite"
        )
    with closing(Answers(path)) as answers:
        summaries = [summarise(answers, spec) for spec in answers.corrections()]
    if not summaries:
        raise GanfixError(f"answers {path}: nothing is judged yet; run ganfix judge")
    yield from summaries
