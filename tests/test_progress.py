"""How far a long work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from ganfix_plugin import workers
from ganfix_plugin.workers import duration, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one."""
    now = [100.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress(iter("abcd"), 4, "rendering")) == [*"abcd"]
    assert "ganfix: rendering:" in terminal.getvalue() and "| 0/4 [" in terminal.getvalue()


def test_elsewhere_a_line_is_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    for _ in progress(range(10), 10, "rendering"):
        clock[0] += 15
    # A line after 5 seconds, and then every 20; the last step needs none.
    assert file.getvalue().splitlines() == [
        "ganfix: rendering: 10%, 2 minutes left",
        "ganfix: rendering: 30%, 105 seconds left",
        "ganfix: rendering: 50%, 75 seconds left",
        "ganfix: rendering: 70%, 45 seconds left",
        "ganfix: rendering: 90%, 15 seconds left",
    ]


def test_what_is_quick_says_nothing_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    assert list(progress(range(5), 5, "rendering")) == [*range(5)] and not file.getvalue()


def test_of_several_ranks_only_the_first_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress(range(5), 5, "rendering")) == [*range(5)] and not terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (1.4, "1 second"),
        (100, "100 seconds"),
        (150, "2 minutes"),
        (7000, "117 minutes"),
        (40_000, "11 hours"),
    ],
)
def test_durations_are_in_the_unit_that_people_would_choose(seconds: float, text: str) -> None:
    assert duration(seconds) == text
