"""`ganfix label` and what it shares with `ganfix judge`; answers as a label file."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from ganfix_plugin.commands.options import (
    NETWORK_HELP,
    Command,
    adapter_option,
    device_option,
    one_line_errors,
    opened,
)
from ganfix_plugin.commands.prepare import FILE, extractor_option, labels

PORT = 8642


class _HostType(click.ParamType):
    """A checkout, as for the other commands, or an address to listen on."""

    name = "DIR|ADDRESS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        import ipaddress

        if value == "localhost":
            return str(value)
        with suppress(ValueError):
            return str(ipaddress.ip_address(value))
        if not Path(value).is_dir():
            self.fail(f"{value!r} is neither a folder nor an IP address", param, ctx)
        return Path(value)


def serving_options(command: Command) -> Command:
    """The options of a command that serves pages about a generator."""
    options = (
        click.option(
            "--host",
            "hosts",
            type=_HostType(),
            multiple=True,
            help="The codebase's checkout [default: the current folder], or the address to listen "
            "on [default: 127.0.0.1, this machine only]. May be given twice, once for each.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=PORT,
            show_default=True,
            help="0 takes any that is free.",
        ),
        device_option,
        adapter_option,
        click.option(
            "--raters",
            metavar="NAME,NAME,…",
            help="Who answers; each gets a link of their own. [default: your user name]",
        ),
        click.option(
            "--answers",
            "file",
            type=FILE,
            default="answers.sqlite",
            show_default=True,
            help="Where answers are kept: an SQLite database, made if it is not there.",
        ),
        click.option(
            "--criteria",
            metavar="NAME|FILE",
            help="What counts as an artifact: bedroom, church or faces (the criteria of the CVPR "
            "2021 paper), or a text file with a line 'name: what to look for' for each.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--network", required=True, metavar="NETWORK", help=NETWORK_HELP)
@serving_options
@click.option("--num", default=2000, show_default=True, help="Generations to label, seeds 0 on.")
@click.option(
    "--order",
    type=click.Choice(["informative", "random"]),
    default="informative",
    show_default=True,
    help="The generations that teach a classifier most come first; or any, so that the labels "
    "estimate the share of artifacts however far you get.",
)
@extractor_option
@click.option("--samples", default=10_000, show_default=True, help="Latents for the LR count.")
@one_line_errors
def label(
    network: str,
    hosts: tuple[Path | str, ...],
    port: int,
    device: str | None,
    adapter: str | None,
    raters: str | None,
    file: Path,
    criteria: str | None,
    num: int,
    **options: Any,
) -> None:
    """Label generations as artifact or normal, on a page in your browser, by keyboard.

    \b
    ganfix label --network ffhq.pkl --criteria faces
    ganfix labels export answers.sqlite --out labels.csv
    ganfix fit --network ffhq.pkl --labels labels.csv

    Every answer is on disk before the page says so: stop the server, close the page, go on later.
    """
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.web.answers import Answers
    from ganfix_plugin.web.criteria import read_criteria

    checkout, address = host_and_address(hosts)
    known = read_criteria(criteria) if criteria else ()
    if not 1 <= num <= 100_000:
        raise GanfixError(f"--num {num}: expected 1 to 100000")
    with pages_installed():
        from ganfix_plugin.web import start
        from ganfix_plugin.web.server import Place

        names = raters_of(raters)
        place = Place.open(address, port)
    with suppress(KeyboardInterrupt), opened(network, checkout, device) as G:
        generator = Generator.of(G, adapter)
        with closing(Answers(file, generator.fingerprint)) as answers:
            options |= {"num": num, "criteria": known}
            start.label(generator, answers, place, names, **options)


@labels.command("export")
@click.argument("answers", type=FILE)
@click.option("--out", type=FILE, required=True, help="The label file (.csv or .json).")
@one_line_errors
def export(answers: Path, out: Path) -> None:
    """Write the ANSWERS of ganfix label as a label file; skipped images are left out."""
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.files import ready
    from ganfix_plugin.labels import KINDS, keep, write
    from ganfix_plugin.web.answers import Answers

    found = Answers(answers).labels()
    ready(out)
    if not found.items:
        raise GanfixError(f"answers {answers}: nothing is labelled yet; run ganfix label")
    write(found, out)
    keep(found)
    counts = ", ".join(f"{len(found.seeds(kind))} {kind}" for kind in KINDS)
    click.echo(f"{len(found.items)} labels, by majority {counts}: {out}")


@contextmanager
def pages_installed() -> Iterator[None]:
    """Explain what to install where Flask or Waitress is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        from ganfix_plugin.errors import GanfixError

        if error.name not in ("flask", "waitress"):
            raise
        raise GanfixError(f"the pages need {error.name}: run pip install 'ganfix[web]'") from None


def host_and_address(hosts: Sequence[Path | str]) -> tuple[Path | None, str]:
    """The checkout and the address to listen on that --host named."""
    from ganfix_plugin.errors import GanfixError

    folders = [each for each in hosts if isinstance(each, Path)]
    addresses = [each for each in hosts if isinstance(each, str)]
    if len(folders) > 1 or len(addresses) > 1:
        raise GanfixError("--host: expected one folder and one address at most")
    return (folders[0] if folders else None), (addresses[0] if addresses else "127.0.0.1")


def _user() -> str:
    """The user's name, if there is one that can be a rater's."""
    from ganfix_plugin.web.guard import is_rater

    with suppress(OSError, KeyError, ImportError):
        name = getpass.getuser()
        if is_rater(name):
            return name
    return "me"


def raters_of(text: str | None) -> list[str]:
    """The names in a list."""
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.web.guard import is_rater

    names = list(dict.fromkeys(name.strip() for name in (text or _user()).split(",")))
    for name in names:
        if not is_rater(name):
            raise GanfixError(
                f"--raters: found {name!r}, expected names of 1 to 40 letters of a to z, digits, "
                "- and _, since they become part of the link"
            )
    return names
