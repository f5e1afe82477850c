"""A small classifier of footwear as feature extractor; its weights come from `make_classifier.py`.

``--extractor classifier:features`` are the 128 features before its last layer, for distances;
``--extractor classifier:maps`` the feature maps before them, for Grad-CAM.
"""

from __future__ import annotations

import functools
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
WIDTH = 128


class Footwear(nn.Module):
    """Images [N, 3, 32, 32] in [-1, 1] to features [N, 128]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64)
        steps: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            steps += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.trunk = nn.Sequential(*steps)
        self.wide = nn.Linear(widths[-1] * 16, WIDTH)

    def maps(self, x: Tensor) -> Tensor:
        """Feature maps [N, 64, 4, 4]."""
        maps: Tensor = self.trunk(x.mean(dim=1, keepdim=True))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.wide(self.maps(x).flatten(1)).relu()
        return features


@functools.cache
def load() -> Footwear:
    """The trained network."""
    network = Footwear()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)


def features(images: Tensor) -> Tensor:
    """Features [N, 128]."""
    computed: Tensor = load().to(images.device)(images)
    return computed


def maps(images: Tensor) -> Tensor:
    """Feature maps [N, 64, 4, 4]."""
    return load().to(images.device).maps(images)
