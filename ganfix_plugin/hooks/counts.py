"""How often corrections acted in this process, by the token of their attachment.

The generator and its copies share a token, and so does a pickle of it in another process, whose
counts are added by `add_counts`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


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
_counting = threading.Lock()
_uncounted = ContextVar("_uncounted", default=False)


def count(token: str, runs: int, rows: Iterable[int]) -> None:
    """Add to the counts of a token, as in `Count`."""
    if _uncounted.get():
        return
    with _counting:
        total = _counts.setdefault(token, Count())
        total.runs += runs
        total.rows.extend(rows)


def counted(token: str) -> Count:
    """What was counted for a token so far."""
    return _counts.get(token, Count())


def process_counts() -> dict[str, tuple[int, str]]:
    """What every correction did in this process, by token, in a form that JSON holds."""
    with _counting:
        return {token: (total.runs, total.rows.hex()) for token, total in _counts.items()}


def add_counts(more: Mapping[str, tuple[int, str]]) -> None:
    """Add what another process counted (`process_counts`) to the counts of this one."""
    for token, (runs, rows) in more.items():
        count(token, runs, bytes.fromhex(rows))


@contextmanager
def uncounted() -> Iterator[None]:
    """Passes in here do not count as use: module summaries, warm-ups."""
    before = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(before)
