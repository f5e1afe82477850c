"""What code still asks of libraries, and these no longer have: a `Workaround` for each.

They belong to no host: whoever uses what is gone is found by what its files hold.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch.torch_version import TorchVersion

from ganfix_plugin.hosts.custom_ops import NVIDIA_OPS, ROSINALITY_OPS
from ganfix_plugin.hosts.devices import CUDA_ELSEWHERE, HALF_DISTANCES, NCCL
from ganfix_plugin.hosts.host import (
    Function,
    Host,
    Situation,
    Workaround,
    Wrapper,
    around,
    where_used,
)
from ganfix_plugin.hosts.import_hooks import installed, replaced, stand_in


def _renamed(old: str, new: str) -> Callable[[Situation, Function], Function]:
    """Makes functions take an argument by its old name, too."""

    @around
    def call(situation: Situation, function: Function, *args: Any, **kwargs: Any) -> Any:
        if old in kwargs and old not in inspect.signature(function).parameters:
            kwargs[new] = kwargs.pop(old)
        return function(*args, **kwargs)

    return call


PERCENTILE = Workaround(
    "percentile",
    "percentile() got an unexpected keyword argument 'interpolation' (ppl metrics)",
    "numpy.percentile takes interpolation= for method=",
    where_used(
        "interpolation=",
        f"writes it, and numpy {np.__version__} calls it method",
        unless=lambda: "interpolation" in inspect.signature(np.percentile).parameters,
        pattern=r"percentile\(.*interpolation=",
    ),
    Wrapper("numpy", "percentile", _renamed("interpolation", "method")).installed,
)


class _Encoded(np.ndarray):
    """What cv2.imencode returns, with the method that its callers still use."""

    def tostring(self) -> bytes:
        return self.tobytes()


@around
def _with_tostring(situation: Situation, encode: Function, *args: Any, **kwargs: Any) -> Any:
    done, image = encode(*args, **kwargs)
    return done, image.view(_Encoded)


TOSTRING = Workaround(
    "tostring",
    "'numpy.ndarray' object has no attribute 'tostring' (HTML pages)",
    "images encoded by OpenCV keep a method of that name",
    where_used(
        ".tostring()",
        f"calls it, and numpy {np.__version__} has only tobytes",
        unless=lambda: hasattr(np.ndarray, "tostring"),
        pattern="imencode",
    ),
    Wrapper("cv2", "imencode", _with_tostring).installed,
)

ANTIALIAS = Workaround(
    "antialias",
    "module 'PIL.Image' has no attribute 'ANTIALIAS' (data sets)",
    "PIL.Image.ANTIALIAS is PIL.Image.LANCZOS",
    where_used(
        "ANTIALIAS",
        f"uses it, and Pillow {PIL.__version__} calls it LANCZOS",
        unless=lambda: hasattr(PIL.Image, "ANTIALIAS"),
    ),
    lambda situation: replaced(PIL.Image, "ANTIALIAS", PIL.Image.Resampling.LANCZOS),
)

PKG_RESOURCES = Workaround(
    "pkg_resources",
    "No module named 'pkg_resources'",
    "a stand-in module with parse_version, the one function that is used",
    where_used(
        "pkg_resources",
        "imports it, and setuptools 82 and later no longer has it",
        unless=lambda: installed("pkg_resources"),
        pattern=r"^ *(import|from) pkg_resources\b",
    ),
    lambda situation: stand_in("pkg_resources", parse_version=TorchVersion),
)


def _init_with_data(self: Any, data_source: Any = None) -> None:
    """torch.utils.data.Sampler.__init__, as it was."""


SAMPLER = Workaround(
    "sampler",
    "object.__init__() takes exactly one argument (data sets)",
    "torch.utils.data.Sampler takes the argument",
    where_used(
        "Sampler):",
        f"passes one, and the base class in PyTorch {torch.__version__} takes none",
        unless=lambda: torch.utils.data.Sampler.__init__ is not object.__init__,
    ),
    lambda situation: replaced(torch.utils.data.Sampler, "__init__", _init_with_data),
)


@around
def _tolerant(situation: Situation, load: Function, *args: Any, **kwargs: Any) -> Any:
    safe = getattr(torch.serialization, "safe_globals", nullcontext)  # since PyTorch 2.5
    if situation.device != "cuda" and len(args) < 2 and kwargs.get("map_location") is None:
        kwargs["map_location"] = situation.device
    with safe([argparse.Namespace]):
        return load(*args, **kwargs)


CHECKPOINT = Workaround(
    "checkpoint",
    "Weights only load failed … argparse.Namespace; or: Attempting to deserialize object "
    "on a CUDA device",
    "torch.load knows that class, and puts weights on the device of this run",
    where_used(
        "torch.load(",
        "loads weights, perhaps from a GPU, and perhaps with the arguments of their training",
    ),
    Wrapper("torch", "load", _tolerant).installed,
)
LOCAL_RANK = Workaround(
    "local-rank",
    "unrecognized arguments: --local-rank",
    "the script gets --local_rank, as it expects",
    where_used(
        "--local_rank",
        "knows --local_rank, and torch.distributed.launch of PyTorch 2 writes the other",
    ),
    lambda situation: replaced(
        sys, "argv", [argument.replace("--local-rank", "--local_rank") for argument in sys.argv]
    ),
)

TORCHVISION_UTILS = Workaround(
    "torchvision-utils",
    "No module named 'torchvision.models.utils'",
    "a stand-in module with load_state_dict_from_url, which torch.hub has",
    where_used(
        "torchvision.models.utils",
        "imports it, and torchvision no longer has it, or is not installed",
        unless=lambda: installed("torchvision.models.utils"),
    ),
    lambda situation: stand_in(
        "torchvision.models.utils", load_state_dict_from_url=torch.hub.load_state_dict_from_url
    ),
)
MAKE_GRID = Workaround(
    "make-grid",
    "make_grid() got an unexpected keyword argument 'range'",
    "torchvision.utils.make_grid takes range= for value_range=",
    where_used(
        " range=",
        "writes it, and torchvision calls it value_range since 0.12",
        pattern=r"\b(make_grid|save_image)\(([^()]|\(([^()]|\([^()]*\))*\))* range=",
    ),
    Wrapper("torchvision.utils", "make_grid", _renamed("range", "value_range")).installed,
)


COMMON = (
    CUDA_ELSEWHERE,
    NCCL,
    HALF_DISTANCES,
    NVIDIA_OPS,
    ROSINALITY_OPS,
    PKG_RESOURCES,
    PERCENTILE,
    TOSTRING,
    ANTIALIAS,
    SAMPLER,
    CHECKPOINT,
    TORCHVISION_UTILS,
    MAKE_GRID,
)
"""The workarounds for any code, known host or none."""


def needed(host: Host, situation: Situation) -> list[tuple[Workaround, str]]:
    """The workarounds that a situation needs, each with the reason."""
    everything = (*COMMON, *host.workarounds)
    reasons = [(workaround, workaround.reason(situation)) for workaround in everything]
    return [(workaround, reason) for workaround, reason in reasons if reason]
