"""`ganfix judge`: people's verdict on a correction, and its summary."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands.options import NETWORK_HELP, PNG, one_line_errors, opened, table
from ganfix_plugin.commands.prepare import FILE
from ganfix_plugin.commands.web import (
    host_and_address,
    pages_installed,
    raters_of,
    serving_options,
)

if TYPE_CHECKING:
    from ganfix_plugin.web.answers import Answers


@click.command()
@click.option(
    "--network", metavar="NETWORK", help=f"{NETWORK_HELP}  [required, except by --summary]"
)
@click.option(
    "--correct",
    "specs",
    metavar="SPEC",
    multiple=True,
    help="The correction to judge, as in ganfix run. Several are applied in a row.",
)
@serving_options
@click.option(
    "--labels",
    "files",
    type=FILE,
    multiple=True,
    help="Correct what these label files call artifacts. [default: what --answers calls so]",
)
@click.option("--num", default=500, show_default=True, help="The most images to judge.")
@click.option("--summary", is_flag=True, help="Show what was found so far, and end.")
@click.option("--out", type=PNG, help="With --summary: also draw its bars, as a PNG.")
@one_line_errors
def judge(
    network: str | None,
    hosts: tuple[Path | str, ...],
    port: int,
    device: str | None,
    adapter: str | None,
    raters: str | None,
    file: Path,
    criteria: str | None,
    specs: tuple[str, ...],
    files: tuple[Path, ...],
    num: int,
    summary: bool,
    out: Path | None,
) -> None:
    """Let people judge corrections: is the image normal now, is it better than it was?

    \b
    ganfix judge --network ffhq.pkl --correct seqabl --criteria faces --raters ann,ben
    ganfix judge --summary

    Raters first label each corrected image, without its original; then they compare the two, side
    by side, the sides shuffled. These are the two questions of the CVPR 2021 paper.
    """
    from ganfix_plugin.correctors.bind import parse_specs
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.files import ready
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import merge, read
    from ganfix_plugin.web.answers import Answers
    from ganfix_plugin.web.criteria import read_criteria

    if out:
        ready(out)
    if summary:
        _show_summary(Answers(file), out)
        return
    if not network or not specs:
        raise GanfixError("judge: give --network and --correct, or --summary")
    if num < 1:
        raise GanfixError(f"--num {num}: expected at least 1")
    bound = parse_specs(specs)
    checkout, address = host_and_address(hosts)
    known = read_criteria(criteria) if criteria else ()
    merged = merge(read(each) for each in files) if files else None
    with pages_installed():
        from ganfix_plugin.web import start
        from ganfix_plugin.web.server import Place

        names = raters_of(raters)
        place = Place.open(address, port)
    with suppress(KeyboardInterrupt), opened(network, checkout, device) as G:
        generator = Generator.of(G, adapter)
        with closing(Answers(file, generator.fingerprint)) as answers:
            given = merged.check(answers.generator) if merged else None
            seeds = start.artifacts(answers, given, num)
            start.judge(generator, answers, place, names, bound, seeds, criteria=known)


def _show_summary(answers: Answers, out: Path | None) -> None:
    """A table and bars for each correction that was judged."""
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.files import written
    from ganfix_plugin.pictures.bars import as_text, stacked
    from ganfix_plugin.web.summary import bars, rows, summarise

    found = [summarise(answers, correction) for correction in answers.corrections()]
    if not found:
        raise GanfixError(f"answers {answers.path}: nothing is judged yet; run ganfix judge")
    for each in found:
        click.echo(f"{each.correction}\n")
        click.echo(f"{table(rows(each))}\n")
        if each.by_criterion:
            named = [(name, str(share)) for name, share in each.by_criterion.items()]
            click.echo(f"{table([('criterion', 'improved'), *named])}\n")
        for name, parts in bars(each):
            click.echo(f"{name}\n{as_text(parts)}\n")
    if out:
        several = len(found) > 1
        drawn = [
            (f"{each.correction}: {name}" if several else name, parts)
            for each in found
            for name, parts in bars(each)
        ]
        title = "Corrections, judged by people"
        note = f"{len(found)} corrections" if several else found[0].correction
        with written(out) as temporary:
            stacked(title, note, drawn).save(temporary, "PNG")
        click.echo(f"written to {out}")
