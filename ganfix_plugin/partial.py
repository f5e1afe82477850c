"""What was worked out so far, kept every few seconds, so that work that was stopped goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ganfix_plugin.files import read_sealed, save_sealed
from ganfix_plugin.rows import Rows
from ganfix_plugin.workers import Tensors

T = TypeVar("T")

EVERY = 5.0  # seconds
_SHARE = 50  # saving may take one part in so many of the time


class Partial:
    """A file of what is not complete. Whoever names it makes sure that the name changes with all
    that the numbers depend on, and removes it when they are kept elsewhere.

    Args:
        path: None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._due = time.monotonic() + EVERY

    def read(self) -> Tensors:
        """What was kept; empty if nothing was, or the file is damaged."""
        return (self.path and read_sealed(self.path)) or {}

    def keep(self, tensors: Callable[[], Tensors], now: bool = False) -> None:
        """Write ``tensors()`` if it is time, or ``now``."""
        start = time.monotonic()
        if self.path is not None and (now or start >= self._due):
            save_sealed(self.path, tensors())
            end = time.monotonic()
            self._due = end + max(EVERY, _SHARE * (end - start))

    def remove(self) -> None:
        """What was to be completed is."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def rows(batches: Iterable[T], of: Callable[[T], Tensor], partial: Partial) -> Tensor:
    """The rows [n, …] that are made of each batch, on the CPU; those that were kept are not made
    again."""
    kept, made = partial.read(), Rows()
    if kept:
        made.add(kept["rows"])
    done = int(kept["batches"]) if kept else 0
    for number, batch in enumerate(batches, 1):
        if number > done:
            made.add(of(batch))
            done = number
            partial.keep(lambda: {"rows": made.whole(), "batches": torch.tensor(done)})
    partial.keep(lambda: {"rows": made.whole(), "batches": torch.tensor(done)}, now=True)
    return made.whole()
