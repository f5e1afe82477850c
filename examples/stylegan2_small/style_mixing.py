"""Mix the styles of pairs of images from a network pickle."""

from __future__ import annotations

import os

import click
import dnnlib
import legacy
import numpy as np
import PIL.Image
import torch
from dnnlib.util import NumberRange
from torch_utils import misc


@click.command()
@click.option("--network", "network_pkl", help="Network pickle", required=True, metavar="FILE")
@click.option("--rows", "row_seeds", type=NumberRange(), required=True, help="Seeds of the rows")
@click.option("--cols", "col_seeds", type=NumberRange(), required=True, help="Seeds of the columns")
@click.option(
    "--styles",
    "col_styles",
    type=NumberRange(),
    default="0-3",
    show_default=True,
    help="Which w a mix takes from its column; the others come from its row",
)
@click.option(
    "--trunc", "truncation_psi", type=float, default=1, show_default=True, help="Truncation psi"
)
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="Noise of the layers",
)
@click.option("--outdir", help="Where the images go", required=True, metavar="DIR")
def generate_style_mix(
    network_pkl: str,
    row_seeds: list[int],
    col_seeds: list[int],
    col_styles: list[int],
    truncation_psi: float,
    noise_mode: str,
    outdir: str,
) -> None:
    """Write ROW-COL.png for every pair, SEED-SEED.png for every seed, and all in grid.png."""
    device = misc.pick_device()
    with dnnlib.util.open_url(network_pkl) as file:
        G = legacy.load_network_pkl(file)["G_ema"].to(device)
    if max(col_styles) >= G.num_ws:
        raise click.BadParameter(f"the network has w 0 to {G.num_ws - 1}", param_hint="--styles")

    seeds = sorted({*row_seeds, *col_seeds})
    z = np.stack([np.random.RandomState(seed).randn(G.z_dim) for seed in seeds])
    all_w = G.mapping(torch.from_numpy(z).to(device), None, truncation_psi=truncation_psi)
    w_of = dict(zip(seeds, all_w, strict=True))

    def picture(w: torch.Tensor) -> PIL.Image.Image:
        return misc.to_picture(G.synthesis(w[None], noise_mode=noise_mode)[0])

    pictures = {(seed, seed): picture(w) for seed, w in w_of.items()}
    for row in row_seeds:
        for col in col_seeds:
            w = w_of[row].clone()
            w[col_styles] = w_of[col][col_styles]
            pictures[row, col] = picture(w)

    os.makedirs(outdir, exist_ok=True)
    for (row, col), image in pictures.items():
        image.save(f"{outdir}/{row}-{col}.png")
    size = G.img_resolution
    grid = PIL.Image.new("RGB", (size * (len(col_seeds) + 1), size * (len(row_seeds) + 1)))
    cells = [(0, x, col, col) for x, col in enumerate(col_seeds, 1)]
    for y, row in enumerate(row_seeds, 1):
        cells += [(y, 0, row, row), *((y, x, row, col) for x, col in enumerate(col_seeds, 1))]
    for y, x, row, col in cells:
        grid.paste(pictures[row, col], (x * size, y * size))
    grid.save(f"{outdir}/grid.png")


if __name__ == "__main__":
    generate_style_mix()
