"""What the native ops compute, in PyTorch: it runs where they do not, and they are tried out by it.

The functions have the names and arguments of the ops. ``x`` is a feature map [N, C, H, W]; all
other tensors are on its device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def count_active_(x: Tensor, counts: Tensor) -> None:
    """Add to counts, int32 [C, H, W], in how many samples each neuron is activated, x > 0 ([C22]:
    Choi, Chang, Choi, IJCAI 2022, 3)."""
    # Sums of bytes are vectorised, sums of booleans are not; 255 samples cannot overflow one.
    for samples in (x > 0).view(torch.uint8).split(255):
        counts += samples.sum(dim=0, dtype=torch.uint8)


def count_low_rate_(x: Tensor, low_rate: Tensor, scores: Tensor) -> None:
    """Add to scores, int32 [N], how many of some neurons, bool [C, H, W], are activated by sample
    ([C22], section 4.1)."""
    scores += ((x > 0) & low_rate).sum(dim=(1, 2, 3), dtype=torch.int32)


def fade(x: Tensor, units: Tensor, keep: Tensor) -> Tensor:
    """Multiply some units of each sample, bool [N, C], by a number for each pixel, [N, H, W] of the
    dtype of x, out of place ([T21]: Tousi et al., CVPR 2021, 4.2)."""
    # Every value is multiplied, by 1 where nothing fades: a choice by `where` takes longer.
    return x * torch.where(units[:, :, None, None], keep[:, None], keep.new_ones(()))
