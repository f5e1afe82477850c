"""How often corrections acted in this process, by the token of their attachment.

The generator and its copies share a token, and so does a pickle of it in another process, which
leaves its counts in a file (`leave_counts`) that is added to those of the first (`add_counts`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Count:
    """What a correction did in this process.

    Attributes:
        runs: how often one of its layers, or its entry, ran.
        rows: 1 for each sample that was corrected, 0 for each that was not, in their order.
    """

    runs: int = 0
    rows: bytearray = field(default_factory=bytearray)

    @property
    def samples(self) -> int:
        """How many samples came by."""
        return len(self.rows)

    @property
    def corrected(self) -> int:
        """How many of them were corrected."""
        return sum(self.rows)


_counts: dict[str, Count] = {}
_left_in: list[int] = []  # the file that this process leaves its counts in, if it does
_counting = threading.Lock()
_uncounted = ContextVar("_uncounted", default=False)


def count(token: str, runs: int, rows: Iterable[int]) -> None:
    """Add to the counts of a token, as in `Count`."""
    if _uncounted.get():
        return
    row_bytes = bytes(rows)
    with _counting:
        total = _counts.setdefault(token, Count())
        total.runs += runs
        total.rows.extend(row_bytes)
        for file in _left_in:
            os.write(file, f"{token} {runs} {row_bytes.hex()}\n".encode())


def counted(token: str) -> Count:
    """What was counted for a token so far."""
    return _counts.get(token, Count())


def leave_counts(file: Path) -> None:
    """Begin to count anew, and leave every count in a file at once: a pool ends its processes
    without a chance to do that later."""
    with _counting:
        _counts.clear()
        _left_in[:] = [os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]


def add_counts(file: Path) -> None:
    """Add what another process left in a file to the counts of this one."""
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # else it was ended in the middle of it
            token, runs, rows = line[:-1].split(" ")
            count(token, int(runs), bytes.fromhex(rows))


@contextmanager
def uncounted() -> Iterator[None]:
    """Passes in here do not count as use: module summaries, warm-ups."""
    before = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(before)
