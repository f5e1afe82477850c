"""Generate images from a network pickle."""

from __future__ import annotations

import os

import click
import dnnlib
import legacy
import numpy as np
import torch
from dnnlib.util import NumberRange, UserError
from torch_utils import misc


@click.command()
@click.pass_context
@click.option("--network", "network_pkl", help="Network pickle", required=True, metavar="FILE")
@click.option("--seeds", type=NumberRange(), help="Random seeds, such as 0-7 or 1,5,9")
@click.option(
    "--trunc", "truncation_psi", type=float, default=1, show_default=True, help="Truncation psi"
)
@click.option("--class", "class_idx", type=int, help="Class label, if the network has labels")
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="Noise of the layers",
)
@click.option("--projected-w", help="npz file of w vectors to render instead", metavar="FILE")
@click.option("--outdir", help="Where the images go", required=True, metavar="DIR")
def generate_images(
    ctx: click.Context,
    network_pkl: str,
    seeds: list[int] | None,
    truncation_psi: float,
    class_idx: int | None,
    noise_mode: str,
    projected_w: str | None,
    outdir: str,
) -> None:
    """Write one seedNNNN.png per seed, or one projNN.png per projected w.

    \b
    python generate.py --network=footwear32.pkl --seeds=0-7 --trunc=0.7 --outdir=out
    """
    if seeds is None and projected_w is None:
        ctx.fail("--seeds is needed unless --projected-w is given")
    device = misc.pick_device()
    with dnnlib.util.open_url(network_pkl) as file:
        G = legacy.load_network_pkl(file)["G_ema"].to(device)

    if projected_w is not None:
        with dnnlib.util.open_url(projected_w) as file:
            ws = torch.from_numpy(np.load(file)["w"]).to(device)
        if ws.shape[1:] != (G.num_ws, G.w_dim):
            raise UserError(
                f"{projected_w}: w is {list(ws.shape)}, expected [N, {G.num_ws}, {G.w_dim}]"
            )
        os.makedirs(outdir, exist_ok=True)
        for index, w in enumerate(ws):
            image = G.synthesis(w[None], noise_mode=noise_mode)[0]
            misc.to_picture(image).save(f"{outdir}/proj{index:02d}.png")
        return

    label = torch.zeros(1, G.c_dim, device=device)
    if G.c_dim > 0:
        if class_idx is None or not 0 <= class_idx < G.c_dim:
            ctx.fail(f"this network wants a --class from 0 to {G.c_dim - 1}")
        label[:, class_idx] = 1
    elif class_idx is not None:
        click.echo("--class is ignored: the network has no labels", err=True)
    os.makedirs(outdir, exist_ok=True)
    for done, seed in enumerate(seeds or [], start=1):
        print(f"Seed {seed} ({done}/{len(seeds or [])})")
        latent = np.random.RandomState(seed).randn(1, G.z_dim)
        z = torch.from_numpy(latent).to(device)
        image = G(z, label, truncation_psi=truncation_psi, noise_mode=noise_mode)[0]
        misc.to_picture(image).save(f"{outdir}/seed{seed:04d}.png")


if __name__ == "__main__":
    generate_images()
