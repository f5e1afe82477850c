"""What commands share: their options, errors in one line, the generator that --network names."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import Labels

Function = Callable[..., Any]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a GanfixError as click shows its own: one line, status 1. Of the ranks of torchrun only
    one prints."""
    from ganfix_plugin import workers
    from ganfix_plugin.errors import GanfixError
    from ganfix_plugin.hosts.console import speak

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
    """A group of such commands."""

    command_class = Command


command = functools.partial(click.command, cls=Command)


def gathers(**parts: Callable[..., Any]) -> Callable[[Function], Function]:
    """Give a command some of its options as one argument: what a part makes of those options that
    it has parameters for."""
    names = {argument: list(inspect.signature(make).parameters) for argument, make in parts.items()}

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def gathered(*args: Any, **values: Any) -> Any:
            for argument, make in parts.items():
                values[argument] = make(*(values.pop(name) for name in names[argument]))
            return function(*args, **values)

        return gathered

    return decorate


def several(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Options as one decorator, in the order in which help lists them."""
    return lambda function: functools.reduce(lambda f, option: option(f), options[::-1], function)


class _Png(click.Path):
    """The name of a picture to write."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() != ".png":
            self.fail(f"found {path}, expected a name that ends in .png", param, ctx)
        return path


PNG = _Png(dir_okay=False)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
IMAGES = click.Path(path_type=Path)
RATE = click.FloatRange(0, 1)

NETWORK_HELP = (
    "A network pickle, a genforce model name or .pth, or module:function returning a generator."
)
device = click.option("--device", envvar="GANFIX_DEVICE", help="cpu, cuda or mps.")
adapter = click.option(
    "--adapter", "adapter_name", help="An adapter's name, where none or several recognise it."
)


def title_of(network: str) -> str:
    """``--network`` as pictures name it: without folders."""
    return network.rpartition("/")[2]


@dataclass(frozen=True)
class Network:
    """``--network`` and what belongs to it.

    Attributes:
        name: as given.
        host: the codebase's checkout; None is the current folder.
        device: where it runs; None is CUDA where there is some, else the CPU.
        adapter_name: takes this adapter instead of looking for one.
    """

    name: str
    host: Path | None
    device: str | None
    adapter_name: str | None

    @property
    def title(self) -> str:
        """Its name for pictures."""
        return title_of(self.name)

    @contextmanager
    def opened(self) -> Iterator[Generator]:
        """The generator, while its host's imports are in place.

        Raises:
            GanfixError: if there is no such network, or no adapter that knows it.
        """
        from ganfix_plugin.hosts.loading import open_network

        with open_network(self.name, self.host, self.device, self.adapter_name) as generator:
            yield generator


network = several(
    click.option("--network", "name", required=True, metavar="NETWORK", help=NETWORK_HELP),
    click.option(
        "--host",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The codebase's checkout. [default: the current folder]",
    ),
    device,
    adapter,
    gathers(network=Network),
)


def correct(
    help: str, required: bool = True, metavar: str | None = "NAME[:key=value,…]"
) -> Callable[[Function], Function]:
    """``--correct``, any number of times."""
    return click.option(
        "--correct", "specs", multiple=True, required=required, metavar=metavar, help=help
    )


def extractor(function: Function) -> Function:
    """``--extractor`` of a classifier and of whatever sees as it does."""
    return click.option(
        "--extractor",
        metavar="NAME",
        help="resnet18 (the paper's), efficientnet-lite0, discriminator (NVIDIA's pickles), or "
        "module:callable from images [N,3,H,W] in [-1,1] to feature maps. [default: resnet18 if "
        "its weights are on disk, else efficientnet-lite0]",
    )(function)


real = click.option("--real", type=IMAGES, help="Real images, a folder or zip.")


def labels(help: str, required: bool = False) -> Callable[[Function], Function]:
    """``--labels``, any number of files of one generator."""
    return click.option("--labels", "files", type=FILE, multiple=True, required=required, help=help)


def merged(files: Sequence[Path]) -> Labels:
    """All labels of several files of one generator.

    Raises:
        GanfixError: if a file cannot be read, or they are of different generators.
    """
    from ganfix_plugin.labels import merge, read

    return merge(map(read, files))


def seed_range(num: int) -> Callable[[Function], Function]:
    """``--num`` and ``--first``: how many seeds to rank, and from which one on."""
    return several(
        click.option(
            "--num",
            type=click.IntRange(1),
            default=num,
            show_default=True,
            help="How many seeds, from --first on.",
        ),
        click.option(
            "--first",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="The first seed.",
        ),
        gathers(seeds=lambda num, first: range(first, first + num)),
    )


def samples(help: str = "Latents of the profile.") -> Callable[[Function], Function]:
    """``--samples``."""
    return click.option("--samples", default=10_000, show_default=True, help=help)


def count(flag: str, default: int, help: str) -> Callable[[Function], Function]:
    """A whole number with a default."""
    return click.option(flag, default=default, show_default=True, help=help)


class_index = click.option(
    "--class", "class_index", type=int, help="The class (conditional generators)."
)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, the first one being the header."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
