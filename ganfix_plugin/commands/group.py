"""The `ganfix` command as a whole: its commands, and their errors in one line."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
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
        if not workers.first_to_fail(str(error)):
            sys.exit(1)
        raise click.ClickException(str(error)) from None


class Command(click.Command):
    """A command whose errors are one line."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():
            return super().invoke(ctx)


class Group(click.Group):
    """A group of such commands, and of such groups."""

    command_class, group_class = Command, type


class Main(Group):
    """Imports the modules of `commands`, which add theirs, when one of them is asked for: scripts
    under `ganfix run` do not wait for that."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # Of a console that lacks ≤ or λ, as Windows' may: something else in its place.
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            _import_all()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        _import_all()
        return super().list_commands(ctx)


def _import_all() -> None:
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")


@click.group(cls=Main)
@click.version_option(__version__, prog_name="ganfix")
def main() -> None:
    """Repair the artifacts of GAN generators inside the codebases people already use."""
