"""The name of a generator: a hash of what determines its images."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

# Buffers that do not make another generator: the moving average that only truncation uses, the
# transform that StyleGAN3's scripts overwrite, BatchNorm's counter.
_PASSING = ("w_avg", "transform", "num_batches_tracked")


def fingerprint(G: nn.Module) -> str:
    """64 hexadecimal digits over the names, shapes, types and bytes of the state dict.

    Equal for a generator, its copies and its reloaded pickle, on any device; different as soon as
    one weight or one noise buffer differs.
    """
    digest = hashlib.sha256(type(G).__name__.encode())
    for name, tensor in sorted(G.state_dict().items()):
        if name.rpartition(".")[2] in _PASSING or not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        # Viewed as bytes because numpy knows no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
