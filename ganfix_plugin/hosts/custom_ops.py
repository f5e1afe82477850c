"""CUDA ops that code carries along, and compiles: what runs where that fails.

NVIDIA's (torch_utils/ops) have slower references of their own. rosinality's are compiled when they
are imported, wherever they lie; `fused_bias_act` and `upfirdn2d` compute the same as they. Other
ops that are compiled so may never be called where there is no CUDA.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ganfix_plugin.errors import GanfixError, first_line
from ganfix_plugin.hosts.host import (
    Function,
    Situation,
    Workaround,
    Wrapper,
    around,
    code_of,
    where_used,
)

log = logging.getLogger("ganfix")


def _warn(op: str, error: Exception, instead: str) -> None:
    cause = first_line(error)
    log.warning("%s: no CUDA op (%s); %s reference runs", op, cause, instead)


# --- NVIDIA's


_OPS = ("bias_act", "upfirdn2d", "filtered_lrelu")


def _modules(situation: Situation, op: str) -> list[str]:
    """Under which names the code of a checkout may import one of NVIDIA's ops."""
    paths = [Path(name).with_suffix("").parts for name in code_of(situation.checkout)]
    ops = [parts for parts in paths if parts[-3:] == ("torch_utils", "ops", op)]
    return [".".join(parts[i:]) for parts in ops for i in range(len(parts) - 2)]


def _may_fail_to_build(situation: Situation) -> str:
    if situation.device != "cuda" or not _modules(situation, "filtered_lrelu"):
        return ""
    return "the networks run on CUDA, where the ops are compiled on first use"


def _built_or_not(situation: Situation, build: Callable[[], bool]) -> Callable[[], bool]:
    """An op's ``_init``, which says whether it was built, instead of raising an error."""

    @functools.cache
    def _init() -> bool:
        try:
            return build()
        except Exception as error:
            _warn(build.__module__, error, "the slow")
            return False

    return _init


@contextmanager
def _nvidia_reference(situation: Situation) -> Iterator[None]:
    with ExitStack() as stack:
        for module in chain.from_iterable(_modules(situation, op) for op in _OPS):
            wrapper = Wrapper(module, "_init", _built_or_not)
            stack.enter_context(wrapper.installed(situation))
        yield


NVIDIA_OPS = Workaround(
    "custom-ops",
    "a CUDA op that fails to build ends the script (stylegan3; stylegan2-ada-pytorch "
    "falls back by itself)",
    "an op that fails to build is replaced by the host's own slower reference, and said so",
    _may_fail_to_build,
    _nvidia_reference,
)

# --- rosinality's


def fused_bias_act(
    x: Tensor, bias: Tensor, reference: Tensor, act: int, grad: int, slope: float, scale: float
) -> Tensor:
    """What op/fused_bias_act_kernel.cu computes: leaky ReLU, or its derivative, and a gain."""
    if bias.numel():
        x = x + bias.view(1, -1, *(1,) * (x.dim() - 2))
    active = (reference if grad else x) > 0
    return torch.where(active, x, x * slope) * scale


def upfirdn2d(
    x: Tensor, kernel: Tensor, up_x: int, up_y: int, down_x: int, down_y: int, *padding: int
) -> Tensor:
    """What op/upfirdn2d_kernel.cu computes on planes [N, H, W, 1]: zeros between values, a
    filter, then every so many."""
    n, height, width, _ = x.shape
    planes = x.new_zeros(n, 1, height * up_y, width * up_x)
    planes[:, :, ::up_y, ::up_x] = x.permute(0, 3, 1, 2)
    filtered = conv2d(pad(planes, padding), kernel.flip(0, 1)[None, None].to(x.dtype))
    return filtered[:, :, ::down_y, ::down_x].permute(0, 2, 3, 1)


_REFERENCE = SimpleNamespace(fused_bias_act=fused_bias_act, upfirdn2d=upfirdn2d)


@dataclass(frozen=True)
class _Unbuilt:
    """An op of another kind, whose code may have another way where there is no CUDA."""

    name: str

    def __getattr__(self, function: str) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise GanfixError(
                f"{self.name}.{function} is an op for CUDA only, of which ganfix has no slower "
                "reference; run the script on a GPU"
            )

        return refuse


@around
def _our_reference(
    situation: Situation,
    compile: Function,
    name: str,
    sources: Sequence[str],
    *args: Any,
    **kwargs: Any,
) -> Any:
    ours = any(op in str(file) for file in sources for op in vars(_REFERENCE))
    if not ours and situation.device != "cuda" and any(str(x).endswith(".cu") for x in sources):
        return _Unbuilt(name)
    if situation.device == "cuda" or not ours:
        try:
            return compile(name, sources, *args, **kwargs)
        except Exception as error:
            if not ours:
                raise
            _warn(name, error, "a slower")
    return _REFERENCE


ROSINALITY_OPS = Workaround(
    "compiled-ops",
    "CUDA_HOME environment variable is not set (at import), or an op that fails to build",
    "without CUDA, and where an op fails to build, a slower reference runs, ours or the script's",
    where_used(
        "cpp_extension import load",
        "compiles its op for CUDA when it is imported",
        pattern=r"\b(fused_bias_act|upfirdn2d)\b|\.cu\b",
    ),
    Wrapper("torch.utils.cpp_extension", "load", _our_reference).installed,
)
