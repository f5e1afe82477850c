"""StyleGAN2 generators of the released models' widths, with seeded weights.

Their classes are those of a checkout of stylegan2-ada-pytorch, or of examples/stylegan2_small,
which have the same shapes. Random weights change no time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from core import EXAMPLES
from torch import Tensor

WIDEST = 32768
WIDTHS = {256: 16384}  # channel_base of the released models, where it is another


def stylegan2(resolution: int, checkout: Path | None = None, width: int = 0) -> Any:
    """A generator without labels, z of 512.

    Args:
        width: channel_base, by default the released model's of this resolution.
    """
    _importable(checkout or EXAMPLES / "stylegan2_small")
    from training.networks import Generator

    torch.manual_seed(0)
    G = Generator(
        z_dim=512,
        c_dim=0,
        w_dim=512,
        img_resolution=resolution,
        img_channels=3,
        mapping_kwargs={"num_layers": 8},
        synthesis_kwargs={
            "channel_base": width or WIDTHS.get(resolution, WIDEST),
            "channel_max": 512,
        },
    )
    return G.eval().requires_grad_(False)


def render(G: Any, z: Tensor) -> Tensor:
    """Images as generate.py makes them, without truncation."""
    with torch.no_grad():
        images: Tensor = G(z, torch.zeros(len(z), 0), truncation_psi=1, noise_mode="const")
    return images


@dataclass(frozen=True)
class FixedLatents:
    """Latents that somebody else drew, in the place of `generators.latents.Latents`."""

    z: Tensor

    def batches(
        self, samples: int, size: int, device: Any, first: int = 0
    ) -> Iterator[tuple[Tensor, None]]:
        for start in range(first, first + samples, size):
            yield self.z[start : min(start + size, first + samples)].to(device), None


def _importable(checkout: Path) -> None:
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
