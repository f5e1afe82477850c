"""`ganfix report`: one page that shows what a correction does to a generator."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganfix_plugin.commands import options
from ganfix_plugin.commands.evaluate import Comparison, features_options, num_real_option
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import EACH_END, PATH, Network, gathers, preset
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.images import check_images
from ganfix_plugin.files import ready
from ganfix_plugin.reporting import report as reporting
from ganfix_plugin.reporting.page import NAME, needed
from ganfix_plugin.reporting.study import Study


@main.command()
@options.network
@options.correct("A correction; several are applied in a row.")
@click.option("--out", type=PATH, required=True, help="The folder to write report.html to.")
@options.seed_range(reporting.SEEDS)
@preset(
    "--top",
    reporting.TOP,
    f"{EACH_END} to show.",
    type=click.IntRange(1, 100),
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    help="Latents of the ranking's profile.  [default: those of the first --correct]",
)
@options.class_index
@click.option("--real", type=PATH, help="Real images, a folder or zip: measure distances too.")
@num_real_option
@features_options
@click.pass_context
@gathers(against=Comparison)
def report(
    context: click.Context,
    network: Network,
    specs: tuple[str, ...],
    out: Path,
    seeds: range,
    top: int,
    samples: int | None,
    class_index: int | None,
    against: Comparison,
) -> None:
    """Show what a correction does to a generator, on one page, a single file.

    \b
    ganfix report --network ffhq.pkl --correct seqabl:gate=lr:70% --out report

    OUT gets report.html: the most and least artifact-like of --num seeds before and after, the
    ranking, the profile, the numbers, and how to make it again. With --real it also measures
    all the seeds, as ganfix evaluate does.
    """
    needed()
    bound = parse_specs(specs)
    if against.real:
        check_images(against.real)
        if len(seeds) < 2:
            raise GanfixError("--real: needs at least 2 seeds to measure; ask for more by --num")
    elif against.extractor or against.judge or against.num_real:
        named = "--extractor, --judge, --num-real"
        raise GanfixError(f"{named}: need real images; name them by --real")
    ready(out, folder=True)
    path = ready(out / NAME)
    with network.opened() as generator:
        reporting.report(
            generator,
            *bound,
            seeds=seeds,
            top=top,
            samples=samples,
            class_index=class_index,
            name=network.title,
            commands=functools.partial(_commands, context),
            **against.options,
        ).save(path)
    click.echo(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _commands(context: click.Context, result: Study) -> list[tuple[str, str]]:
    """What to type to make the page again, and each part of it by itself."""
    ranked_seeds, samples = result.ranking.seeds, result.profile.settings.samples
    latents = f"{min(ranked_seeds)}-{max(ranked_seeds)}"
    values = {option.opts[0]: context.params[str(option.name)] for option in context.command.params}
    as_given = {
        option.opts[0]: context.params[str(option.name)]
        for option in context.command.params
        if context.get_parameter_source(str(option.name)) != ParameterSource.DEFAULT
    }

    def line(command: str, *options: str, **more: Any) -> str:
        """A command with some of the options of this one, and options of its own."""
        names = ("--network", "--host", "--device", "--adapter", *options)
        own = {f"--{name}": value for name, value in more.items()}
        return _line(command, {name: values[name] for name in names} | own)

    ranked = line(
        "detect", "--num", "--first", "--class", by=result.score.name, samples=samples, out="found"
    )
    lines = [
        ("This page:", _line("report", as_given)),
        ("All seeds in their order, as a table, with heat maps:", ranked),
    ]
    if values["--num"] > 1:
        options = ("--correct", "--num-real", "--extractor", "--judge", "--resamples")
        measured = line("evaluate", *options, latents=latents, real=values["--real"] or "REAL")
        lines.append(("Distances to real images, a folder or zip:", measured))
    if len(values["--correct"]) == 1:  # several are drawn one by one there
        seeds = ",".join(map(str, result.seeds_shown))
        drawn = {"seeds": seeds, "samples": samples, "out": "pairs.png"}
        sheet = line("plot corrections", "--correct", "--class", **drawn)
        lines.append(("The images of this page on one sheet:", sheet))
    script = _line("run SCRIPT …", {"--correct": values["--correct"]})
    return [*lines, ("The correction in a script of your own codebase:", script)]


def _line(command: str, values: Mapping[str, Any]) -> str:
    """A command with an option on each line, as a shell takes it."""
    lines = [f"ganfix {command}"]
    for name, value in values.items():
        texts = value if isinstance(value, tuple) else (value,)
        lines += [shlex.quote(f"{name}={text}") for text in texts if text is not None]
    return " \\\n  ".join(lines)
