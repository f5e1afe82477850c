"""A small classifier of footwear as feature extractor: ``--extractor classifier:features``.

Its weights come from ``make_classifier.py``.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
WIDTH = 128


class Footwear(nn.Sequential):
    """Images [N, 3, 32, 32] in [-1, 1] to features [N, 128, 2, 2], whose spatial mean counts."""

    def __init__(self) -> None:
        widths = (1, 16, 32, 64, WIDTH)
        steps: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            steps += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        super().__init__(*steps)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(x.mean(dim=1, keepdim=True))
        return found


def load() -> nn.Module:
    """The trained extractor."""
    network = Footwear()
    network.load_state_dict({name: each.float() for name, each in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)


def features(images: Tensor) -> Tensor:
    """Feature maps of images; the network is read on first use."""
    global _network
    if _network is None:
        _network = load()
    return _network.to(images.device)(images)


_network: nn.Module | None = None
