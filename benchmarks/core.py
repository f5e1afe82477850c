"""What all measurements share: timing side by side, the rows of the table, the points of curves.

Two ways to do one thing are timed turn by turn in one process, and their ratio is the median of the
turns' own ratios, so that whatever slows the machine down slows both. Times of different runs are
never compared.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ganfix_plugin._version import __version__

Work = Callable[[], Any]
Clock = Callable[[], float]

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Setup:
    """How to measure.

    Attributes:
        authors, genforce, gandissect, ada: checkouts to compare with.
        resolutions, models: of the authors' part.
        repeats: turns of each; medians are shown.
        quick: sizes that only show that everything runs.
    """

    authors: Path | None = None
    genforce: Path | None = None
    gandissect: Path | None = None
    ada: Path | None = None
    resolutions: tuple[int, ...] = (256, 1024)
    models: tuple[str, ...] = ("stylegan2", "pggan")
    repeats: int = 3
    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        """A size, or the one that only shows that it runs."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """A row of the table: ours beside the peer's, and the floor or limit that we hold ourselves to.

    Attributes:
        met: None where nothing is asked for.
    """

    what: str
    ours: str
    peer: str
    ratio: str = ""
    floor: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return f"| {self.what} | {self.ours} | {self.peer} | {self.ratio} | {self.floor} | {met} |"


HEAD = "| what | ours | peer | ratio | floor | met |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Curve:
    """How something grows: the figure by what it grows with.

    Attributes:
        panel: what it grows with and its unit, the same for all curves of one plot.
    """

    panel: str
    name: str
    points: Mapping[float, float]


Results = Iterator[Row | Curve]


def processor() -> float:
    """Seconds of processor time of this process, all threads: others on the machine cost none."""
    return time.process_time()


def children() -> float:
    """Seconds of processor time of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def clock() -> Clock:
    """Processor time on one thread; wall time on several, which also wait for one another."""
    return processor if torch.get_num_threads() == 1 else time.perf_counter


@dataclass(frozen=True)
class Turns:
    """Seconds of several works, turn by turn, by name."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, to: str) -> list[float]:
        """Of each turn, one work's time over another's."""
        return [a / b for a, b in zip(self.seconds[name], self.seconds[to])]

    def differences(self, name: str, to: str) -> list[float]:
        return [a - b for a, b in zip(self.seconds[name], self.seconds[to])]

    def fastest(self, *names: str) -> str:
        return min(names, key=self.median)


def side_by_side(
    works: Mapping[str, Work], repeats: int, by: Clock | None = None, warm: int = 1
) -> Turns:
    """Run works in turns and time each.

    Args:
        by: the clock, by default `clock`'s.
        warm: turns before those that count.
    """
    by = by or clock()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm + repeats):
        for name, work in works.items():
            start = by()
            work()
            if turn >= warm:
                seconds[name].append(by() - start)
    return Turns(seconds)


def faster(
    what: str,
    turns: Turns,
    ours: str,
    peer: str,
    floor: float | None = None,
    count: int = 1,
    notes: tuple[str, str] = ("", ""),
    theirs: int = 0,
) -> Row:
    """A row about how many times faster we are.

    Args:
        count: how many of what is counted a turn did.
        theirs: the same of the peer's, where that is another number.
        notes: on ours and the peer's, after the times.
    """
    theirs = theirs or count
    ratios = [ratio * count / theirs for ratio in turns.ratios(peer, ours)]
    ratio = statistics.median(ratios)
    return Row(
        what,
        f"{duration(turns.median(ours) / count)}{notes[0]}",
        f"{duration(turns.median(peer) / theirs)}{notes[1]}",
        f"**{ratio:.1f}×** ({min(ratios):.1f}–{max(ratios):.1f})",
        f"≥ {floor:g}×" if floor else "",
        ratio >= floor if floor else None,
    )


def duration(seconds: float) -> str:
    """With three digits, in the unit that suits."""
    for size, unit in ((1, "s"), (1e-3, "ms")):
        if abs(seconds) >= size:
            return (
                f"{seconds / size:.3g} {unit}"
                if seconds < 100 * size
                else f"{seconds / size:.0f} {unit}"
            )
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-4 else f"{seconds * 1e6:.0f} µs"


def python(*command: str, **variables: str) -> str:
    """Run Python with a command line of its own; what it printed."""
    env = {**os.environ, **variables}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def machine() -> str:
    """When and where this ran, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    threads = torch.get_num_threads()
    timed = "processor time" if threads == 1 else "wall time"
    return (
        f"{date.today()}: {_model()}, {os.cpu_count()} cores, {memory:.0f} GB; Python "
        f"{platform.python_version()}, torch {torch.__version__}, ganfix {__version__}; "
        f"{threads} thread{'s'[: threads != 1]}, {timed}; load {os.getloadavg()[0]:.1f}"
    )


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
