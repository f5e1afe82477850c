"""Build the network pickle and the feature detector from the weights in this folder."""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training.networks import Discriminator, Generator

N = TypeVar("N", bound=nn.Module)
WEIGHTS = Path(__file__).parent / "weights"
SHAPE: dict[str, Any] = {"c_dim": 0, "img_resolution": 32, "img_channels": 3}
WIDTH: dict[str, Any] = {"channel_base": 1024, "channel_max": 64}


class Detector(nn.Module):
    """Images [N, 3, R, R] in 0..255 to features [N, F], each image on its own."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor, return_features: bool = True) -> Tensor:
        assert return_features, "this detector has features only, no class probabilities"
        return self.trunk(images.to(torch.float32) / 127.5 - 1).mean(dim=[2, 3])


class Trunk(nn.Module):
    """The discriminator up to where it compares the images of a batch."""

    def __init__(self, D: Discriminator) -> None:
        super().__init__()
        self.D = D

    def forward(self, images: Tensor) -> Tensor:
        return self.D.features(images)


def load(network: N, weights: str) -> N:
    """The network with the weights of that file (half floats widened), frozen."""
    network.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS / weights).items()})
    return network.eval().requires_grad_(False)


def build_networks() -> tuple[Generator, Discriminator]:
    """The generator (a moving average) and the discriminator."""
    G = Generator(
        z_dim=64,
        w_dim=64,
        mapping_kwargs={"num_layers": 2},
        synthesis_kwargs={**WIDTH, "num_fp16_res": 0},
        **SHAPE,
    )
    D = Discriminator(epilogue_kwargs={"mbstd_group_size": 4}, **WIDTH, **SHAPE)
    return (
        load(G, "stylegan2_footwear32.safetensors"),
        load(D, "stylegan2_footwear32_discriminator.safetensors"),
    )


def build_detector(D: Discriminator) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, the hosts still ask for it
        trunk = torch.jit.trace(Trunk(D), torch.zeros(2, 3, 32, 32))
        return torch.jit.script(Detector(trunk))


@click.command()
@click.option("--out", default="footwear32.pkl", show_default=True, help="The pickle to write")
def main(out: str) -> None:
    """Write the network pickle, and detector.pt beside it."""
    G, D = build_networks()
    networks = {
        "G": copy.deepcopy(G),
        "D": D,
        "G_ema": G,
        "augment_pipe": None,
        "training_set_kwargs": None,
    }
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        pickle.dump(networks, file)
    detector = path.with_name("detector.pt")
    build_detector(D).save(f"{detector}.partial")
    os.replace(partial, path)
    os.replace(f"{detector}.partial", detector)
    print(f"Wrote {path} and {detector}")


if __name__ == "__main__":
    main()
