"""Several processes that share a work: ranks of torchrun, or whatever sets RANK and WORLD_SIZE.

They meet in a folder instead of a process group. So a rank that comes late, or never, holds up
nobody, and a part that a killed rank has begun is done by another, or by the next run.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor

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
                        _save(work(part, parts), _file(folder, part))
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


def _save(tensors: Tensors, file: Path) -> None:
    temporary = file.with_suffix(".writing")
    save_file(tensors, temporary)
    os.replace(temporary, file)
