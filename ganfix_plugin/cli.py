"""The `ganfix` command: what runs, patches and examines a checkout, and all other commands."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganfix_plugin._version import __version__
from ganfix_plugin.commands import (
    detect,
    evaluate,
    export,
    figures,
    judge,
    label,
    labels,
    measure,
    plot,
    prepare,
    report,
    tune,
    units,
)
from ganfix_plugin.commands.options import Command

device_option = click.option(
    "--device",
    envvar="GANFIX_DEVICE",
    metavar="cpu|cuda|mps",
    help="Where networks run. [default: $GANFIX_DEVICE, else cuda if there is, else cpu]",
)


@click.group()
@click.version_option(__version__, prog_name="ganfix")
def main() -> None:
    """Repair the artifacts of GAN generators inside the codebases people already use."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@device_option
@click.option("-m", "--module", is_flag=True, help="SCRIPT is a module's name, as after python -m.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
def run(device: str | None, module: bool, script: str, arguments: tuple[str, ...]) -> None:
    """Run an unmodified SCRIPT of a known codebase, with --correct added to its options.

    \b
    ganfix run generate.py --network=ffhq.pkl --seeds=0-9 --outdir=out --correct seqabl
    """
    from ganfix_plugin.hosts import launcher

    sys.exit(launcher.run(script, arguments, device, module))


@main.command(cls=Command)
@click.argument("checkout", type=click.Path(path_type=Path))
@click.option("--check", "action", flag_value="check", help="Only say which scripts are patched.")
@click.option("--revert", "action", flag_value="revert", help="Take the line out again.")
def patch(checkout: Path, action: str | None) -> None:
    """Put one line into each script of CHECKOUT, so that plain 'python SCRIPT' has --correct.

    Patched scripts read the device from GANFIX_DEVICE. The exit status is 0 if afterwards (with
    --check: already) every script is patched, with --revert if none is, and 1 otherwise.
    """
    from ganfix_plugin.hosts import patching
    from ganfix_plugin.hosts.host import checkout_of

    if action == "check":
        results = patching.states(*checkout_of(checkout))
    else:
        results = patching.patch(checkout, revert=action == "revert")
    wanted = patching.UNPATCHED if action == "revert" else patching.PATCHED
    done = True
    for name, state in results:
        click.echo(f"{name}: {state}")
        done = done and state == wanted
    sys.exit(0 if done else 1)


@main.command(cls=Command)
@click.argument("checkout", type=click.Path(path_type=Path))
@device_option
def doctor(checkout: Path, device: str | None) -> None:
    """Say what ganfix finds in CHECKOUT: the host, its scripts, and what is mended and why."""
    from ganfix_plugin.hosts.doctor import examine

    for line in examine(checkout, device):
        click.echo(line)


for command in (
    measure.list_command,
    measure.layers,
    measure.profile,
    detect.detect,
    plot.plot,
    labels.labels,
    prepare.fit,
    prepare.score,
    prepare.prepare,
    tune.tune,
    export.export,
    label.label,
    judge.judge,
    evaluate.evaluate,
    report.report,
):
    main.add_command(command)
for command in (
    units.unit,
    units.concepts,
    figures.sweep,
    figures.over_values,
    figures.d_values,
):
    plot.plot.add_command(command)
