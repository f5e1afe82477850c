"""Shapes, devices, pictures, and a summary of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn


def assert_shape(tensor: Tensor, expected: Sequence[int | None]) -> None:
    """Raise `AssertionError` unless the shape is as expected; None stands for any size."""
    found = tuple(tensor.shape)
    fits = len(found) == len(expected) and all(
        want is None or have == want for have, want in zip(found, expected, strict=True)
    )
    if not fits:
        raise AssertionError(f"tensor of shape {found}, expected {tuple(expected)}")


def pick_device(rank: int = 0) -> torch.device:
    """The CUDA device of that rank, or the CPU on machines without CUDA."""
    return torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")


def frozen_copy(module: nn.Module, device: torch.device | None = None) -> Any:
    """A deep copy on that device, in evaluation mode and without gradients."""
    return copy.deepcopy(module).to(device).requires_grad_(False).eval()


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes, shape kept."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def to_picture(image: Tensor) -> PIL.Image.Image:
    """One image [C, H, W] in [-1, 1], C = 1 or 3, as a picture."""
    pixels = to_uint8(image).permute(1, 2, 0).cpu().numpy()
    return PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def copy_params_and_buffers(source: nn.Module, target: nn.Module) -> None:
    """Copy every parameter and buffer of `target` from the one of the same name in `source`."""
    target.load_state_dict(source.state_dict())


def print_module_summary(module: nn.Module, inputs: Sequence[Any], max_nesting: int = 3) -> Any:
    """Run `module(*inputs)` once, print a table of the submodules that ran, return the output.

    The table has a row per module of at most `max_nesting` dots in its name, in the order in which
    they finish: own parameters and buffers, shape and type of the (first) output."""
    names = {submodule: name for name, submodule in module.named_modules()}
    rows = [("Module", "Parameters", "Buffers", "Output shape", "Type")]

    def record(submodule: nn.Module, _inputs: Any, output: Any) -> None:
        outputs = output if isinstance(output, (tuple, list)) else [output]
        first = next((item for item in outputs if isinstance(item, Tensor)), None)
        rows.append(
            (
                names[submodule] or "<top-level>",
                str(sum(p.numel() for p in submodule.parameters(recurse=False)) or "-"),
                str(sum(b.numel() for b in submodule.buffers(recurse=False)) or "-"),
                "-" if first is None else str(list(first.shape)),
                "-" if first is None else str(first.dtype).removeprefix("torch."),
            )
        )

    shown = [sub for sub, name in names.items() if name.count(".") <= max_nesting]
    handles = [submodule.register_forward_hook(record) for submodule in shown]
    try:
        output = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    print(f"Total parameters: {sum(p.numel() for p in module.parameters())}")
    return output
