"""Whole passes over a layer's feature map in one go, native where they have been built.

`correct`, `count_` and `correct_and_count` of the implementation for a feature map do what
`reference` says, which runs wherever the native ops do not: they need a compiler once, and on a CPU
they save less than they cost to build unless many images are measured. So:

- by default, native ops run if they have been built on this machine, and nothing is built;
- ``GANFIX_OPS=native`` builds them on first use and says so;
- ``GANFIX_OPS=ref`` never uses them.

Capping or scaling alone is one pass in PyTorch already, and stays there.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.ops import reference

log = logging.getLogger("ganfix")

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_loading = threading.Lock()


def implementation(x: Tensor) -> Any:
    """The native ops, or the reference, for a feature map of this kind.

    Raises:
        GanfixError: if ``$GANFIX_OPS`` is neither ``ref`` nor ``native``.
    """
    native = x.dtype in _DTYPES and x.dim() == 4 and _loaded(x.device.type)
    return torch.ops.ganfix if native else reference


def why_reference(device: str) -> str:
    """Why the reference runs on "cpu" or "cuda"; empty where the native ops do."""
    with _loading:
        return _load(os.environ.get("GANFIX_OPS", ""), device)


def _loaded(device: str) -> bool:
    return not why_reference(device)


@functools.cache
def _load(wanted: str, device: str) -> str:
    """Load the native ops, once per process, and say why not where that is so."""
    if wanted not in ("", "ref", "native"):
        raise GanfixError(f"GANFIX_OPS={wanted}: expected ref or native")
    if wanted == "ref":
        return "GANFIX_OPS=ref"
    from ganfix_plugin.ops import native

    try:
        native.load(device, may_build=wanted == "native")
    except native.Unavailable as reason:
        if wanted or reason.surprising:
            log.warning("no native ops on %s (%s); the reference runs", device, reason)
        return str(reason)
    return ""
