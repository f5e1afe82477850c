"""The tables and figures of both papers, one command each.

\b
    python reproduce.py list
    python reproduce.py c22-table1
    python reproduce.py c22-table1 --network ffhq.pkl --host stylegan2-ada-pytorch \\
        --real ffhq.zip --labels labels.csv --subject "StyleGAN2, FFHQ"

Without options a command runs on the small footwear networks of this repository, in minutes. With
a network of your own it follows the paper's protocol; --scale 0.1 takes a tenth of its numbers.
Tables are printed, and written with the pictures to --out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c22
import click
import people
import t21
from case import opened
from papers import markdown
from protocol import MEANING, PROTOCOL
from report import FOOTWEAR, OURS, Asked, reported

from ganfix_plugin.commands import options as shared
from ganfix_plugin.commands.group import Command
from ganfix_plugin.commands.options import FILE, NETWORK_HELP, PATH
from ganfix_plugin.errors import GanfixWarning

OUT = click.Path(path_type=Path)
FACES = FOOTWEAR.parent / "face_gan" / "labels.csv"
STYLEGAN2, PGGAN = OURS


@dataclass(frozen=True)
class Reproduction:
    """A command.

    Attributes:
        shows: the paper, and its table or figure.
        run: makes it.
        network: the small network of the default run; None where no network is opened.
        real: whether it needs real images.
        learns: whether it trains a classifier, as [T21] does.
        people: what only people can give: labels, or answers.
        took: the default run, here: 2 shared CPU cores.
    """

    shows: str
    run: Callable[[Any], None]
    network: str | None = None
    real: bool = False
    learns: bool = False
    people: str = ""
    took: str = ""

    @property
    def needs(self) -> str:
        """For people."""
        parts = ["weights"] * (self.network is not None) + ["real images"] * self.real
        parts += [f"{self.people} by people"] if self.people else []
        return ", ".join(parts) + (" (better with labels)" if self.real else "")


COMMANDS = {
    "c22-table1": Reproduction("[C22], Table 1", c22.table1, STYLEGAN2, True, took="4 min"),
    "c22-table2": Reproduction("[C22], Table 2", c22.table2, STYLEGAN2, True, took="2 min"),
    "c22-figure4": Reproduction("[C22], Figure 4", c22.figure4, STYLEGAN2, took="8 s"),
    "c22-figure5": Reproduction("[C22], Figures 5, 14", c22.figure5, STYLEGAN2, took="8 s"),
    "t21-table1": Reproduction("[T21], Table 1", people.table1, people="labels", took="5 s"),
    "t21-table2": Reproduction("[T21], Table 2", t21.table2, PGGAN, True, True, took="3 min"),
    "t21-table3": Reproduction("[T21], Tables 3, 5", people.table3, people="answers"),
    "t21-table4": Reproduction("[T21], Table 4", t21.table4, STYLEGAN2, True, True, took="2 min"),
    "t21-figure12": Reproduction("[T21], Figure 12", t21.figure12, PGGAN, True, True, took="2 min"),
    "t21-figure17": Reproduction("[T21], Figure 17", people.figure17, people="answers"),
    "t21-figure26": Reproduction(
        "[T21], Figures 16, 26", t21.figure26, STYLEGAN2, True, True, took="2 min"
    ),
    "t21-units": Reproduction(
        "[T21], representative generation", t21.units, PGGAN, True, True, took="2 min"
    ),
    "t21-d-values": Reproduction("[T21], D-value", t21.d_values, PGGAN, True, took="30 s"),
}


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command("list")
def list_all() -> None:
    """Every command: what it shows and needs, and how long the default run took here."""
    lines = [("command", "shows", "needs", "took here")]
    for name, reproduction in COMMANDS.items():
        lines.append((name, reproduction.shows, reproduction.needs, reproduction.took or "–"))
    click.echo(markdown(lines))


def options(name: str, reproduction: Reproduction) -> list[click.Option]:
    """The options that a command has a use for."""
    flags = [click.option("--subject", metavar="NAME", help=SUBJECT)]
    if reproduction.network:
        ours = f"{NETWORK_HELP} Or {' or '.join(OURS)}, of this repository."
        flags += [
            click.option("--network", default=reproduction.network, show_default=True, help=ours),
            click.option("--host", type=PATH, help="The codebase's checkout, for --network."),
            shared.device,
            shared.adapter,
            click.option("--labels", type=FILE, help="Label file. [default: realism's ends]"),
            click.option("--scale", type=click.FloatRange(0, min_open=True), help=SCALE),
        ]
    if reproduction.real:
        flags += [
            click.option("--real", type=PATH, help="Real images, a folder or zip."),
            click.option("--extractor", metavar="NAME", help=EXTRACTOR),
        ]
    if reproduction.learns:
        flags.append(click.option("--maps", metavar="NAME", help=MAPS))
    if reproduction.people == "labels":
        flags += [click.option("--labels", type=FILE, default=FACES, help="Label file.")]
    if reproduction.people == "answers":
        flags += [click.option("--answers", type=FILE, help="What ganfix judge left.")]
    for size, number in PROTOCOL[name].items():
        meaning = f"{MEANING[size]}; {number.paper:,} by the protocol, {number.here:,} here"
        flag = f"--{size.replace('_', '-')}"
        flags.append(click.option(flag, type=click.IntRange(2), help=f"Number of {meaning}."))
    if "generations" in PROTOCOL[name]:
        first = {"type": click.IntRange(0), "default": 0, "show_default": True, "help": FIRST}
        flags.append(click.option("--first", metavar="SEED", **first))
    flags.append(click.option("--out", type=OUT, default="out/reproduce", show_default=True))
    return flags


SUBJECT = "Says that network and data are the paper's own, and which."
SCALE = "Take this share of the papers' numbers."
EXTRACTOR = "Of the features that distances are measured on. [default: inception if installed]"
FIRST = "The first of the generations' seeds: other ones show how much is chance."
MAPS = "Extractor of the feature maps for Grad-CAM. [default: resnet18 if its weights are there]"


def command(name: str, reproduction: Reproduction) -> click.Command:
    """The command of a table or figure."""

    def call(**values: Any) -> None:
        sizes = {size: values.pop(size) for size in PROTOCOL[name]}
        asked = Asked(name, values.pop("network", ""), sizes=sizes, **values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GanfixWarning)  # tables show bad choices, too
            needs_network = reproduction.network is not None
            with opened(asked, reproduction.real) if needs_network else reported(asked) as report:
                reproduction.run(report)

    for option in reversed(options(name, reproduction)):
        call = option(call)
    help = f"{reproduction.shows}: {reproduction.run.__doc__}"
    return click.command(name, cls=Command, help=help)(call)


for name, reproduction in COMMANDS.items():
    main.add_command(command(name, reproduction))


if __name__ == "__main__":
    main()
