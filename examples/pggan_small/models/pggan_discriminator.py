"""The discriminator of Karras et al., Progressive Growing of GANs, ICLR 2018 (arXiv:1710.10196).

Parameter and buffer names are those of genforce's PGGANDiscriminator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MIN_RESOLUTION, Scaled, check_lod, num_blocks


class PGGANDiscriminator(nn.Module):
    """Images [N, image_channels, resolution, resolution] in [-1, 1] to scores [N, 1 + label_size].

    Block k works at resolution / 2**k: `input{k}` takes an image in, `layer{2k}` and
    `layer{2k+1}` follow, one more `layer` gives the score. The last convolution sees how much
    samples differ in groups of `minibatch_std_group_size`, so N must be a multiple of that, or
    smaller.
    """

    lod: Tensor

    def __init__(
        self,
        resolution: int,
        image_channels: int = 3,
        label_size: int = 0,
        minibatch_std_group_size: int = 16,
        fmaps_base: int = 16384,
        fmaps_max: int = 512,
    ):
        super().__init__()
        self.num_blocks = num_blocks(resolution)
        self.resolution = resolution
        self.image_channels = image_channels
        self.label_size = label_size
        self.fmaps_base = fmaps_base
        self.fmaps_max = fmaps_max
        self.register_buffer("lod", torch.zeros(()))

        last = self.num_blocks - 1
        for block in range(last):
            res = resolution >> block
            width = self.get_nf(res)
            self.add_module(f"input{block}", ConvBlock(image_channels, width, kernel=1))
            self.add_module(f"layer{2 * block}", ConvBlock(width, width))
            down = ConvBlock(width, self.get_nf(res // 2), downsample=True)
            self.add_module(f"layer{2 * block + 1}", down)
        res, width = MIN_RESOLUTION, self.get_nf(MIN_RESOLUTION)
        self.add_module(f"input{last}", ConvBlock(image_channels, width, kernel=1))
        std = ConvBlock(width, width, std_group_size=minibatch_std_group_size)
        self.add_module(f"layer{2 * last}", std)
        self.add_module(f"layer{2 * last + 1}", DenseBlock((self.get_nf(res // 2), width * res**2)))
        score = DenseBlock((1 + label_size, self.get_nf(res // 2)), activation=False)
        self.add_module(f"layer{2 * last + 2}", score)

    def get_nf(self, res: int) -> int:
        """The number of units of the layers of resolution `res`."""
        return min(self.fmaps_max, self.fmaps_base // res)

    def forward(self, image: Tensor, lod: float | None = None, **_unused: Any) -> Tensor:
        """Scores; `lod` defaults to the buffer of that name. ValueError for a wrong shape."""
        expected = (len(image), self.image_channels, self.resolution, self.resolution)
        if image.shape != expected:
            raise ValueError(f"images {tuple(image.shape)}: expected {expected}")
        lod = check_lod(float(self.lod) if lod is None else lod, self.num_blocks)
        first = math.floor(lod)
        image = F.avg_pool2d(image, 2**first) if first else image
        x = self.get_submodule(f"input{first}")(image)
        for block in range(first, self.num_blocks):
            if block == first + 1 and lod > first:
                coarse = self.get_submodule(f"input{block}")(F.avg_pool2d(image, 2))
                x = x.lerp(coarse, lod - first)
            x = self.get_submodule(f"layer{2 * block}")(x)
            x = self.get_submodule(f"layer{2 * block + 1}")(x)
        return self.get_submodule(f"layer{2 * self.num_blocks}")(x)


class ConvBlock(Scaled):
    """Minibatch standard deviation if asked for, convolution, leaky ReLU, 2x2 mean if asked for."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        downsample: bool = False,
        std_group_size: int = 0,
    ):
        super().__init__((outputs, inputs + (std_group_size > 1), kernel, kernel))
        self.padding = kernel // 2
        self.std_group_size = std_group_size
        self.downsample = nn.AvgPool2d(2) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.std_group_size > 1:
            x = append_minibatch_std(x, self.std_group_size)
        return self.downsample(self.convolve(x, self.padding))


class DenseBlock(Scaled):
    """A fully connected layer and leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x.flatten(1))


def append_minibatch_std(x: Tensor, group_size: int) -> Tensor:
    """[N, C, H, W] and one channel more: the mean standard deviation within the sample's group.

    The samples i, i + M, i + 2M, ... of M groups belong together. ValueError if N is no multiple.
    """
    n, _, h, w = x.shape
    group_size = min(group_size, n)
    if n % group_size:
        raise ValueError(f"batch of {n}: expected a multiple of {group_size}, or fewer")
    grouped = x.unflatten(0, (group_size, -1))
    std = torch.sqrt(grouped.var(dim=0, correction=0) + 1e-8).mean(dim=(1, 2, 3))
    return torch.cat((x, std.repeat(group_size)[:, None, None, None].expand(n, 1, h, w)), dim=1)
