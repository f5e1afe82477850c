"""What the fuzzers share: cases that are told by a number, and what counts as a clear answer.

A case that fails may only do so by a `GanfixError` of one line. What else comes of it is shown in
one line, with the numbers that bring it back.
"""

from __future__ import annotations

import os
import random
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

import ganfix_plugin
from ganfix_plugin import GanfixError

SLOW = 20.0  # seconds of one case, after which it counts as hanging
DEEP = "[" * 100_000
Case = Callable[[random.Random], tuple[str, Callable[[], object]]]
"""From a random state to what is tried, in few words, and the trial."""


def fuzz(case: Case, cases: int, seed: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """Run cases; returns how many were "taken" and "refused", and what was found, by case."""
    outcomes: Counter[str] = Counter()
    found: list[str] = []
    for number in range(first, first + cases):
        what, trial = case(random.Random(f"{seed} {number}"))
        outcome = outcome_of(trial)
        outcomes[outcome if outcome in ("taken", "refused") else "found"] += 1
        if outcome not in ("taken", "refused"):
            found.append(f"--seed {seed} --first {number}: {what}: {outcome}")
    return outcomes, found


def outcome_of(trial: Callable[[], object]) -> str:
    """ "taken" if it went well, "refused" if in one line; or else what was wrong with it."""
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial()
    except GanfixError as error:
        if len(str(error).splitlines()) != 1:
            return f"an error that is not one line: {str(error)!r}"
        outcome = "refused"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of extensions, too
        ours = Path(ganfix_plugin.__file__).parent
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if str(ours) in f.filename]
        what = (str(error).splitlines() or [""])[0][:120]
        return f"{type(error).__name__} at {places[-1] if places else '?'}: {what}"
    else:
        outcome = "taken"
    seconds = time.monotonic() - start
    return outcome if seconds < SLOW else f"{seconds:.0f} seconds"


def report(outcomes: Counter[str], found: list[str]) -> str:
    """What a run comes to, and all that was found."""
    counts = ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items()))
    return "\n".join([*found, f"{outcomes.total()} cases: {counts}"])


def command(case_in: Callable[[Path], Case], cases: int, does: str) -> click.Command:
    """A long run by hand; ``case_in`` makes cases that may use a folder."""

    @click.command(help=does)
    @click.option("--cases", default=cases, show_default=True)
    @click.option("--seed", default=0, show_default=True)
    @click.option("--first", default=0, show_default=True, help="The first case.")
    def main(cases: int, seed: int, first: int) -> None:
        torch.set_num_threads(1)
        with TemporaryDirectory() as folder:
            os.environ["GANFIX_CACHE"] = str(Path(folder, "cache"))
            outcomes, found = fuzz(case_in(Path(folder)), cases, seed, first)
        click.echo(report(outcomes, found))
        raise SystemExit(bool(found))

    return main


# --- damage


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Cut short, overwritten, swapped, grown, or nothing like it any more."""
    n = len(content)
    place, size = chance.randrange(n + 1), chance.choice([1, 1, 2, 8, 100])
    ways: list[Callable[[], bytes]] = [
        lambda: content[:place],
        lambda: content[place:],
        lambda: content[:place] + chance.randbytes(size) + content[place + size :],
        lambda: content[:place] + bytes(size) + content[place + size :],
        lambda: content[:place] + chance.randbytes(size) + content[place:],
        lambda: content[:place] + content[place + size :],
        lambda: content + chance.randbytes(size),
        lambda: chance.choice([b"", b"\0" * 512, b"PK\x03\x04", DEEP.encode(), b"\x80\x04N."]),
        lambda: chance.randbytes(chance.randrange(2000)),
        # The beginning, where headers are.
        lambda: content[: place % 64] + chance.randbytes(size) + content[place % 64 + size :],
    ]
    return chance.choice(ways)()


STRANGE: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    3.5,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "a\nb",
    "é\0",
    [],
    {},
    [None],
    [[1]],
    {"x": 1},
    "9" * 5000,
    ["a", "b"],
)


def damaged_value(value: object, chance: random.Random) -> object:
    """A value of JSON with something strange in one place of it, or something missing."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.8:
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = chance.choice(places)
        changed = value.copy()
        way = chance.random()
        if way < 0.15:
            del changed[place]
        elif way < 0.25 and isinstance(changed, dict):
            changed[f"{place}x"] = changed.pop(place)
        else:
            changed[place] = damaged_value(value[place], chance)  # type: ignore[call-overload]
        return changed
    return chance.choice(STRANGE)
