"""``--correct``, ``--screen`` and the options of metrics, for scripts that do not know them.

The values are taken out of the arguments before the script sees them, so that neither the host's
functions nor its parsed namespace change, and abbreviations of its own options keep working. The
script's ``--help`` shows the options as if they were the host's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from ganfix_plugin.artifacts.latent_files import KINDS, check_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.bootstrap import RESAMPLES
from ganfix_plugin.features.detector import HINT, Detector
from ganfix_plugin.hosts.import_hooks import replaced


@dataclass(frozen=True)
class Flag:
    """An option that ganfix adds to scripts."""

    name: str
    metavar: str
    example: str
    help: str
    multiple: bool = False


CORRECT = Flag(
    "--correct",
    "NAME[:key=value,…]",
    "seqabl",
    "Correct the generator's artifacts while it runs, for example seqabl or "
    "seqabl:lowest=30%,gate=lr:70%. May be given several times. 'ganfix list' shows the "
    "correctors and their keys.",
    multiple=True,
)
SCREEN = Flag(
    "--screen",
    "[probe:]SHARE[:replace]",
    "10%",
    "Do not render seeds whose count of active low-rate neurons lies in this worst share of the "
    "generator's own, for example 10%; with probe:10% their score by the probe that --correct "
    "steer goes by; with 10%:replace the next good seeds take their places.",
)

NUM_GEN = 50_000  # as many as the hosts' own metrics generate

DETECTOR = Flag(
    "--detector",
    "FILE",
    "inception.pt",
    f"Where the script's own feature detector cannot be downloaded: {HINT}. It is called with "
    "images [N,3,H,W], uint8, and returns features [N,D].",
)
LATENTS = Flag(
    "--latents",
    "FILE",
    "labels.csv",
    f"For --metrics=fid_artifacts,pr_artifacts,realism_artifacts: {KINDS}. With --correct both "
    "sides are measured on the same latents and noise.",
)
NUM_GENERATED = Flag(
    "--num-gen",
    "N",
    "5000",
    "For --metrics=fid,pr,realism: measure seeds 0 to N−1, with --correct on both sides  "
    f"[default: {NUM_GEN}]; of --latents: at most the first N  [default: all]",
)
NUM_REAL = Flag(
    "--num-real",
    "N",
    "10000",
    "Of the data set, take N images chosen at random, for all metrics of ganfix  [default: all]",
)
INTERVAL = Flag(
    "--resamples",
    "N",
    "200",
    f"Bootstrap resamples for the interval of a difference, 0 for none  [default: {RESAMPLES}]",
)
METRIC_FLAGS = (DETECTOR, LATENTS, NUM_GENERATED, NUM_REAL, INTERVAL)


def take(arguments: Sequence[str], wanted: Flag = CORRECT) -> tuple[list[str], list[str]]:
    """Take ``--correct X`` and ``--correct=X``, or another flag, out of a command line.

    Args:
        arguments: without the script's name. What follows ``--`` is left alone.

    Returns:
        The values of the flag, and the other arguments, each in the order given.

    Raises:
        GanfixError: if a value is missing, or there are several where one is expected.
    """
    values: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if argument == "--":
            others += [argument, *rest]
        elif flag != wanted.name:
            others.append(argument)
        else:
            value = value if equals else next(rest, "")
            if not value or value.startswith("--"):
                raise GanfixError(
                    f"{wanted.name} needs a value: {wanted.metavar}, "
                    f"for example {wanted.name} {wanted.example}"
                )
            values.append(value)
    if len(values) > 1 and not wanted.multiple:
        raise GanfixError(f"{wanted.name} is given {len(values)} times; give it once")
    return values, others


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a script called like this prints its help instead of doing its work."""
    return bool({"-h", "--help"} & set(arguments))


@contextmanager
def shown_in_help(*wanted: Flag) -> Iterator[None]:
    """Inside, parsers that read this process's own command line show our flags in their help.

    Parsers that are given their arguments (subparsers, a library's own) are left alone.
    """
    main = click.Command.main
    parse = argparse.ArgumentParser.parse_known_args

    def main_with_flag(self: click.Command, args: Any = None, *more: Any, **options: Any) -> Any:
        for flag in wanted if args is None else ():
            if all(flag.name not in param.opts for param in self.params):
                about: dict[str, Any] = {
                    "multiple": flag.multiple,
                    "metavar": flag.metavar,
                    "help": flag.help,
                }
                self.params.append(click.Option([flag.name], expose_value=False, **about))
        return main(self, args, *more, **options)

    def parse_with_flag(self: Any, args: Any = None, namespace: Any = None) -> Any:
        if args is None:
            self.format_help = lambda: _format_help(self, wanted)
        return parse(self, args, namespace)

    with (
        replaced(click.Command, "main", main_with_flag),
        replaced(argparse.ArgumentParser, "parse_known_args", parse_with_flag),
    ):
        yield


def _format_help(parser: argparse.ArgumentParser, wanted: Sequence[Flag]) -> str:
    """The parser's help with our flags, which it gets only now, when it need not parse."""
    del parser.format_help
    group = parser.add_argument_group("ganfix")
    for flag in wanted:
        group.add_argument(
            flag.name,
            action="append",
            default=argparse.SUPPRESS,
            metavar=flag.metavar,
            help=flag.help.replace("%", "%%"),
        )
    return parser.format_help()


@dataclass(frozen=True)
class MetricOptions:
    """What the metrics of a run work with; it goes along to spawned processes.

    Attributes:
        detector: instead of the host's, everywhere.
        latents: of the metrics of given latents.
        num_gen: how many to generate.
        num_real: how many real images to compare with.
        resamples: of the bootstrap.
    """

    detector: Detector | None = None
    latents: str = ""
    num_gen: int | None = None
    num_real: int | None = None
    resamples: int = RESAMPLES

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> MetricOptions:
        """From the values of `METRIC_FLAGS`, by the flag's name.

        Raises:
            GanfixError: on a number that is none, or a detector or latents that are not there.
        """
        source, latents = values.get(DETECTOR.name), values.get(LATENTS.name, "")
        if latents:
            check_latents(latents)
        resamples = _whole(INTERVAL, values, 0)
        return cls(
            Detector.named(source) if source else None,
            latents,
            _whole(NUM_GENERATED, values, 2),
            _whole(NUM_REAL, values, 2),
            RESAMPLES if resamples is None else resamples,
        )


def _whole(flag: Flag, values: Mapping[str, str], low: int) -> int | None:
    text = values.get(flag.name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < low:
        raise GanfixError(f"{flag.name} {text}: expected a whole number of at least {low}")
    return int(text)
