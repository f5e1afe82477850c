"""Several processes that share a work: ranks of torchrun, or whatever sets RANK and WORLD_SIZE.

They meet in a folder instead of a process group. So a rank that comes late, or never, holds up
nobody, and a part that a killed rank has begun is done by another, or by the next run.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import save_tensors

T = TypeVar("T")

Tensors = dict[str, Tensor]


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


def first_to_fail() -> bool:
    """Whether this rank should say what went wrong: under torchrun only the first one that fails,
    since what one rank cannot do, the others mostly cannot do either, and all are ended."""
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not own or world() == 1:
        return True
    try:
        (Path(own).parents[1] / "ganfix-failed").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def shared(
    folder: Path, work: Callable[[int, int], Tensors], done: Callable[[], bool] = lambda: False
) -> list[Tensors]:
    """What ``work`` returns for each part, every part done by one process.

    Args:
        folder: where the ranks leave their parts; its name must hold everything that the numbers
            depend on. The last rank removes it.
        work: called with a part's number and how many there are.
        done: whether another rank has already used all parts and removed the folder.

    Returns:
        The parts in order; none if they are ``done``.
    """
    first, parts = _group()
    if parts == 1:
        return [work(0, 1)]
    order = [(first + step) % parts for step in range(parts)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # What nobody works on first, then wait for what others work on; or take it over if they
        # died.
        for timeout in (0, -1):
            for part in order:
                with suppress(Timeout), FileLock(folder / f"{part}.lock", timeout=timeout):
                    if not done() and not _file(folder, part).exists():
                        save_tensors(_file(folder, part), work(part, parts))
        if done():
            return []
        found = [load_file(_file(folder, part)) for part in range(parts)]
        (folder / f"{first}.read").touch()
        if len(list(folder.glob("*.read"))) == parts:
            shutil.rmtree(folder, ignore_errors=True)
        return found
    except FileNotFoundError:
        if not done():
            raise
        return []  # and whoever was done has removed the folder


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part}.safetensors"


@dataclass(frozen=True)
class Ranks:
    """This process's place among ``size`` of them."""

    rank: int = 0
    size: int = 1

    def agree(self, work: Callable[[], T]) -> T:
        """Do something in every rank; either all of them go on or none.

        Raises:
            GanfixError: in every rank the one of the first rank where ``work`` raised one.
        """
        failed, result = "", None
        try:
            result = work()
        except GanfixError as error:
            if self.size == 1:
                raise
            failed = str(error)
        first = next((each for each in self._gathered(failed) if each), "")
        if first:
            raise GanfixError(first)
        return result  # type: ignore[return-value]

    def batches(self, work: Callable[[], Iterator[T]]) -> list[T]:
        """What all ranks yield, rank r the batches r, r + size, …, in the order of the batches.

        Raises:
            GanfixError: as `agree`.
        """
        lists = self._gathered(self.agree(lambda: list(work())))
        total = sum(len(each) for each in lists)
        return [lists[i % self.size][i // self.size] for i in range(total)]

    def _gathered(self, mine: T) -> list[T]:
        if self.size == 1:
            return [mine]
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, mine)
        return every


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The ranks that ``torchrun`` has started, joined by gloo; one if it has not.

    Of an error that all of them have, rank 0 speaks and the others leave with status 1.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Ranks()
        return
    dist.init_process_group("gloo")
    try:
        yield Ranks(dist.get_rank(), size)
    except GanfixError:
        if dist.get_rank():
            raise SystemExit(1) from None
        raise
    finally:
        dist.destroy_process_group()


class _Bar(tqdm):
    """A progress bar whose lock is of this process only: tqdm's own one would fix the start method
    of multiprocessing, which hosts set themselves."""

    _lock = threading.RLock()


def progress(steps: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The same steps, with a progress bar on a terminal; of several ranks only the first's."""
    hidden = True if rank() else None
    return _Bar(steps, total=total, desc=f"ganfix: {what}", leave=False, disable=hidden)
