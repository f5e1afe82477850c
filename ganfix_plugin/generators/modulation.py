"""StyleGAN2's modulated convolutions with styles kept out of the kernels.

A kernel of each sample's own, of which the norm is taken, is what costs on a CPU, even where it
convolves nothing. The norm is the same, but for rounding, from squares that are summed up first.
"""

from __future__ import annotations

from torch import Tensor


def demodulated(y: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Maps y [N, O, H, W], each divided by the norm of its kernel [I, k, k] with styles [N, I].

    Args:
        weight: kernels [O, I, k, k].
    """
    norms = styles.square() @ weight.square().sum(dim=(2, 3)).T
    return y * (norms + 1e-8).rsqrt().to(y.dtype)[:, :, None, None]
