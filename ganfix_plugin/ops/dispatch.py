"""Which implementation of the ops runs: the native one, a single pass over a feature map, or the
`reference`, which says what they compute.

Native ops run if they have been built on this machine. ``GANFIX_OPS=native`` builds them on first
use and says so; on a CPU they save less than that costs unless many images are measured.
``GANFIX_OPS=ref`` never uses them. Where there is no compiler, where the build fails, or where the
library, tried out once per process, differs from the reference, the reference runs; a line says why
if native ops were asked for or had been built.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.ops import reference
from ganfix_plugin.ops.build import Toolchain, Unavailable

log = logging.getLogger("ganfix")

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Of the feature maps that native ops take."""

_loading = threading.Lock()


def implementation(x: Tensor) -> Any:
    """The native ops, or the reference, for a feature map of this kind.

    Raises:
        GanfixError: if ``$GANFIX_OPS`` is neither ``ref`` nor ``native``.
    """
    if x.dtype not in DTYPES or x.dim() != 4:
        return reference
    with _loading:
        return _implementation(os.environ.get("GANFIX_OPS", ""), x.device.type)


@functools.cache
def _implementation(wanted: str, device: str) -> Any:
    if wanted not in ("", "ref", "native"):
        raise GanfixError(f"GANFIX_OPS={wanted}: expected ref or native")
    if wanted == "ref":
        return reference
    try:
        _load(_library(device, may_build=wanted == "native"))
        if not all(
            map(torch.equal, _results(torch.ops.ganfix, device), _results(reference, device))
        ):
            raise RuntimeError("they do not compute what the reference does")
        return torch.ops.ganfix
    except (Unavailable, OSError, RuntimeError) as reason:
        if wanted or not isinstance(reason, Unavailable):
            why = str(reason).splitlines()[0]
            log.warning("no native ops on %s (%s); the reference runs", device, why)
        return reference


def _library(device: str, may_build: bool) -> Path:
    """The library for "cpu" or "cuda", which is there or can be built."""
    if device not in ("cpu", "cuda"):
        raise Unavailable(f"there are none for {device}")
    if not hasattr(torch.library, "register_autograd"):
        raise Unavailable(f"they need PyTorch 2.4, and this is {torch.__version__}")
    toolchain = Toolchain.find()
    if device == "cuda" and not toolchain.nvcc:
        raise Unavailable("they need nvcc")
    library = toolchain.library()
    if not library.is_file():
        if not may_build:
            raise Unavailable("not built; GANFIX_OPS=native builds them")
        log.info("compiling the native ops, once on this machine (10 to 30 seconds)")
        start = time.perf_counter()
        toolchain.build()
        log.info("native ops: %s, built in %.0f s", library, time.perf_counter() - start)
    return library


@functools.cache
def _load(library: Path) -> None:
    """Make ``torch.ops.ganfix``, with shapes and gradients, which kernels do not tell."""
    torch.ops.load_library(library)

    def setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return torch.ops.ganfix.fade(gradient, *ctx.saved_tensors), None, None

    torch.library.register_fake("ganfix::count_active_")(lambda *tensors: None)
    torch.library.register_fake("ganfix::count_low_rate_")(lambda *tensors: None)
    torch.library.register_fake("ganfix::fade")(lambda x, *others: torch.empty_like(x))
    torch.library.register_autograd("ganfix::fade", backward, setup_context=setup)


def _results(ops: Any, device: str) -> list[Tensor]:
    """What the ops compute of a small feature map."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 6, 7, generator=chance).to(device)
    units, low_rate, keep = x[:, :, 0, 0] > 0, x[0] > 0.5, x[:, 0].sigmoid()
    counts, scores = torch.zeros_like(x[0]).int(), torch.zeros_like(x[:, 0, 0, 0]).int()
    for dtype in DTYPES:
        ops.count_active_(x.to(dtype), counts)
        ops.count_low_rate_(x.to(dtype), low_rate, scores)
    return [counts, scores, *(ops.fade(x.to(d), units, keep.to(d)) for d in DTYPES)]
