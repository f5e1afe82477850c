"""`ganfix judge`: people's verdict on a correction, and its summary."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import NETWORK_HELP, PNG, merged, preset, tell
from ganfix_plugin.commands.serving import Serving, criteria_option, serving_options
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.files import ready, written
from ganfix_plugin.pictures.bars import as_text, stacked
from ganfix_plugin.web.criteria import Criterion


@main.command()
@click.option(
    "--network", metavar="NETWORK", help=f"{NETWORK_HELP}  [required, except by --summary]"
)
@options.correct(
    "The correction to judge; several are applied in a row.",
    required=False,
    metavar="SPEC",
)
@serving_options
@criteria_option
@options.labels("Correct what these label files call artifacts. [default: what --answers calls so]")
@preset("--num", 500, "Generations to judge, at most.")
@click.option("--summary", is_flag=True, help="Show what was found so far, and end.")
@click.option("--out", type=PNG, help="With --summary: also draw its bars, as a PNG.")
@options.json_option("With --summary: print JSON, for scripts.")
def judge(
    network: str | None,
    specs: tuple[str, ...],
    serving: Serving,
    criteria: tuple[Criterion, ...],
    files: tuple[Path, ...],
    num: int,
    summary: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Let people judge corrections: is the image normal now, is it better than it was?

    \b
    ganfix judge --network ffhq.pkl --correct seqabl --criteria faces --raters ann,ben
    ganfix judge --summary

    Raters first label each corrected image, without its original; then they compare the two, side
    by side, the sides shuffled. These are the two questions of the CVPR 2021 paper.
    """
    if summary:
        _show_summary(serving.answers, out, as_json)
        return
    if out or as_json:
        raise GanfixError("--out, --json: are of what was found; give --summary, too")
    if not network or not specs:
        raise GanfixError("judge: give --network and --correct, or --summary")
    bound = parse_specs(specs)
    labels = merged(files) if files else None
    with serving.opened(network) as (generator, answers, place, raters):
        from ganfix_plugin.web import start

        if labels:
            labels.check(answers.generator)
        seeds = start.artifacts(answers, labels, num)
        start.judge(generator, answers, place, raters, bound, seeds, criteria=criteria)


def _show_summary(file: Path, out: Path | None, as_json: bool) -> None:
    """A table and bars for each correction that was judged."""
    if out:
        ready(out)
    from ganfix_plugin.web.answers import Answers
    from ganfix_plugin.web.summary import bars, rows, summarise

    answers = Answers(file)
    summaries = [summarise(answers, correction) for correction in answers.corrections()]
    if not summaries:
        raise GanfixError(f"answers {answers.path}: nothing is judged yet; run ganfix judge")
    drawn, lines = [], []
    for summary in summaries:
        lines += [summary.correction, "", table(*rows(summary)), ""]
        if summary.by_criterion:
            shares = summary.by_criterion.items()
            lines += [table(("criterion", "improved"), *shares), ""]
        for name, parts in bars(summary):
            lines += [name, as_text(parts), ""]
            title = f"{summary.correction}: {name}" if len(summaries) > 1 else name
            drawn.append((title, parts))
    tell(as_json, {"corrections": [asdict(summary) for summary in summaries]}, *lines)
    if out:
        note = f"{len(summaries)} corrections" if len(summaries) > 1 else summaries[0].correction
        with written(out) as temporary:
            stacked("Corrections, judged by people", note, drawn).save(temporary, "PNG")
        click.echo(f"written to {out}")
