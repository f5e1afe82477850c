"""The native ops beside the PyTorch reference, each by itself, and profiling with both.

The reference is what runs where nothing was built.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from core import Results, Row, Setup, children, duration, faster, python, side_by_side
from networks import FixedLatents, stylegan2

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.ops import reference
from ganfix_plugin.ops.dispatch import implementation
from ganfix_plugin.profiling.rates import count_active

ROWS, LAST = torch.contiguous_format, torch.channels_last
CASES = [
    ((4, 512, 16, 16), torch.float32, ROWS),
    ((32, 512, 4, 4), torch.float32, ROWS),
    ((32, 512, 16, 16), torch.float32, ROWS),
    ((32, 512, 16, 16), torch.float32, LAST),
    ((32, 512, 16, 16), torch.bfloat16, ROWS),
]
BUILD = "from ganfix_plugin.ops.build import Toolchain; Toolchain.find().build()"
BUILT_WITHIN = 30  # seconds


def measure(setup: Setup) -> Results:
    """The first build, then what was built."""
    with tempfile.TemporaryDirectory() as cache, _environment(GANFIX_CACHE=cache):
        yield _first_build()
        with _environment(GANFIX_OPS="native"):
            native = implementation(torch.zeros(1, 1, 1, 1))
        if native is reference:
            yield Row("native ops", "none here", "")
            return
        for name in ("count_active_", "count_low_rate_", "fade"):
            for shape, dtype, order in CASES[: setup.size(len(CASES), 1)]:
                yield _op(native, name, shape, dtype, order, setup.size(40, 2))
        yield _profiling(setup)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Some variables and one thread; afterwards everything as it was."""
    before, threads = dict(os.environ), torch.get_num_threads()
    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name in variables:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


def _first_build() -> Row:
    spent, start = children(), time.perf_counter()
    python("-c", BUILD)
    wall, spent = time.perf_counter() - start, children() - spent
    ours = f"{duration(wall)} (processor {duration(spent)})"
    return Row("first build of the native ops", ours, "", "", "≤ 30 s", wall <= BUILT_WITHIN)


def _op(native: Any, name: str, shape: tuple[int, ...], dtype: Any, order: Any, turns: int) -> Row:
    x = torch.randn(shape).to(dtype).contiguous(memory_format=order)
    n, c, h, w = shape
    others = {
        "count_active_": (torch.zeros_like(x[0], dtype=torch.int32),),
        "count_low_rate_": (torch.rand(c, h, w) < 0.3, torch.zeros(n, dtype=torch.int32)),
        "fade": (torch.rand(n, c) < 0.3, torch.rand(n, h, w).to(dtype)),
    }[name]
    works = {
        "ours": lambda: getattr(native, name)(x, *others),
        "theirs": lambda: getattr(reference, name)(x, *others),
    }
    kind = f"{str(dtype)[6:]}{', channels_last' if order == LAST else ''}"
    what = f"native `{name}`, {'×'.join(map(str, shape))} {kind}"
    both = side_by_side(works, turns, warm=2)
    return faster(what, both, "ours", "theirs", 1, notes=("", ", reference"))


def _profiling(setup: Setup) -> Row:
    """The same latents with the native ops and without, as a user profiles."""
    G, n = stylegan2(setup.size(256, 16), setup.ada), setup.size(8, 1)
    generator, latents = Generator.of(G), FixedLatents(torch.randn(n, 512))

    def profiled(implementation: str) -> None:
        with _environment(GANFIX_OPS=implementation):
            count_active(generator, generator.auto, latents, n)  # type: ignore[arg-type]

    works = {"ours": lambda: profiled("native"), "theirs": lambda: profiled("ref")}
    what = f"profiling of StyleGAN2 {setup.size(256, 16)} with native ops, a latent"
    both = side_by_side(works, setup.repeats)
    return faster(what, both, "ours", "theirs", None, n, ("", ", reference"))
