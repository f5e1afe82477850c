"""What commands share: their options, and the generator that --network names."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ganfix_plugin.commands.group import device
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.loading import open_network
from ganfix_plugin.labels import LAST_SEED, Labels, merge, read, seeds_of
from ganfix_plugin.workers import rank

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]


def gathers(**parts: Callable[..., Any]) -> Decorator:
    """Give a command some of its options as one argument: what a part makes of those options that
    it has parameters for."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def gathered(*args: Any, **values: Any) -> Any:
            for argument, make in parts.items():
                values[argument] = make(*map(values.pop, inspect.signature(make).parameters))
            return function(*args, **values)

        return gathered

    return decorate


def several(*options: Decorator) -> Decorator:
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
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)


class Fraction(click.FloatRange):
    """A number from 0 to 1, or an open end of that; click's own range takes NaN for one."""

    def __init__(self, low_open: bool = False, high_open: bool = False) -> None:
        super().__init__(0, 1, low_open, high_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"found {value}, expected a number from 0 to 1", param, ctx)
        return number


class _Count(click.IntRange):
    """How many; the upper end is only what a file format holds."""

    def _describe_range(self) -> str:
        return f"{self.min} to 2 billion"


COUNT = _Count(1, 2**31 - 1)
SEED = click.IntRange(0, 2**32 - 1)
EACH_END = "How many of each end of the ranking"  # --top


def preset(flag: str, default: Any, help: str, **more: Any) -> Decorator:
    """An option whose help shows its default. Of a whole number that is a `COUNT`, or a `SEED`,
    unless another type is named."""
    if type(default) is int:
        more.setdefault("type", SEED if flag in ("--seed", "--first") else COUNT)
    return click.option(flag, default=default, show_default=True, help=help, **more)


NETWORK_HELP = (
    "A network pickle, a genforce model name or .pth, or module:function returning a generator."
)
host = click.option(
    "--host",
    type=EXISTING_FOLDER,
    help="The codebase's checkout. [default: the current folder]",
)
adapter = click.option(
    "--adapter",
    "adapter_name",
    metavar="NAME",
    help="The generator's family, where none or several recognise it; see 'ganfix list'.",
)


def title_of(network: str) -> str:
    """``--network`` as pictures name it: without folders."""
    return network.rpartition("/")[2]


@dataclass(frozen=True)
class Network:
    """``--network`` as given, and where and how to open it, as `open_network` takes it."""

    name: str
    host: Path | None
    device: str | None
    adapter_name: str | None

    @property
    def title(self) -> str:
        """Its name for pictures."""
        return title_of(self.name)

    def opened(self) -> AbstractContextManager[Generator]:
        """The generator, while its host's imports are in place; errors as of `open_network`."""
        return open_network(self.name, self.host, self.device, self.adapter_name)


network = several(
    click.option("--network", "name", required=True, metavar="NETWORK", help=NETWORK_HELP),
    host,
    device,
    adapter,
    gathers(network=Network),
)


exact = click.option(
    "--exact",
    is_flag=True,
    help="Measure with the codebase's own convolutions on a CPU, too, to compare with other code. "
    "Ours are several times as fast there, and the same but for rounding.",
)


def correct(
    help: str, required: bool = True, metavar: str | None = "NAME[:key=value,…]"
) -> Decorator:
    """``--correct``, any number of times."""
    return click.option(
        "--correct", "specs", multiple=True, required=required, metavar=metavar, help=help
    )


extractor = click.option(
    "--extractor",
    metavar="NAME",
    help="resnet18 (the paper's), efficientnet-lite0, discriminator (the network's own), or "
    "module:callable from images [N,3,H,W] in [-1,1] to feature maps. [default: resnet18 if "
    "its weights are there or can be downloaded, else efficientnet-lite0, else discriminator]",
)
real = click.option("--real", type=PATH, help="Real images, a folder or zip.")
real_required = click.option(
    "--real", type=PATH, required=True, help="Real images, a folder or zip."
)
classifier = click.option(
    "--classifier", type=FILE, help="A classifier. [default: the one that ganfix fit kept]"
)
class_index = click.option(
    "--class", "class_index", type=click.IntRange(0), help="The class (conditional generators)."
)


def labels(help: str, required: bool = False) -> Decorator:
    """``--labels``, any number of files of one generator."""
    return click.option("--labels", "files", type=FILE, multiple=True, required=required, help=help)


def merged(files: Sequence[Path]) -> Labels:
    """All labels of several files of one generator; errors as of `read` and `merge`."""
    return merge(map(read, files))


def seed_range(num: int) -> Decorator:
    """``--num`` and ``--first``: how many seeds to rank, and from which one on."""
    return several(
        preset("--num", num, "How many seeds, from --first on."),
        preset("--first", 0, "The first seed."),
        gathers(seeds=_range),
    )


def _range(num: int, first: int) -> range:
    if first + num > LAST_SEED + 1:
        raise click.BadParameter(
            f"{num} seeds from {first} on end above {LAST_SEED}, the last one", param_hint="--first"
        )
    return range(first, first + num)


def seeds_option(default: str) -> Decorator:
    """``--seeds``, one by one."""
    return preset("--seeds", default, "As 0-7 or 1,5,8.", callback=_seeds)


def _seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    try:
        return seeds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _aside(context: click.Context, option: click.Parameter, as_json: bool) -> bool:
    """With --json, what else would be printed goes to stderr, a codebase's own lines among it."""
    if as_json:
        context.obj = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return as_json


def json_option(help: str = "Print JSON, for scripts.") -> Decorator:
    """``--json``, for `tell`."""
    return click.option("--json", "as_json", is_flag=True, callback=_aside, help=help)


as_json = json_option()


def tell(as_json: bool, record: Mapping[str, Any], *lines: object) -> None:
    """Print a record as JSON, or lines for people; rank 0 only."""
    if not as_json:
        click.echo("\n".join(map(str, lines)))
    elif not rank():
        click.echo(json.dumps(record, indent=1), file=click.get_current_context().obj)


def samples(help: str = "Latents of the profile.") -> Decorator:
    """``--samples``."""
    until = "[default: until two halves of them agree, at most 10000]"
    return click.option("--samples", type=COUNT, help=f"{help} {until}")
