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

SHAPES = ((4, 512, 16, 16), (32, 512, 16, 16))  # of rendering, and of measuring
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
            for shape in SHAPES[: setup.size(len(SHAPES), 1)]:
                yield _op(native, name, shape, setup.size(40, 2))
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


def _op(native: Any, name: str, shape: tuple[int, int, int, int], turns: int) -> Row:
    x = torch.randn(shape)
    n, c, h, w = shape
    others = {
        "count_active_": (torch.zeros_like(x[0], dtype=torch.int32),),
        "count_low_rate_": (torch.rand(c, h, w) < 0.3, torch.zeros(n, dtype=torch.int32)),
        "fade": (torch.rand(n, c) < 0.3, torch.rand(n, h, w)),
    }[name]
    works = {
        "ours": lambda: getattr(native, name)(x, *others),
        "theirs": lambda: getattr(reference, name)(x, *others),
    }
    what = f"native `{name}`, {'×'.join(map(str, shape))}"
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
