"""The native pass over a corrected layer beside the best that PyTorch does, on one core.

A whole pass applies an edit, adds to the counts of active neurons, and counts each sample's active
low-rate neurons. Of several ways to write that in PyTorch the fastest stands in the table.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from core import Found, Row, Setup, Work, children, duration, faster, python, side_by_side
from torch import Tensor

from ganfix_plugin.ops import dispatch as ops
from ganfix_plugin.ops import reference

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
ROWS, LAST = torch.contiguous_format, torch.channels_last
CASES = [
    ((4, 512, 16, 16), F32, ROWS),
    ((32, 512, 4, 4), F32, ROWS),
    ((32, 512, 8, 8), F32, ROWS),
    ((32, 512, 16, 16), F32, ROWS),
    ((32, 512, 16, 16), F32, LAST),
    ((32, 512, 16, 16), F16, ROWS),
    ((32, 512, 16, 16), BF16, LAST),
]
BUILD = "from ganfix_plugin.ops.build import Toolchain, build; build(Toolchain.find())"
BUILT_WITHIN = 30  # seconds


def measure(setup: Setup) -> Found:
    """The first build, then whole passes with what was built."""
    with tempfile.TemporaryDirectory() as cache, _native(cache):
        yield _first_build()
        if ops.implementation(torch.zeros(1, 1, 1, 1)) is reference:
            yield Row("native ops", f"none: {ops.why_reference('cpu')}", "")
            return
        for shape, dtype, order in CASES[: setup.size(len(CASES), 1)]:
            yield _whole_pass(shape, dtype, order, setup.size(40, 2))


@contextmanager
def _native(cache: str) -> Iterator[None]:
    """Native ops out of a cache of its own; afterwards everything as it was, one thread apart."""
    names = ("GANFIX_CACHE", "GANFIX_OPS")
    before, threads = {name: os.environ.get(name) for name in names}, torch.get_num_threads()
    os.environ |= {"GANFIX_CACHE": cache, "GANFIX_OPS": "native"}
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _first_build() -> Row:
    spent, start = children(), time.perf_counter()
    python("-c", BUILD)
    wall, spent = time.perf_counter() - start, children() - spent
    ours = f"{duration(wall)} (processor {duration(spent)})"
    return Row("first build of the native ops", ours, "", "", "≤ 30 s", wall <= BUILT_WITHIN)


def _whole_pass(shape: tuple[int, ...], dtype: Any, order: Any, repeats: int) -> Row:
    x = torch.randn(shape).to(dtype).contiguous(memory_format=order)
    low = torch.empty_like(x[0], dtype=torch.bool).copy_(torch.rand(shape[1:]) < 0.3)
    cap = torch.full_like(x[0], torch.inf).masked_fill_(low, 0)
    counts = torch.zeros_like(x[0], dtype=torch.int32)
    scores = torch.zeros(shape[0], dtype=torch.int32)
    more = {"counts": counts, "low_rate": low, "scores": scores}
    ways: dict[str, Work] = {each.__name__: each for each in _ways(x, cap, low, counts, scores)}
    ours = lambda: torch.ops.ganfix.correct_and_count(x, cap, **more)  # noqa: E731
    turns = side_by_side({"ours": ours, **ways}, repeats, warm=2)
    best = turns.fastest(*ways)
    kind = f"{str(dtype)[6:]}{', channels_last' if order == LAST else ''}"
    what = f"native pass, {'×'.join(map(str, shape))} {kind}, one core"
    return faster(what, turns, "ours", best, 6, notes=("", f", PyTorch {best}"))


def _ways(x: Tensor, cap: Tensor, low: Tensor, counts: Tensor, scores: Tensor) -> list[Any]:
    """A whole pass in PyTorch, written in several ways."""
    n = len(x)
    last = not x.is_contiguous()
    weights = (low.permute(1, 2, 0) if last else low).reshape(-1).float()

    def flat(active: Tensor) -> Tensor:
        return (active.permute(0, 2, 3, 1) if last else active).reshape(n, -1)

    def start() -> tuple[Tensor, Tensor]:
        y, active = x.clamp(max=cap), x > 0
        counts.add_(active.view(torch.uint8).sum(0, dtype=torch.uint8))
        return y, active

    def by_sum() -> Tensor:
        y, active = start()
        scores.add_((active & low).sum((1, 2, 3), dtype=torch.int32))
        return y

    def by_bytes() -> Tensor:
        y, active = start()
        rows = flat(active & low).view(torch.uint8).view(n, -1, 128)
        scores.add_(rows.sum(2, dtype=torch.uint8).sum(1, dtype=torch.int32))
        return y

    def by_count_nonzero() -> Tensor:
        y, active = start()
        scores.add_(torch.count_nonzero(active & low, dim=(1, 2, 3)))
        return y

    def by_product() -> Tensor:
        y, active = start()
        scores.add_((flat(active).float() @ weights).int())
        return y

    return [by_sum, by_bytes, by_count_nonzero, by_product]
