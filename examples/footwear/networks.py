"""The footwear networks of the neighbouring examples, for ``--network networks:stylegan2``."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from ganfix_plugin.detection.extractors import discriminator_is

HERE = Path(__file__).resolve().parent
REAL = HERE.parent / "stylegan2_small" / "data" / "footwear32_test.zip"


def stylegan2() -> nn.Module:
    """The StyleGAN2 generator; its discriminator is the one for D-values."""
    sys.path.insert(0, str(HERE.parent / "stylegan2_small"))
    from make_network import build_networks

    G, D = build_networks()
    discriminator_is(D)
    return G


def pggan() -> nn.Module:
    """The PGGAN generator."""
    folder = HERE.parent / "pggan_small"
    sys.path.insert(0, str(folder))
    from models import MODEL_ZOO, build_generator

    config = {key: value for key, value in MODEL_ZOO["pggan_footwear32"].items() if key != "url"}
    G = build_generator(**config)
    weights = load_file(folder / "checkpoints" / "pggan_footwear32.safetensors")
    G.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return G.eval().requires_grad_(False)
