"""Opens the face GAN, in the shape in which NVIDIA's codebases open their network pickles.

The generator and its weights come with the PyPI package ``gan-face-generate`` (MIT): a DCGAN
trained by its author on synthetic faces, 64×64. Nobody trained it for this project, and its
artifacts are its own.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, BinaryIO

import torch
from gan_face_generate.models import Generator

Z_DIM = 100


def network_file() -> str:
    """Where the package keeps its weights."""
    return str(files("gan_face_generate") / "weights.tar")


def load_network_pkl(f: BinaryIO) -> dict[str, Any]:
    """The networks of a weights file, under the keys of NVIDIA's network pickles."""
    weights = torch.load(f, map_location="cpu", weights_only=True)
    G = Generator(ngpu=0, nc=3, nz=Z_DIM, ngf=64)
    G.load_state_dict(weights["netG_state_dict"])
    return {"G_ema": G.eval().requires_grad_(False)}


def generator() -> torch.nn.Module:
    """The face GAN itself, for ``ganfix … --network legacy:generator``."""
    with open(network_file(), "rb") as f:
        G: torch.nn.Module = load_network_pkl(f)["G_ema"]
    return G
