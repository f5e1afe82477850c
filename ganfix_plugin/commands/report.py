"""`ganfix report`: one page that shows what a correction does to a generator."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganfix_plugin.commands.detect import first_option, num_option
from ganfix_plugin.commands.evaluate import (
    extractor_option,
    num_real_option,
    resamples_option,
    row,
    seeing_best,
)
from ganfix_plugin.commands.options import (
    correct_option,
    named,
    network_options,
    one_line_errors,
    opened,
)
from ganfix_plugin.commands.plot import class_option
from ganfix_plugin.commands.prepare import IMAGES


@click.command()
@network_options
@correct_option("A correction; several are applied in a row.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write report.html to.",
)
@num_option(2000)
@first_option
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=12,
    show_default=True,
    help="Images of each end of the ranking.",
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    help="Latents of the ranking's profile.  [default: those of the first --correct]",
)
@class_option
@click.option("--real", type=IMAGES, help="Real images, a folder or zip: measure distances too.")
@num_real_option
@extractor_option
@resamples_option
@click.pass_context
@one_line_errors
def report(
    context: click.Context,
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    specs: tuple[str, ...],
    out: Path,
    num: int,
    first: int,
    top: int,
    samples: int | None,
    class_index: int | None,
    real: Path | None,
    num_real: int | None,
    extractor: str | None,
    resamples: int,
) -> None:
    """Show what a correction does to a generator, on one page that needs nothing but itself.

    \b
    ganfix report --network ffhq.pkl --correct seqabl:gate=lr:70% --out report

    OUT gets report.html: the most and least artifact-like of --num seeds before and after, the
    ranking, the profile, the numbers, and how to make it again. With --real it also measures
    Fréchet distance, precision, recall and realism of all the seeds, as ganfix evaluate does.
    """
    from ganfix_plugin.correctors.bind import parse_specs
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.evaluate.evaluate import evaluate
    from ganfix_plugin.features.images import check_images
    from ganfix_plugin.files import ready, write_text
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.generators.latents import check_class
    from ganfix_plugin.report.page import NAME, Measured, Setting, needed, page
    from ganfix_plugin.report.study import study

    needed()
    bound = parse_specs(specs)
    latents = f"{first}-{first + num - 1}"
    if real:
        check_images(real)
        if num < 2:
            raise GanfixError("--real: needs at least 2 seeds to measure; ask for more by --num")
    elif extractor or num_real:
        raise GanfixError("--extractor, --num-real: need real images; name them by --real")
    ready(out, folder=True)
    path = ready(out / NAME)
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        check_class(generator, class_index)
        measured = None
        if real:
            chosen = {"num_real": num_real, "resamples": resamples}
            how: dict[str, Any] = {**chosen, "extractor": extractor or seeing_best()}
            found = evaluate(generator, real, latents, bound, **how)
            measured = Measured([row(each) for each in found.figures], found.record)
        measured_on = samples or bound[0].options.samples
        seeds = range(first, first + num)
        seen = study(generator, bound, seeds, top, measured_on, class_index)
        commands = _commands(context, latents, seen.seeds_shown, measured_on)
        setting = Setting(named(network), commands, str(generator.device), measured)
        write_text(path, page(seen, setting))
    click.echo(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _commands(
    context: click.Context, latents: str, shown: Sequence[int], samples: int
) -> list[tuple[str, str]]:
    """What to type to make the page again, and each part of it by itself."""
    every = {each.opts[0]: context.params[str(each.name)] for each in context.command.params}
    given = {
        each.opts[0]: context.params[str(each.name)]
        for each in context.command.params
        if context.get_parameter_source(str(each.name)) != ParameterSource.DEFAULT
    }

    def line(command: str, *options: str, **more: Any) -> str:
        """A command with some of the options of this one, and options of its own."""
        names = ("--network", "--host", "--device", "--adapter", *options)
        values = {name: every[name] for name in names}
        return _line(command, values | {f"--{name}": value for name, value in more.items()})

    ranked = line("detect", "--num", "--first", "--class", samples=samples, out="found")
    lines = [
        ("This page:", _line("report", given)),
        ("All seeds in their order, as a table, with heat maps:", ranked),
    ]
    if every["--num"] > 1:
        options = ("--correct", "--num-real", "--extractor", "--resamples")
        measured = line("evaluate", *options, latents=latents, real=every["--real"] or "REAL")
        lines.append(("Distances to real images, a folder or zip:", measured))
    if len(every["--correct"]) == 1:  # several are drawn one by one there
        seeds = ",".join(map(str, shown))
        drawn = {"seeds": seeds, "samples": samples, "out": "pairs.png"}
        sheet = line("plot corrections", "--correct", "--class", **drawn)
        lines.append(("The images of this page on one sheet:", sheet))
    script = _line("run SCRIPT …", {"--correct": every["--correct"]})
    return [*lines, ("The correction in a script of your own codebase:", script)]


def _line(command: str, values: Mapping[str, Any]) -> str:
    """A command with an option on each line, as a shell takes it."""
    lines = [f"ganfix {command}"]
    for name, value in values.items():
        several = value if isinstance(value, tuple) else (value,)
        lines += [shlex.quote(f"{name}={each}") for each in several if each is not None]
    return " \\\n  ".join(lines)
