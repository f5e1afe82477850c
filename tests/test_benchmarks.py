"""The benchmarks run: by the core that times things, and by the command in its smallest sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import core

    yield core
    del sys.modules["core"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "run.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ})


def ticking(steps: list[float]) -> tuple[Callable[[], float], Callable[[], None]]:
    """A clock, and work that takes the next of some steps on it."""
    now = [0.0]

    def work() -> None:
        now[0] += steps.pop(0)

    return lambda: now[0], work


def test_works_take_turns_and_those_that_warm_up_do_not_count(core: ModuleType) -> None:
    clock, work = ticking([90, 80, 1, 3, 2, 8])
    turns = core.side_by_side({"ours": work, "theirs": work}, repeats=2, by=clock)
    assert turns.seconds == {"ours": [1, 2], "theirs": [3, 8]}


def test_the_ratio_is_the_median_of_the_turns_own_ratios(core: ModuleType) -> None:
    turns = core.Turns({"ours": [1, 1, 10], "theirs": [3, 8, 40]})
    row = core.faster("what", turns, "ours", "theirs", 4)
    assert row.ratio == "**4.0×** (3.0–8.0)" and row.met
    assert not core.faster("what", turns, "ours", "theirs", 4.5).met


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5e-6, "2.5 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (123.4, "123 s"), (0.99, "990 ms")],
)
def test_durations_have_three_digits(core: ModuleType, seconds: float, text: str) -> None:
    assert core.duration(seconds) == text


def test_the_command_prints_a_table_dated_and_with_the_machine_and_draws_the_plot(
    tmp_path: Path,
) -> None:
    parts = ("--only=hooks", "--only=frechet", "--only=growth")
    done = run("--quick", "--repeats=1", *parts, f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    first, *_ = lines = done.stdout.splitlines()
    assert "cores" in first and "torch" in first and "thread" in first
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == "| what | ours | peer | ratio | floor | met |" and len(table) > 6
    assert {line.count("|") for line in table} == {7}
    assert (tmp_path / "benchmarks.md").read_text().splitlines() == lines
    assert Image.open(tmp_path / "growth.png").width > 1000


@pytest.mark.parametrize("panels", [0, 1, 4])
def test_growth_is_drawn_a_panel_for_each_thing_that_varies(
    panels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from curves import draw

    curves = {"one": {64.0: 1e-5, 1024.0: 3.0}, "single": {64.0: 0.02}}
    draw(tmp_path / "g.png", "T", "n", {str(i): curves for i in range(panels)})
    picture = Image.open(tmp_path / "g.png")
    assert picture.width == int(150 * 4.2 * min(max(panels, 1), 3))
    assert (np.asarray(picture).std() > 5) == bool(panels)


def test_parts_without_their_checkout_are_left_out_and_named() -> None:
    done = run("--quick", "--only=authors", "--only=gandissect")
    assert done.returncode == 0, done.stderr
    assert "Left out: authors, which needs --authors DIR." in done.stdout
    assert "Left out: gandissect, which needs --gandissect DIR." in done.stdout
