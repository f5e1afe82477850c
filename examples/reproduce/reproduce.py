"""The tables and figures of both papers, one command each.

\b
    python reproduce.py list
    python reproduce.py all
    python reproduce.py c22-table1
    python reproduce.py c22-table1 --network ffhq.pkl --host stylegan2-ada-pytorch \\
        --real ffhq.zip --labels labels.csv --subject "StyleGAN2, FFHQ"

Without options a command runs on the small footwear networks of this repository, in minutes. With
a network of your own it follows the paper's protocol; --scale 0.1 takes a tenth of its numbers.
Tables are printed, and written with the pictures to --out.
"""

from __future__ import annotations

import time
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
from drawing import Scene, draw
from exhibits import EXHIBITS, shown_by
from galleries import GALLERIES
from protocol import MEANING, PROTOCOL
from report import Asked, reported
from small import FACE_LABELS, FACES, PGGAN, SMALL, STYLEGAN2

from ganfix_plugin.commands import options as shared
from ganfix_plugin.commands.group import Command
from ganfix_plugin.commands.options import FILE, NETWORK_HELP, PATH
from ganfix_plugin.errors import GanfixWarning

OUT = click.Path(path_type=Path)


@dataclass(frozen=True)
class Reproduction:
    """A command.

    Attributes:
        run: makes a table or figure; a gallery's is drawn.
        networks: the small networks it runs on, the default first; none where no network is opened.
        real: whether it needs real images, to measure distances to.
        chooses: whether it needs artifacts and normals: labels, or real images to do without.
        learns: whether it trains a classifier, as [T21] does.
        people: what only people can give: labels, or answers.
        took: the default run, here: 2 shared CPU cores.
    """

    run: Callable[[Any], None] | None = None
    networks: tuple[str, ...] = ()
    real: bool = False
    chooses: bool = False
    learns: bool = False
    people: str = ""
    took: str = ""

    @property
    def needs(self) -> str:
        """For people."""
        parts = ["weights"] * bool(self.networks)
        parts += ["real images (better with labels)"] * self.real
        parts += ["labels or real images"] * (self.chooses and not self.real)
        parts += [f"{self.people} by people"] if self.people else []
        return ", ".join(parts)


STYLED, ALL = (STYLEGAN2,), (STYLEGAN2, PGGAN, FACES)
FOOTWEAR = (STYLEGAN2, PGGAN)
LEARNS = {"real": True, "learns": True}
COMMANDS = {
    "c22-table1": Reproduction(c22.table1, FOOTWEAR, real=True, took="5 min"),
    "c22-table2": Reproduction(c22.table2, FOOTWEAR, real=True, took="3 min"),
    "c22-figure4": Reproduction(c22.figure4, ALL, took="8 s"),
    "c22-figure5": Reproduction(c22.figure5, ALL, took="12 s"),
    "c22-rates": Reproduction(c22.rates, ALL, took="50 s"),
    "c22-correction": Reproduction(None, ALL, took="8 s"),
    "c22-detection": Reproduction(None, ALL, took="20 s"),
    "c22-masks": Reproduction(None, ALL, took="8 s"),
    "c22-ablations": Reproduction(None, ALL, took="8 s"),
    "t21-table1": Reproduction(people.table1, people="labels", took="5 s"),
    "t21-table2": Reproduction(t21.table2, (PGGAN,), **LEARNS, took="3 min"),
    "t21-table3": Reproduction(people.table3, people="answers"),
    "t21-table4": Reproduction(t21.table4, STYLED, **LEARNS, took="2 min"),
    "t21-figure12": Reproduction(t21.figure12, (PGGAN,), **LEARNS, took="83 s at --scale 0.05"),
    "t21-figure17": Reproduction(people.figure17, people="answers"),
    "t21-figure26": Reproduction(None, STYLED, chooses=True, learns=True, took="80 s"),
    "t21-labels": Reproduction(None, (PGGAN, STYLEGAN2, FACES), chooses=True, took="20 s"),
    "t21-masks": Reproduction(
        None, (PGGAN, STYLEGAN2, FACES), chooses=True, learns=True, took="80 s"
    ),
    "t21-correction": Reproduction(None, (PGGAN, FACES), chooses=True, learns=True, took="40 s"),
    "t21-systems": Reproduction(None, (PGGAN, FACES), chooses=True, learns=True, took="40 s"),
    "t21-options": Reproduction(None, (PGGAN,), chooses=True, learns=True, took="30 s"),
    "t21-units": Reproduction(t21.units, (PGGAN,), **LEARNS, took="3 min"),
    "t21-d-values": Reproduction(t21.d_values, FOOTWEAR[::-1], chooses=True, took="30 s"),
}


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command("list")
def list_all() -> None:
    """Every table and figure: what it shows, its commands, what they need, and took here."""
    for exhibit in EXHIBITS:
        click.echo(f"{exhibit.name}: {exhibit.shows}")
        for name in exhibit.commands:
            reproduction = COMMANDS[name]
            took = f"; took {reproduction.took}" if reproduction.took else ""
            click.echo(f"    {name:15} needs {reproduction.needs}{took}")


