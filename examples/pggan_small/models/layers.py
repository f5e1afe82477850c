"""What the generator and the discriminator share: layers with an equalised learning rate."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LRELU_GAIN = math.sqrt(2.0)
MIN_RESOLUTION = 4


def num_blocks(resolution: int) -> int:
    """The number of resolutions from 4 to `resolution`. ValueError unless a power of 2 above 4."""
    blocks = resolution.bit_length() - 2
    if blocks < 2 or resolution != MIN_RESOLUTION << (blocks - 1):
        raise ValueError(f"resolution {resolution}: expected a power of two from 8 on")
    return blocks


def check_lod(lod: float, blocks: int) -> float:
    """A level of detail: 0 is full size, every 1 more halves it. ValueError if too coarse."""
    if not 0 <= lod <= blocks - 1:
        raise ValueError(f"level of detail {lod}: expected 0 to {blocks - 1}")
    return lod


class Scaled(nn.Module):
    """A weight drawn from N(0, 1) and scaled at run time by gain / sqrt(fan in), and a bias.

    The equalised learning rate of Karras et al., Progressive Growing of GANs, ICLR 2018, sec. 4.1.
    """

    def __init__(self, shape: tuple[int, ...], activation: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        gain = LRELU_GAIN if activation else 1.0
        self.wscale = gain / math.sqrt(math.prod(shape[1:]))
        self.activate = nn.LeakyReLU(0.2, inplace=True) if activation else nn.Identity()

    def convolve(self, x: Tensor, padding: int) -> Tensor:
        """[N, in, H, W] -> the activation [N, out, H', W']."""
        return self.activate(F.conv2d(x, self.weight * self.wscale, self.bias, padding=padding))

    def multiply(self, x: Tensor) -> Tensor:
        """[N, in] -> the activation [N, out]."""
        return self.activate(F.linear(x, self.weight * self.wscale, self.bias))
