"""What ``--screen`` costs beside rendering, on NVIDIA's StyleGAN2 as the scripts call it.

Scoring runs as in ``--screen``: early exit, latents in the batches that are fastest. Rendering runs
as in generate.py: one seed after the other.
"""

from __future__ import annotations

import functools
import statistics

import numpy as np
import torch
from core import Results, Row, Setup, duration, side_by_side
from networks import render, stylegan2

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.screening import Scorer
from ganfix_plugin.profiling.rates import lr_count

LIMITS = {256: 0.15, 1024: 0.04}  # of the time of rendering
RANKED = 10_000  # seeds, from the time of one


def measure(setup: Setup) -> Results:
    """The cost per seed of scoring and of rendering, and their ratio."""
    for resolution in (16,) if setup.quick else LIMITS:
        yield _compared(resolution, setup)


def _compared(resolution: int, setup: Setup) -> Row:
    G = stylegan2(resolution, setup.ada)
    generator, seeds = Generator.of(G), range(setup.size(32, 1))
    layers = generator.auto
    low_rate = [(layer, torch.rand(layer.channels, *layer.resolution) < 0.2) for layer in layers]
    count = functools.partial(lr_count, G, low_rate)
    scorer = Scorer(generator, "LR count", count, layers, 1000)
    few = seeds[: 4 if resolution < 512 else 2]

    def rendered() -> None:
        for seed in few:
            render(G, torch.from_numpy(np.random.RandomState(seed).randn(1, 512)))

    works = {"scoring": lambda: scorer.exceeding(seeds), "rendering": rendered}
    turns = side_by_side(works, setup.repeats)
    ratio = statistics.median(turns.ratios("scoring", "rendering")) * len(few) / len(seeds)
    limit = LIMITS.get(resolution)
    return Row(
        f"ranking {RANKED:,} seeds of StyleGAN2 {resolution}, as `detect` and `--screen` do",
        duration(turns.median("scoring") / len(seeds) * RANKED),
        f"{duration(turns.median('rendering') / len(few) * RANKED)}, rendering them to look",
        f"**{ratio:.1%}**",
        f"≤ {limit:.0%}" if limit else "",
        ratio <= limit if limit else None,
    )