@main.command("all", cls=Command)
@click.option("--scale", type=click.FloatRange(0, min_open=True), help="As of each command.")
@click.option("--only", metavar="START", default="", help="Commands that begin so, as t21-.")
@click.option("--out", type=OUT, default="out/reproduce", show_default=True)
@click.pass_context
def run_all(context: click.Context, scale: float | None, only: str, out: Path) -> None:
    """All that needs nobody's answers, one after the other, on every small network it is for.

    Each network's results go to a folder of its name in --out.
    """
    for name, reproduction in COMMANDS.items():
        if not name.startswith(only) or reproduction.people == "answers":
            continue
        for network in reproduction.networks or ("",):
            started = time.monotonic()
            sizes = {"network": network, "scale": scale} if network else {}
            context.invoke(main.commands[name], out=out / network, **sizes)
            click.echo(f"{name} {network} took {time.monotonic() - started:.0f} s\n")


def options(name: str, reproduction: Reproduction) -> list[click.Option]:
    """The options that a command has a use for."""
    flags = [click.option("--subject", metavar="NAME", help=SUBJECT)]
    if reproduction.networks:
        ours = f"{NETWORK_HELP} Or of this repository: {', '.join(SMALL)}."
        default = reproduction.networks[0]
        flags += [
            click.option("--network", default=default, show_default=True, help=ours),
            click.option("--host", type=PATH, help="The codebase's checkout, for --network."),
            shared.device,
            shared.adapter,
            click.option("--labels", type=FILE, help="Label file. [default: realism's ends]"),
            click.option("--scale", type=click.FloatRange(0, min_open=True), help=SCALE),
        ]
    if reproduction.real or reproduction.chooses:
        flags += [
            click.option("--real", type=PATH, help="Real images, a folder or zip."),
            click.option("--extractor", metavar="NAME", help=EXTRACTOR),
        ]
    if reproduction.learns:
        flags.append(click.option("--maps", metavar="NAME", help=MAPS))
    if reproduction.people == "labels":
        flags += [click.option("--labels", type=FILE, default=FACE_LABELS, help="Label file.")]
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

    gallery = GALLERIES.get(name)
    run = (lambda case: draw(gallery, Scene(case))) if gallery else reproduction.run
    about = f"{gallery.title}." if gallery else reproduction.run.__doc__

    def call(**values: Any) -> None:
        sizes = {size: values.pop(size) for size in PROTOCOL[name]}
        asked = Asked(name, values.pop("network", ""), sizes=sizes, **values)
        needs = (reproduction.real, reproduction.chooses)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GanfixWarning)  # tables show bad choices, too
            with opened(asked, *needs) if reproduction.networks else reported(asked) as report:
                run(report)

    for option in reversed(options(name, reproduction)):
        call = option(call)
    help = f"{shown_by(name)}: {about}"
    return click.command(name, cls=Command, help=help)(call)


for name, reproduction in COMMANDS.items():
    main.add_command(command(name, reproduction))


if __name__ == "__main__":
    main()
