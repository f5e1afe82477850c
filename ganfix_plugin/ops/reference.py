"""What the native ops compute, in PyTorch: it runs where they do not, and they are tested by it.

The functions have the names and arguments of the ops. ``x`` is a feature map [N, C, H, W]; all
constants are on its device, and those of a value's kind have its dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor


def correct(
    x: Tensor,
    cap: Tensor | None = None,
    factor: Tensor | None = None,
    faded: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """One edit of a feature map, out of place.

    Args:
        cap: [C, H, W], at least 0: no activation exceeds it. A zero at a neuron capped at 0 may
            change its sign here; the native op leaves it.
        factor: [C] or [N, C], multiplies units.
        faded: bool [N, C], the units that ``keep`` multiplies.
        keep: [N, H, W].
    """
    if cap is not None:
        return x.clamp(max=cap)
    if factor is not None:
        return x * factor[..., None, None]
    assert faded is not None and keep is not None
    # Every value is multiplied, by 1 where nothing fades: a choice by `where` takes longer.
    return x * torch.where(faded[:, :, None, None], keep[:, None], keep.new_ones(()))


def count_(
    x: Tensor,
    counts: Tensor | None = None,
    low_rate: Tensor | None = None,
    scores: Tensor | None = None,
) -> None:
    """Count activated neurons, x > 0, into integers ([C22], sections 3 and 4.1).

    Args:
        counts: int32 [C, H, W], grows by the number of rows in which a neuron is active.
        low_rate: bool [C, H, W], the neurons that make up a row's score.
        scores: int32 [N], grows by the number of those neurons that are active.
    """
    active = x > 0
    if counts is not None:
        # Sums of bytes are vectorised, sums of booleans are not; 255 rows cannot overflow one.
        for rows in active.view(torch.uint8).split(255):
            counts += rows.sum(dim=0, dtype=torch.uint8)
    if low_rate is not None and scores is not None:
        scores += (active & low_rate).sum(dim=(1, 2, 3), dtype=torch.int32)


def correct_and_count(
    x: Tensor,
    cap: Tensor | None = None,
    factor: Tensor | None = None,
    faded: Tensor | None = None,
    keep: Tensor | None = None,
    counts: Tensor | None = None,
    low_rate: Tensor | None = None,
    scores: Tensor | None = None,
) -> Tensor:
    """`correct` and `count_` of the same feature map, as it was before the edit."""
    count_(x, counts, low_rate, scores)
    return correct(x, cap, factor, faded, keep)
