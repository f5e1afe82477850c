"""What ``--screen`` costs beside rendering, on NVIDIA's StyleGAN2 as the scripts call it.

    python benchmarks/screening.py [--host DIR] [--resolution 256] [--resolution 1024]

Scoring runs as in ``--screen``: early exit, latents in the batches that are fastest. Rendering runs
as in generate.py: one seed after the other. Weights are random, which changes no time. DIR is a
checkout of stylegan2-ada-pytorch; without it the classes of examples/stylegan2_small, which have
the same shapes, stand in.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ganfix_plugin.adapters import find_adapter
from ganfix_plugin.hosts.screening import Scorer, fastest
from ganfix_plugin.profiling.rates import fitting_batch

EXAMPLE = Path(__file__).parents[1] / "examples" / "stylegan2_small"
FLOORS = {256: 0.15, 1024: 0.04}
WIDTHS = {256: 16384, 1024: 32768}  # channel_base of the released models


def build(resolution: int, device: str) -> Any:
    """A StyleGAN2 of the released models' widths, with seeded weights."""
    from training.networks import Generator

    torch.manual_seed(0)
    G = Generator(
        z_dim=512,
        c_dim=0,
        w_dim=512,
        img_resolution=resolution,
        img_channels=3,
        mapping_kwargs={"num_layers": 8},
        synthesis_kwargs={"channel_base": WIDTHS.get(resolution, 32768), "channel_max": 512},
    )
    return G.eval().requires_grad_(False).to(device)


def seconds(work: Callable[[], object], device: str) -> float:
    """CPU seconds on a CPU, which others on the machine do not change; wall clock on a GPU."""
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@click.command()
@click.option("--host", type=click.Path(exists=True, path_type=Path), default=EXAMPLE)
@click.option("--resolution", "resolutions", type=int, multiple=True, default=(256, 1024))
@click.option("--seeds", default=4, show_default=True, help="Per measurement.")
@click.option("--repeats", default=3, show_default=True, help="Interleaved; medians are shown.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(
    host: Path, resolutions: tuple[int, ...], seeds: int, repeats: int, device: str, threads: int
) -> None:
    """Print the cost per seed of scoring and of rendering, and their ratio."""
    sys.path.insert(0, str(host))
    torch.set_num_threads(threads)
    click.echo("| resolution | scoring a seed | rendering it | ratio | at most |")
    click.echo("|---|---|---|---|---|")
    for resolution in resolutions:
        G = build(resolution, device)
        adapter = find_adapter(G)
        layers = adapter.auto(adapter.layers(G))
        low_rate = [
            (layer, torch.rand(layer.channels, *layer.resolution) < 0.2) for layer in layers
        ]
        batch = fitting_batch(layers, torch.device(device))
        scorer = Scorer(G, adapter, low_rate, 1000, fastest(G), batch)

        def score() -> None:
            scorer.exceeding(range(seeds), None)

        def render() -> None:
            for seed in range(seeds):
                z = torch.from_numpy(np.random.RandomState(seed).randn(1, 512)).to(device)
                with torch.no_grad():
                    G(z, torch.zeros(1, 0, device=device), truncation_psi=1, noise_mode="const")

        score()
        times = [(seconds(score, device), seconds(render, device)) for _ in range(repeats)]
        scoring, rendering = (statistics.median(each) / seeds for each in zip(*times))
        ratio = statistics.median(one / other for one, other in times)
        floor = f"{FLOORS[resolution]:.0%}" if resolution in FLOORS else ""
        click.echo(
            f"| {resolution} | {scoring * 1e3:.0f} ms | {rendering * 1e3:.0f} ms | {ratio:.1%} | "
            f"{floor} |"
        )


if __name__ == "__main__":
    main()
