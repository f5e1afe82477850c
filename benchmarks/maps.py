"""Feature maps without a generator: what happens to them is then all that is timed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganfix_plugin.hooks.layer import Layer

SHAPES = ((512, 4, 4), (512, 8, 8), (512, 16, 16))
"""Of the three layers that the IJCAI paper corrects in a StyleGAN2."""


class Replay(nn.Module):
    """Layers that give back feature maps made before; a call says which samples."""

    def __init__(self, *maps: Tensor):
        super().__init__()
        self.maps = maps
        self.layers = nn.ModuleList(nn.Identity() for _ in maps)
        self.anchor = nn.Parameter(torch.zeros(1))  # whoever asks for the device looks at it
        self.eval().requires_grad_(False)

    def forward(self, rows: Tensor | slice = slice(None)) -> list[Tensor]:
        return [layer(x[rows]) for layer, x in zip(self.layers, self.maps)]

    @property
    def names(self) -> list[str]:
        return [f"layers.{i}" for i in range(len(self.maps))]

    def numbered(self) -> list[Layer]:
        """As an adapter numbers layers."""
        return [
            Layer(i, name, (x.shape[2], x.shape[3]), x.shape[1])
            for i, (name, x) in enumerate(zip(self.names, self.maps))
        ]


def random_maps(n: int, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    """Seeded normal feature maps [n, C, H, W]."""
    chance = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=chance) for shape in shapes]
