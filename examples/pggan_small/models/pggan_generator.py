"""The generator of Karras et al., Progressive Growing of GANs, ICLR 2018 (arXiv:1710.10196).

Parameter and buffer names are those of genforce's PGGANGenerator, so that state dicts fit both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MIN_RESOLUTION, Scaled, check_lod, num_blocks


class PGGANGenerator(nn.Module):
    """Latents [N, z_space_dim] to images [N, image_channels, resolution, resolution] in [-1, 1].

    `layer{2k}` and `layer{2k+1}` are the convolutions of resolution 4 * 2**k, `output{k}` turns
    their feature map into an image. `resolution` is a power of two from 8 on.
    """

    lod: Tensor

    def __init__(
        self,
        resolution: int,
        z_space_dim: int = 512,
        image_channels: int = 3,
        final_tanh: bool = False,
        label_size: int = 0,
        fmaps_base: int = 16384,
        fmaps_max: int = 512,
    ):
        super().__init__()
        blocks = num_blocks(resolution)
        self.init_res = MIN_RESOLUTION
        self.resolution = resolution
        self.z_space_dim = z_space_dim
        self.image_channels = image_channels
        self.final_tanh = final_tanh
        self.label_size = label_size
        self.fmaps_base = fmaps_base
        self.fmaps_max = fmaps_max
        self.num_layers = 2 * blocks
        self.register_buffer("lod", torch.zeros(()))

        # The 4x4 layer spreads a latent over a 4x4 map: a full convolution of one pixel.
        self.layer0 = ConvBlock(z_space_dim + label_size, self.get_nf(4), kernel=4, padding=3)
        for block in range(blocks):
            res = MIN_RESOLUTION << block
            width = self.get_nf(res)
            if block > 0:
                up = ConvBlock(self.get_nf(res // 2), width, upsample=True)
                self.add_module(f"layer{2 * block}", up)
            self.add_module(f"layer{2 * block + 1}", ConvBlock(width, width))
            to_image = ConvBlock(width, image_channels, kernel=1, padding=0, activation=False)
            self.add_module(f"output{block}", to_image)

    def get_nf(self, res: int) -> int:
        """The number of units of the layers of resolution `res`."""
        return min(self.fmaps_max, self.fmaps_base // res)

    def forward(
        self, z: Tensor, label: Tensor | None = None, lod: float | None = None, **_unused: Any
    ) -> dict[str, Tensor | None]:
        """`{'z': the normalised latents, 'label': label, 'image': images}`.

        `label` is [N, label_size] and required if the model has labels; `lod` defaults to the
        buffer of that name. Options of other generators (truncation, noise) change nothing.
        ValueError for a wrong shape or level of detail.
        """
        expected = (len(z), self.z_space_dim)
        if z.shape != expected:
            raise ValueError(f"latents {tuple(z.shape)}: expected {expected}")
        z = pixel_norm(z)
        if self.label_size:
            expected = (len(z), self.label_size)
            if label is None or label.shape != expected:
                found = None if label is None else tuple(label.shape)
                raise ValueError(f"label {found}: expected {expected}")
            z = torch.cat([z, label], 1)
        lod = check_lod(float(self.lod) if lod is None else lod, self.num_layers // 2)
        image = self._grow(z[:, :, None, None], self.num_layers // 2 - 1 - lod)
        return {"z": z, "label": label, "image": image.tanh() if self.final_tanh else image}

    def _grow(self, x: Tensor, depth: float) -> Tensor:
        """Run the blocks 0 to `depth`; a fraction is the share of one block that is fading in."""
        for block in range(math.ceil(depth) + 1):
            x = self.get_submodule(f"layer{2 * block}")(x)
            x = self.get_submodule(f"layer{2 * block + 1}")(x)
            if block == math.floor(depth):
                image = self.get_submodule(f"output{block}")(x)
            elif block > depth:
                coarse = F.interpolate(image, scale_factor=2, mode="nearest")
                image = coarse.lerp(self.get_submodule(f"output{block}")(x), depth % 1)
        if image.shape[-1] == self.resolution:
            return image
        return F.interpolate(image, size=self.resolution, mode="nearest")


class PixelNorm(nn.Module):
    """Divides every pixel's feature vector by its root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


class ConvBlock(Scaled):
    """Pixel norm, nearest upsampling if asked for, convolution, leaky ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        padding: int = 1,
        upsample: bool = False,
        activation: bool = True,
    ):
        super().__init__((outputs, inputs, kernel, kernel), activation)
        self.padding = padding
        self.pixel_norm = PixelNorm()
        self.upsample = nn.Upsample(scale_factor=2) if upsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(self.upsample(self.pixel_norm(x)), self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """[N, C, ...] with a mean square of 1 over C."""
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)
