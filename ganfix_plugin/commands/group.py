"""The `ganfix` command as a whole: its commands, and their errors in one line."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ganfix_plugin import commands, workers
from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.console import speak


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a GanfixError as click shows its own: one line, status 1. Of the ranks of torchrun only
    one prints."""
    speak()
    try:
        with workers.first_prints():
            yield
    except GanfixError as error:
        if logging.getLogger("ganfix").isEnabledFor(logging.DEBUG):
            raise
        if not workers.first_to_fail(str(error)):
            sys.exit(1)
        raise click.ClickException(str(error)) from None


class Command(click.Command):
    """A command whose errors are one line."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():
            return super().invoke(ctx)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its first sentence."""
        self.format_section("Commands", self.list_commands(ctx), formatter)

    def format_section(
        self, title: str, names: Sequence[str], formatter: click.HelpFormatter
    ) -> None:
        """Some of the commands, below a title."""
        rows = [(name, self.commands[name].get_short_help_str(200)) for name in names]
        with formatter.section(title):
            formatter.write_dl(rows)


SECTIONS = {
    "Correct": ("run", "render", "explore", "patch", "export", "latents", "doctor"),
    "Find": ("detect", "label", "labels"),
    "Look and compare": ("report", "evaluate", "tune", "judge", "plot"),
    "Measure and prepare": ("list", "layers", "profile", "prepare", "fit", "score", "units"),
}


class Main(Group):
    """Imports the modules of `commands`, which add theirs, when one of them is asked for: scripts
    under `ganfix run` do not wait for that."""

    group_class = Group

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # Of a console that lacks ≤ or λ, as Windows' may: something else in its place.
        for stream in (sys.stdout, sys.stderr):
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            _import_all()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        _import_all()
        return super().list_commands(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By what they are for."""
        _import_all()
        for title, names in SECTIONS.items():
            self.format_section(title, names, formatter)


def _import_all() -> None:
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")


device = click.option(
    "--device",
    envvar="GANFIX_DEVICE",
    metavar="cpu|cuda|mps",
    help="Where networks run. [default: $GANFIX_DEVICE, else cuda if there is, else cpu]",
)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors; no progress.")
@click.option("-v", "--verbose", is_flag=True, help="Also where in the code an error came up.")
@click.version_option(__version__, prog_name="ganfix")
def main(quiet: bool, verbose: bool) -> None:
    """Repair the artifacts of GAN generators inside the codebases people already use.

    \b
    ganfix run generate.py --network=ffhq.pkl --seeds=0-9 --outdir=out --correct steer
    ganfix COMMAND -h says more of each.
    """
    if quiet and verbose:
        raise click.UsageError("-q and -v exclude each other; give one")
    speak(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
