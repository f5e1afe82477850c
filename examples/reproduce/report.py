"""What a command was asked for, and what it says, shows and draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import click
from papers import Published, markdown
from protocol import PROTOCOL
from small import SMALL, Small

from ganfix_plugin.files import ready, write_text


@dataclass(frozen=True)
class Asked:
    """What the user asked for, by the names of the options; a small network brings what it has."""

    command: str
    network: str
    host: Path | None = None
    device: str | None = None
    adapter_name: str | None = None
    real: Path | None = None
    labels: Path | None = None
    answers: Path | None = None
    extractor: str | None = None
    maps: str | None = None
    subject: str | None = None
    scale: float | None = None
    sizes: dict[str, int | None] = field(default_factory=dict)
    first: int = 0
    out: Path = Path("out/reproduce")

    def __post_init__(self) -> None:
        for name in ("real", "labels", "extractor", "maps"):
            if self.small and getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.small, name))

    @property
    def small(self) -> Small | None:
        """The small network that was asked for, if it is one."""
        return SMALL.get(self.network)

    def size(self, name: str) -> int:
        """A number of the protocol: as given, or scaled, or the paper's; smaller here."""
        size, wanted = PROTOCOL[self.command][name], self.sizes.get(name)
        if wanted is not None:
            return wanted
        if self.scale is not None:
            return max(2, round(self.scale * size.paper))
        return size.here if self.small else size.paper


@dataclass(frozen=True, eq=False)
class Report:
    """What a command says, shows and draws.

    Attributes:
        asked: the options.
        lines: what was said so far; it is also written beside the pictures.
    """

    asked: Asked
    lines: list[str] = field(default_factory=list, init=False)

    @cached_property
    def published(self) -> Published:
        """The paper's table."""
        return Published.of(self.asked.command)

    def say(self, text: str) -> None:
        """Print it, and keep it."""
        click.echo(text)
        self.lines.append(text)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table, and keep it."""
        self.say(f"\n{markdown(rows)}\n")

    def picture(self, name: str = "") -> Path:
        """Where a picture goes."""
        return self.asked.out / f"{self.asked.command}{name}.png"


@contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Write what was said beside the pictures, when all went well."""
    yield
    write_text(report.asked.out / f"{report.asked.command}.md", "\n".join(report.lines) + "\n")
    click.echo(f"written to {report.asked.out}")


@contextmanager
def reported(asked: Asked) -> Iterator[Report]:
    """A report about no network, only about what people answered."""
    report = Report(asked)
    ready(asked.out, folder=True)
    with reporting(report):
        yield report
