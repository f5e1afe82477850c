"""The footwear networks of the neighbouring examples, for ``--network networks:stylegan2``."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from ganfix_plugin.hosts.genforce import Discriminator

HERE = Path(__file__).resolve().parent


def stylegan2() -> dict[str, nn.Module]:
    """The StyleGAN2 generator, "G_ema", and its discriminator, "D", which D-values are of."""
    sys.path.insert(0, str(HERE.parent / "stylegan2_small"))
    from make_network import build_networks

    G, D = build_networks()
    return {"G_ema": G, "D": D}


def pggan() -> dict[str, nn.Module]:
    """The PGGAN generator, "G_ema", and its discriminator, "D", which D-values are of."""
    folder = HERE.parent / "pggan_small"
    sys.path.insert(0, str(folder))
    from models import MODEL_ZOO, build_discriminator, build_generator

    config = {key: value for key, value in MODEL_ZOO["pggan_footwear32"].items() if key != "url"}
    shape = {key: config[key] for key in ("gan_type", "resolution", "fmaps_base", "fmaps_max")}
    D = Discriminator(_frozen(build_discriminator(**shape), "_discriminator"))
    return {"G_ema": _frozen(build_generator(**config), ""), "D": D}


def _frozen(network: nn.Module, kind: str) -> nn.Module:
    """A PGGAN network with its weights."""
    weights = HERE.parent / f"pggan_small/checkpoints/pggan_footwear32{kind}.safetensors"
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    return network.eval().requires_grad_(False)
