"""Is work that was killed taken up again, and does it come to the same?

    python scripts/check_resume.py [--kills 10] -- COMMAND…

runs a command once in a clean cache, and again in others, where it is killed at random moments, and
run again, until it is done. All that it leaves must be equal, byte for byte: the files of the
cache, and what the command writes to OUT, where that stands in it, a folder that is made for it.
For example

    python scripts/check_resume.py -- ganfix prepare --network net.pkl --host stylegan2-ada-pytorch
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

LEFT_ASIDE = {".lock", ".json"}  # locks, and records of when and where


@click.command()
@click.option("--kills", default=10, show_default=True, help="In all.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.argument("command", nargs=-1, required=True)
def main(kills: int, seed: int, command: tuple[str, ...]) -> None:
    """Kill a command at random moments, and compare what comes of it with an undisturbed run."""
    chance, left, failed, number = random.Random(seed), kills, False, 0
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        finish(run(command, Path(folder, "whole")))
        seconds, whole = time.monotonic() - start, left_by(Path(folder, "whole"))
        click.echo(f"undisturbed: {seconds:.1f} s, {len(whole)} files")
        while left > 0:
            place, moments, number = Path(folder, str(number)), list[float](), number + 1
            # Again and again, until it is done before it is killed.
            while left > len(moments) and killed(command, place, at := chance.uniform(0, seconds)):
                moments.append(at)
            if left == len(moments):
                finish(run(command, place))
            left -= len(moments)
            there = left_by(place)
            names = whole.keys() | there.keys()
            differ = sorted(name for name in names if whole.get(name) != there.get(name))
            failed = failed or bool(differ)
            shown = ", ".join(f"{moment:.1f}" for moment in moments) or "never"
            result = f"differ: {', '.join(differ)}" if differ else "all files equal"
            click.echo(f"killed after {shown} s, then done: {result}")
    sys.exit(failed)


def run(command: tuple[str, ...], place: Path) -> subprocess.Popen[bytes]:
    """Start it in a cache of its own, in a group of processes of its own."""
    (place / "out").mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GANFIX_CACHE": str(place / "cache")}
    arguments = [text.replace("OUT", str(place / "out")) for text in command]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(arguments, env=env, start_new_session=True, **quiet)  # type: ignore[call-overload,no-any-return]


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for it; the script ends where it fails."""
    _, errors = process.communicate()
    if process.returncode:
        raise click.ClickException(errors.decode(errors="replace")[-2000:])


def killed(command: tuple[str, ...], place: Path, seconds: float) -> bool:
    """Kill it after so many seconds; False if it was done before."""
    process = run(command, place)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    if process.returncode:
        raise click.ClickException(errors.decode(errors="replace")[-2000:])
    return False


def left_by(place: Path) -> dict[str, bytes]:
    """All files that a run has left, by name."""
    files = (file for file in place.rglob("*") if file.is_file())
    return {
        str(file.relative_to(place)): file.read_bytes()
        for file in files
        if file.suffix not in LEFT_ASIDE
    }


if __name__ == "__main__":
    main()
