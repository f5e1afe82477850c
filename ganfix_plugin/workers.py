"""Several processes that share a work: ranks of torchrun, or whatever sets RANK and WORLD_SIZE.

They meet in a folder instead of a process group, or, on machines that see no common one, in the
store of torchrun. So a rank that comes late, or never, holds up nobody, and a part that a killed
rank has begun is done by another, or by the next run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm.auto import tqdm

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import cache_folder, read_sealed, save_sealed, write_text
from ganfix_plugin.nodes import Tensors, exchanged, store_of

if TYPE_CHECKING:
    from torch.distributed import Store

T = TypeVar("T")
_TRIES = 5  # of ranks to come together
_PARTS = ".parts"
# Seconds until a first line says how far a work is, and between all others, without a terminal.
FIRST_LINE, LINE_EVERY = 5.0, 20.0


def rank() -> int:
    """The number of this process among those that were started together; 0 if it is alone."""
    return _group()[0]


def world() -> int:
    """How many processes were started together."""
    return _group()[1]


def _group() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def first_prints() -> Iterator[None]:
    """In here, only rank 0 prints what all of them would."""
    if not rank():
        yield
        return
    log = logging.getLogger("ganfix")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        log.setLevel(level)


def first_to_fail(message: str) -> bool:
    """Whether this rank should say what went wrong.

    Under torchrun only the first one that fails, since what one rank cannot do, the others mostly
    cannot do either, and all are ended. Otherwise rank 0, for all that fail with the same message.
    """
    if world() == 1:
        return True
    own, last_words = os.environ.get("TORCHELASTIC_ERROR_FILE"), cache_folder() / "failed.txt"
    try:
        if own:
            (Path(own).parents[1] / "ganfix-failed").touch(exist_ok=False)
        elif rank():
            return not _says(last_words, message)
        else:
            write_text(last_words, message)
    except (OSError, GanfixError) as error:  # a message too many is better than none
        return not isinstance(error, FileExistsError)
    return True


def _says(file: Path, message: str) -> bool:
    """Whether rank 0 has said the same in the last minute, or says it within two seconds."""
    for _ in range(20):
        recent = file.exists() and time.time() - file.stat().st_mtime < 60
        if recent and file.read_text(encoding="utf-8") == message:
            return True
        time.sleep(0.1)
    return False


def meeting_folder(place: Path, *depends_on: object) -> Path:
    """A folder beside ``place`` for `shared`: its name changes with everything that the numbers
    depend on, which is what is given here and how many ranks and threads there are."""
    what = repr((depends_on, world(), torch.get_num_threads()))
    return place.with_suffix(f".{hashlib.sha256(what.encode()).hexdigest()[:16]}{_PARTS}")


def end_meetings(place: Path) -> None:
    """Remove the `meeting_folder`s beside ``place`` that ranks have left which came too late: the
    result was kept already."""
    for folder in place.parent.glob(f"{place.stem}.*{_PARTS}"):
        shutil.rmtree(folder, ignore_errors=True)


def shared(
    folder: Path,
    work: Callable[[int, int], Tensors],
    done: Callable[[], bool] = lambda: False,
    group: tuple[int, int] | None = None,
) -> list[Tensors]:
    """What ``work`` returns for each part, in order, every part done by one process.

    Args:
        folder: a `meeting_folder`, where the ranks leave their parts. The last one removes it.
        work: called with a part's number and how many there are.
        done: whether another rank has already used all parts and removed the folder; then the list
            is empty.
        group: this process's rank and how many there are; by default as they were started.
    """
    first, parts = group or _group()
    if parts == 1:
        return [work(0, 1)]
    if group is None and (store := store_of(cache_folder())):
        folder.mkdir(parents=True, exist_ok=True)
        return _between_machines(store, folder, work)
    (folder / f"{first}.read").unlink(missing_ok=True)  # of a run that was killed
    for _ in range(_TRIES):
        try:
            return _together(folder, work, done, first, parts)
        except FileNotFoundError:
            # A part was damaged; or another rank had all of them, this one's mark of an earlier
            # run made it the last one, and it removed the folder.
            continue
        except OSError as error:  # of locks and folders; files say it themselves
            raise GanfixError(f"{folder}: cannot be written: {error.strerror or error}") from None
    raise GanfixError(f"{folder}: files of other ranks vanish there; let nothing else remove them")


def _together(
    folder: Path,
    work: Callable[[int, int], Tensors],
    done: Callable[[], bool],
    first: int,
    parts: int,
) -> list[Tensors]:
    """As `shared`; raises FileNotFoundError where parts are missing after all."""
    if done():
        return []
    files = [folder / f"{part}.safetensors" for part in range(parts)]
    folder.mkdir(parents=True, exist_ok=True)
    # What nobody works on first, then wait for what others work on; or take it over if they died.
    for timeout in (0, -1):
        for part in (*range(first, parts), *range(first)):
            with suppress(Timeout), FileLock(folder / f"{part}.lock", timeout=timeout):
                if not done() and not files[part].exists():
                    save_sealed(files[part], work(part, parts))
    if done():
        return []
    tensors = [_read_part(file) for file in files]
    (folder / f"{first}.read").touch()
    if len(list(folder.glob("*.read"))) == parts:
        shutil.rmtree(folder, ignore_errors=True)
    return tensors


def _read_part(file: Path) -> Tensors:
    tensors = read_sealed(file)
    if tensors is None:
        file.unlink(missing_ok=True)
        raise FileNotFoundError(file)
    return tensors


def _between_machines(
    store: Store, folder: Path, work: Callable[[int, int], Tensors]
) -> list[Tensors]:
    """As `shared`, where each machine has a folder of its own: finished parts are kept there until
    all ranks have them."""
    own, parts = _group()

    def of_part(part: int) -> Tensors:
        file = folder / f"{part}.safetensors"
        with FileLock(folder / f"{part}.lock"):
            if read_sealed(file) is None:
                save_sealed(file, work(part, parts))
        return _read_part(file)

    tensors = exchanged(store, f"{folder.parent.name}/{folder.name}", of_part, own, parts)
    shutil.rmtree(folder, ignore_errors=True)
    return tensors


def shared_rows(
    folder: Path, samples: Sequence[T], size: int, rows: Callable[[list[T]], Tensor]
) -> Tensor:
    """The rows [n, …] of samples, in their order; ranks that are started together (torchrun) make
    those of whole batches of a ``size``, in turn.

    Args:
        folder: see `shared`.
        rows: from the samples of a part to their rows.
    """

    def of_part(part: int, parts: int) -> Tensors:
        starts = range(part * size, len(samples), parts * size)
        own = [sample for start in starts for sample in samples[start : start + size]]
        return {"rows": rows(own)}

    return in_turn([part["rows"] for part in shared(folder, of_part)], size)


def in_turn(parts: Sequence[Tensor], size: int) -> Tensor:
    """Rows [n, …] of which part i of n holds batches i, i + n, … of a ``size``, in their order."""
    turns = zip_longest(*(part.split(size) for part in parts))
    return torch.cat([batch for turn in turns for batch in turn if batch is not None])


def numbered(batches: Iterable[Tensors], part: int, parts: int) -> Tensors:
    """What a part of a work has made, batches part, part + parts, …, under names that say which."""
    return {
        f"{name}/{part + step * parts:08d}": tensor
        for step, batch in enumerate(batches)
        for name, tensor in batch.items()
    }


def joined(parts: Iterable[Tensors], name: str) -> Tensor:
    """The rows of that name of all parts whose batches are `numbered`, in the order of these; they
    are taken out of the parts, so as not to be in memory twice."""
    rows = {key: part.pop(key) for part in parts for key in [*part] if key.startswith(f"{name}/")}
    return torch.cat([rows[key] for key in sorted(rows)])


class _Bar(tqdm):
    """A progress bar whose lock is of this process only: tqdm's own one would fix the start method
    of multiprocessing, which hosts set themselves."""

    _lock = threading.RLock()


def progress(steps: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The same steps, with a progress bar on a terminal and in a notebook and a line now and then
    elsewhere, both with the time left; of several ranks only the first's."""
    if rank() or logging.getLogger("ganfix").level >= logging.WARNING:
        return steps
    notebook = any(kind.__module__ == "tqdm.notebook" for kind in _Bar.__mro__)
    if notebook or getattr(sys.stderr, "isatty", bool)():  # some hosts put a logger there
        return _Bar(steps, total=total, desc=f"ganfix: {what}")
    return _told(steps, total, what)


def _told(steps: Iterable[T], total: int, what: str) -> Iterator[T]:
    start = time.monotonic()
    said = start + FIRST_LINE - LINE_EVERY
    for done, step in enumerate(steps):
        now = time.monotonic()
        if done and now - said >= LINE_EVERY:
            left = duration((now - start) / done * (total - done))
            line = f"ganfix: {what}: {done / total:.0%}, {left} left"
            print(line, file=sys.stderr, flush=True)
            said = now
        yield step


def duration(seconds: float) -> str:
    """About how long that is, for people: 40 seconds, 12 minutes, 3 hours."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{max(round(seconds), 1)} second{'s' if seconds >= 1.5 else ''}"
