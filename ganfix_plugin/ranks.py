"""Several processes that share a work: ranks of torchrun, or whatever sets RANK and WORLD_SIZE.

They meet in a folder instead of a process group. So a rank that comes late, or never, holds up
nobody, and a part that a killed rank has begun is done by another, or by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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


def shared(
    folder: Path, work: Callable[[int, int], Tensors], done: Callable[[], bool]
) -> list[Tensors]:
    """What ``work`` returns for each part, every part done by one process.

    Args:
        folder: where the ranks leave their parts; its name must hold everything that the numbers
            depend on. Whoever has used the parts removes it.
        work: called with a part's number and how many there are.
        done: whether another rank has used all parts already.

    Returns:
        The parts in order; none if they are ``done``.
    """
    first, parts = _group()
    if parts == 1:
        return [work(0, 1)]
    folder.mkdir(parents=True, exist_ok=True)
    order = [(first + step) % parts for step in range(parts)]
    # What nobody works on first, then wait for what others work on; or take it over, if they died.
    for timeout in (0, -1):
        for part in order:
            try:
                with FileLock(f"{folder}-{part}.lock", timeout=timeout):
                    if not done() and not _file(folder, part).exists():
                        _save(work(part, parts), _file(folder, part))
            except Timeout:
                continue
    return [] if done() else [load_file(_file(folder, part)) for part in range(parts)]


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part}.safetensors"


def _save(tensors: Tensors, file: Path) -> None:
    temporary = file.with_suffix(".writing")
    save_file({name: each.contiguous() for name, each in tensors.items()}, temporary)
    os.replace(temporary, file)
