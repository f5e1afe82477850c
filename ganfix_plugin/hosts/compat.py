"""What hosts still ask of numpy, Pillow and PyTorch, and these no longer have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import PIL.Image
import torch

from ganfix_plugin.hosts.host import Breakage, Situation
from ganfix_plugin.hosts.import_hooks import replaced


def _lacks_interpolation(situation: Situation) -> str:
    user = situation.file_with("interpolation=", "metrics/*.py")
    if not user or "interpolation" in inspect.signature(np.percentile).parameters:
        return ""
    return f"{user} writes it, and numpy {np.__version__} calls it method"


@contextmanager
def _interpolation(situation: Situation) -> Iterator[None]:
    compute = np.percentile

    @functools.wraps(compute)
    def percentile(*args: Any, **kwargs: Any) -> Any:
        if "interpolation" in kwargs:
            kwargs["method"] = kwargs.pop("interpolation")
        return compute(*args, **kwargs)

    with replaced(np, "percentile", percentile):
        yield


def _lacks_antialias(situation: Situation) -> str:
    user = situation.file_with("ANTIALIAS", "datasets/*.py")
    if not user or hasattr(PIL.Image, "ANTIALIAS"):
        return ""
    return f"{user} uses it, and Pillow {PIL.__version__} calls it LANCZOS"


def _antialias(situation: Situation) -> AbstractContextManager[None]:
    return replaced(PIL.Image, "ANTIALIAS", PIL.Image.Resampling.LANCZOS)


def _strict_sampler(situation: Situation) -> str:
    user = situation.file_with("(Sampler)", "datasets/*.py")
    if not user or torch.utils.data.Sampler.__init__ is not object.__init__:
        return ""
    return f"{user} passes one, and the base class in PyTorch {torch.__version__} takes none"


def _tolerant_sampler(situation: Situation) -> AbstractContextManager[None]:
    def __init__(self: Any, data_source: Any = None) -> None:
        pass

    return replaced(torch.utils.data.Sampler, "__init__", __init__)


PERCENTILE = Breakage(
    "percentile",
    "percentile() got an unexpected keyword argument 'interpolation' (ppl metrics)",
    "numpy.percentile takes interpolation= for method=",
    _lacks_interpolation,
    _interpolation,
)
ANTIALIAS = Breakage(
    "antialias",
    "module 'PIL.Image' has no attribute 'ANTIALIAS' (data sets)",
    "PIL.Image.ANTIALIAS is PIL.Image.LANCZOS",
    _lacks_antialias,
    _antialias,
)
SAMPLER = Breakage(
    "sampler",
    "object.__init__() takes exactly one argument (data sets)",
    "torch.utils.data.Sampler takes the argument",
    _strict_sampler,
    _tolerant_sampler,
)
