"""Weights in safetensors files: matrices and kernels as float16, everything else as float32."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def default_device() -> torch.device:
    """The current GPU if there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` from `path`, in float32. SystemExit, one line, if there is no such file."""
    if not Path(path).is_file():
        raise SystemExit(f"{path}: no such checkpoint")
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
