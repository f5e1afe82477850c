"""Feature detectors as users write them, and images for them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

IMAGES = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
CPU = torch.device("cpu")


class Pooled(nn.Module):
    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(img.float(), [2, 2]).flatten(1)


class Whole(nn.Module):
    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.float()


class Fails(nn.Module):
    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.float() @ torch.zeros(7, 7)


def by_name(images: Tensor) -> Tensor:
    return images.float().mean(dim=(2, 3))


def list_of(images: Tensor) -> list[Tensor]:
    return [images]


def saved(module: nn.Module, path: Path) -> str:
    torch.jit.save(torch.jit.script(module), path)
    return str(path)
