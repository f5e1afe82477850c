"""``--correct`` on the command line of a script that does not know it.

The values are taken out of the arguments before the script sees them, so that neither the host's
functions nor its parsed namespace change, and abbreviations of its own options keep working. The
script's ``--help`` shows the option as if it were the host's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.imports import replaced

FLAG = "--correct"
METAVAR = "NAME[:key=value,…]"
HELP = (
    "Correct the generator's artifacts while it runs, for example seqabl or "
    "seqabl:lowest=30%,gate=lr:70%. May be given several times. 'ganfix list' shows the "
    "correctors and their keys."
)


def take(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--correct X`` and ``--correct=X`` out of a command line.

    Args:
        arguments: without the script's name. What follows ``--`` is left alone.

    Returns:
        The values of ``--correct``, and the other arguments, each in the order given.

    Raises:
        GanfixError: if a value is missing.
    """
    values: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if argument == "--":
            others += [argument, *rest]
        elif flag != FLAG:
            others.append(argument)
        else:
            value = value if equals else next(rest, "")
            if not value or value.startswith("--"):
                raise GanfixError(f"{FLAG} needs a value: {METAVAR}, for example {FLAG} seqabl")
            values.append(value)
    return values, others


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a script called like this prints its help instead of doing its work."""
    return bool({"-h", "--help"} & set(arguments))


@contextmanager
def shown_in_help() -> Iterator[None]:
    """Inside, parsers that read this process's own command line show ``--correct`` in their help.

    Parsers that are given their arguments (subparsers, a library's own) are left alone.
    """
    main = click.Command.main
    parse = argparse.ArgumentParser.parse_known_args

    def main_with_flag(self: click.Command, args: Any = None, *more: Any, **options: Any) -> Any:
        if args is None and all(FLAG not in param.opts for param in self.params):
            option = click.Option(
                [FLAG], multiple=True, expose_value=False, metavar=METAVAR, help=HELP
            )
            self.params.append(option)
        return main(self, args, *more, **options)

    def parse_with_flag(self: Any, args: Any = None, namespace: Any = None) -> Any:
        if args is None:
            self.format_help = lambda: _format_help(self)
        return parse(self, args, namespace)

    with (
        replaced(click.Command, "main", main_with_flag),
        replaced(argparse.ArgumentParser, "parse_known_args", parse_with_flag),
    ):
        yield


def _format_help(parser: argparse.ArgumentParser) -> str:
    """The parser's help with ``--correct``, which it gets only now, when it need not parse."""
    del parser.format_help
    group = parser.add_argument_group("ganfix")
    group.add_argument(
        FLAG,
        action="append",
        default=argparse.SUPPRESS,
        metavar=METAVAR,
        help=HELP.replace("%", "%%"),
    )
    return parser.format_help()
