"""ResNet-18 up to its last feature maps (He et al., CVPR 2016), and its published weights.

Not torchvision's class: each of its releases wants one release of torch, so that to install it can
exchange the user's. Modules are named as in the weights that torchvision publishes.
"""

from __future__ import annotations

import pickle

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError, first_line
from ganfix_plugin.features.download import impatient

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


def resnet18() -> nn.Module:
    """The network with its ImageNet weights: images to feature maps [N, 512, H/32, W/32].

    The weights are those in torch.hub's cache, or are downloaded into it (45 MB).

    Raises:
        GanfixError: if they are neither there nor can be downloaded, or are something else.
    """
    network = _network()
    try:
        with impatient():
            weights = torch.hub.load_state_dict_from_url(
                URL, map_location="cpu", check_hash=True, weights_only=True
            )
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    except OSError as error:  # every error of a connection is one
        why = getattr(error, "reason", None) or error
        where = f"{torch.hub.get_dir()}/checkpoints"
        raise GanfixError(
            f"extractor resnet18: its weights are not in {where}, and {URL} cannot be downloaded "
            f"to there ({why})"
        ) from error
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        why = first_line(error)
        file = f"{torch.hub.get_dir()}/checkpoints/{URL.rpartition('/')[2]}"
        raise GanfixError(
            f"extractor resnet18: {file} is damaged or something else ({why}); delete it and it "
            "will be downloaded again"
        ) from error
    return network


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Sequential()
        if stride > 1:
            self.downsample.append(nn.Conv2d(channels, out, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.downsample(x)).relu()


def _network() -> nn.Sequential:
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(64))
    network.add_module("relu", nn.ReLU())
    network.add_module("maxpool", nn.MaxPool2d(3, 2, 1))
    channels = 64
    for number, out in enumerate((64, 128, 256, 512), 1):
        first = _Block(channels, out, 1 if number == 1 else 2)
        network.add_module(f"layer{number}", nn.Sequential(first, _Block(out, out, 1)))
        channels = out
    return network
