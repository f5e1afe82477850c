"""What commands share: their options, errors in one line, the generator that --network names."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import nn

Command = Callable[..., Any]


NETWORK_HELP = (
    "A network pickle, a genforce model name or .pth, or module:function returning a generator."
)
RATE = click.FloatRange(0, 1)


class _Png(click.Path):
    """The name of a picture to write."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() != ".png":
            self.fail(f"found {path}, expected a name that ends in .png", param, ctx)
        return path


PNG = _Png(dir_okay=False)
device_option = click.option("--device", envvar="GANFIX_DEVICE", help="cpu, cuda or mps.")
adapter_option = click.option(
    "--adapter", help="An adapter's name, where none or several recognise it."
)


def correct_option(help: str) -> Callable[[Command], Command]:
    """``--correct``, at least one."""
    return click.option(
        "--correct",
        "specs",
        multiple=True,
        required=True,
        metavar="NAME[:key=value,…]",
        help=help,
    )


def network_options(command: Command) -> Command:
    """``--network`` and what belongs to it, the same for every command that opens a generator."""
    options = (
        click.option("--network", required=True, metavar="NETWORK", help=NETWORK_HELP),
        click.option(
            "--host",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="The codebase's checkout. [default: the current folder]",
        ),
        device_option,
        adapter_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def one_line_errors(command: Command) -> Command:
    """Show a GanfixError as click shows its own: one line, status 1. Of the ranks of torchrun only
    one prints."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from ganfix_plugin import workers
        from ganfix_plugin.errors import GanfixError
        from ganfix_plugin.hosts.console import speak

        speak()
        try:
            with workers.first_prints():
                return command(*args, **kwargs)
        except GanfixError as error:
            if not workers.first_to_fail(str(error)):
                sys.exit(1)
            raise click.ClickException(str(error)) from None

    return wrapped


@contextmanager
def opened(network: str, host: Path | None, device: str | None) -> Iterator[nn.Module]:
    """The generator that ``--network`` names, while its host's imports are in place."""
    from ganfix_plugin.hosts.loading import open_network

    with open_network(network, host, device) as generator:
        yield generator.G


def named(network: str) -> str:
    """``--network`` as pictures name it: without folders."""
    return network.rpartition("/")[2]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, the first one being the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
