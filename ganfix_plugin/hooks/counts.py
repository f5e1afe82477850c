"""How often corrections acted in this process, by the token of their attachment.

The generator and its copies share a token, and so does a pickle of it in another process, whose
counts are added by `add_counts`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass


@dataclass
class Count:
    """What a correction did in this process."""

    runs: int = 0
    samples: int = 0
    corrected: int = 0


_counts: dict[str, Count] = {}
_counting = threading.Lock()
_uncounted = ContextVar("_uncounted", default=False)


def count(token: str, runs: int = 0, samples: int = 0, corrected: int = 0) -> None:
    """Add to the counts of a token."""
    if _uncounted.get():
        return
    with _counting:
        total = _counts.setdefault(token, Count())
        total.runs += runs
        total.samples += samples
        total.corrected += corrected


def counted(token: str) -> Count:
    """What was counted for a token so far."""
    return _counts.get(token, Count())


def process_counts() -> dict[str, dict[str, int]]:
    """What every correction did in this process, by token: for a process that adds them up."""
    with _counting:
        return {token: asdict(total) for token, total in _counts.items()}


def add_counts(more: Mapping[str, Mapping[str, int]]) -> None:
    """Add what another process counted to the counts of this one."""
    for token, numbers in more.items():
        count(token, **numbers)


@contextmanager
def uncounted() -> Iterator[None]:
    """Passes in here do not count as use: module summaries, warm-ups."""
    before = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(before)
