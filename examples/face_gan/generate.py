"""Generate faces. Knows nothing of ganfix: run it by ``ganfix run generate.py --correct …``."""

from __future__ import annotations

import re
from pathlib import Path

import click
import legacy
import numpy as np
import PIL.Image
import torch


def num_range(text: str) -> list[int]:
    """Read ``1,5,8`` or ``0-7``."""
    span = re.fullmatch(r"(\d+)-(\d+)", text)
    if span:
        return list(range(int(span[1]), int(span[2]) + 1))
    return [int(number) for number in text.split(",")]


@click.command()
@click.option("--network", help="Weights file [default: the one in the package]", metavar="FILE")
@click.option("--seeds", type=num_range, help="Random seeds, such as 0-7 or 1,5,8", required=True)
@click.option("--outdir", help="Where to save the images", required=True, metavar="DIR")
def generate_images(network: str | None, seeds: list[int], outdir: str) -> None:
    """Generate one 64×64 face per seed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with open(network or legacy.network_file(), "rb") as f:
        G = legacy.load_network_pkl(f)["G_ema"].to(device)
    Path(outdir).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        z = np.random.RandomState(seed).randn(1, legacy.Z_DIM, 1, 1)
        img = G(torch.from_numpy(z).float().to(device))
        img = (img.permute(0, 2, 3, 1) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        PIL.Image.fromarray(img[0].cpu().numpy()).save(Path(outdir) / f"seed{seed:04d}.png")


if __name__ == "__main__":
    generate_images()
