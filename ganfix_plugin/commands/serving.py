"""What the commands share that serve pages about a generator: `label`, `judge` and `explore`."""

from __future__ import annotations

import getpass
import ipaddress
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.options import FILE, Network, gathers, preset, several
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.web.criteria import read_criteria

if TYPE_CHECKING:  # at run time once they are needed: Flask and SQLite may not be there
    from ganfix_plugin.web.answers import Answers
    from ganfix_plugin.web.server import Place


def _address(context: click.Context, option: click.Parameter, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected an IP address") from None


@dataclass(frozen=True)
class Serving:
    """Where pages are served, to whom, and where their answers are kept: the options as given."""

    host: Path | None
    listen: str
    port: int
    device: str | None
    adapter_name: str | None
    rater_list: str | None
    answers: Path

    def _place(self) -> Place:
        """The port, listened on already."""
        try:
            from ganfix_plugin.web import start  # noqa: F401
            from ganfix_plugin.web.server import Place
        except ModuleNotFoundError as error:
            if error.name not in ("flask", "waitress"):
                raise
            raise GanfixError(
                f"the pages need {error.name}: run pip install 'ganfix[web]'"
            ) from None
        return Place.open(self.listen, self.port)

    def _raters(self) -> list[str]:
        from ganfix_plugin.web.guard import is_rater

        names = [name.strip() for name in (self.rater_list or _user()).split(",")]
        for name in names:
            if not is_rater(name):
                raise GanfixError(
                    f"--raters: found {name!r}, expected names of 1 to 40 letters of a to z, "
                    "digits, - and _, since they become part of the link"
                )
        return list(dict.fromkeys(names))

    @contextmanager
    def opened(self, network: str) -> Iterator[tuple[Generator, Answers, Place, list[str]]]:
        """The generator, the answers about it, the port, listened on already, and who answers;
        until the process is interrupted.

        Raises:
            GanfixError: if one of them cannot be had, or a package for pages is not installed.
        """
        place, raters = self._place(), self._raters()
        from ganfix_plugin.web.answers import Answers

        with (
            suppress(KeyboardInterrupt),
            Network(network, self.host, self.device, self.adapter_name).opened() as generator,
            closing(Answers(self.answers, generator.fingerprint)) as answers,
        ):
            yield generator, answers, place, raters


def _user() -> str:
    """The user's name, if there is one that can be a rater's."""
    from ganfix_plugin.web.guard import is_rater

    with suppress(OSError, KeyError, ImportError):
        name = getpass.getuser()
        if is_rater(name):
            return name
    return "me"


serving_options = several(
    options.host,
    preset(
        "--listen",
        "127.0.0.1",
        "The address to listen on, which is this machine only; 0.0.0.0 opens it to your network.",
        metavar="ADDRESS",
        callback=_address,
    ),
    preset("--port", 8642, "0 takes any that is free.", type=click.IntRange(0, 65535)),
    options.device,
    options.adapter,
    click.option(
        "--raters",
        "rater_list",
        metavar="NAME,NAME,…",
        help="Who answers; each gets a link of their own. [default: your user name]",
    ),
    preset(
        "--answers",
        "answers.sqlite",
        "Where answers are kept: an SQLite database, made if it is not there.",
        type=FILE,
    ),
    gathers(serving=Serving),
)

criteria_option = several(
    click.option(
        "--criteria",
        "criteria_name",
        metavar="NAME|FILE",
        help="What counts as an artifact, shown beside the images: bedroom, church or faces (the "
        "criteria of the CVPR 2021 paper), ffhq (those of the IJCAI 2022 one), or a text file with "
        "a line 'name: what to look for' for each.",
    ),
    gathers(criteria=lambda criteria_name: read_criteria(criteria_name) if criteria_name else ()),
)
