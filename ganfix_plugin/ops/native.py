"""The native ops in this process: found or built, loaded, known to PyTorch, and tried out."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.ops import reference
from ganfix_plugin.ops.build import BuildError, Toolchain, build

log = logging.getLogger("ganfix")


class Unavailable(Exception):
    """There are no native ops on a device; the message says in a few words why.

    Attributes:
        surprising: true where they have been built, and yet do not work.
    """

    def __init__(self, why: str, surprising: bool = False):
        super().__init__(why)
        self.surprising = surprising


def load(device: str, may_build: bool) -> None:
    """Make ``torch.ops.ganfix`` work on "cpu" or "cuda", or not.

    Args:
        may_build: compile the library if it is not there yet.

    Raises:
        Unavailable: if there is no library, or it does not do here what the reference does.
    """
    if device not in ("cpu", "cuda"):
        raise Unavailable(f"there are none for {device}")
    if not hasattr(torch.library, "register_autograd"):
        raise Unavailable(f"they need PyTorch 2.4, and this is {torch.__version__}")
    toolchain = _toolchain()
    if device == "cuda" and not toolchain.nvcc:
        raise Unavailable("they need nvcc")
    library = toolchain.library()
    if not library.is_file():
        if not may_build:
            raise Unavailable("not built; GANFIX_OPS=native builds them")
        _build(toolchain)
    _load(library)
    _try_out(device)


@functools.cache
def _toolchain() -> Toolchain:
    try:
        return Toolchain.find()
    except BuildError as error:
        raise Unavailable(str(error)) from error


def _build(toolchain: Toolchain) -> None:
    log.info("compiling the native ops, once on this machine (10 to 30 seconds)")
    start = time.perf_counter()
    try:
        library = build(toolchain)
    except BuildError as error:
        raise Unavailable(str(error)) from error
    log.info("native ops: %s, built in %.0f s", library, time.perf_counter() - start)


@functools.cache
def _load(library: Path) -> None:
    try:
        torch.ops.load_library(library)
    except OSError as error:
        raise Unavailable(str(error).splitlines()[0], surprising=True) from error
    _register()


def _register() -> None:
    """Tell PyTorch what it cannot know from the kernels: shapes, and gradients."""

    def edited(x: Tensor, *constants: Any) -> Tensor:
        return torch.empty_like(x)

    def setup(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, cap, ctx.factor, ctx.faded, ctx.keep = inputs
        # Where a cap bites, nothing flows; everything else is linear.
        ctx.bites = None if cap is None else x > cap

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.bites is not None:
            flowing = gradient.masked_fill(ctx.bites, 0)
        else:
            flowing = torch.ops.ganfix.correct(gradient, None, ctx.factor, ctx.faded, ctx.keep)
        return flowing, None, None, None, None

    torch.library.register_fake("ganfix::correct")(edited)
    torch.library.register_fake("ganfix::correct_and_count")(edited)
    torch.library.register_fake("ganfix::count_")(lambda x, *others: None)
    torch.library.register_autograd("ganfix::correct", backward, setup_context=setup)


def _try_out(device: str) -> None:
    """Compare with the reference on a small map: a library that computes anything else, or nothing,
    is not used.

    Raises:
        Unavailable: if the native ops fail here or differ.
    """
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 6, 7, generator=chance).to(device)
    low_rate = (torch.rand(5, 6, 7, generator=chance) < 0.5).to(device)
    cap = torch.zeros(5, 6, 7, device=device).masked_fill_(~low_rate, torch.inf)
    found = []
    for ops in (torch.ops.ganfix, reference):
        counts = torch.zeros(5, 6, 7, dtype=torch.int32, device=device)
        scores = torch.zeros(3, dtype=torch.int32, device=device)
        try:
            y = ops.correct_and_count(x, cap, counts=counts, low_rate=low_rate, scores=scores)
        except RuntimeError as error:
            raise Unavailable(str(error).splitlines()[0], surprising=True) from error
        found.append((y, counts, scores))
    if not all(torch.equal(one, other) for one, other in zip(*found)):
        raise Unavailable("they do not compute what the reference does", surprising=True)
