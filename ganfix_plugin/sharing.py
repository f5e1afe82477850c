"""Work shared out among the processes of ``torchrun``; one process is the special case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from ganfix_plugin.errors import GanfixError

T = TypeVar("T")


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
