"""What `prepared` costs, as a multiple of what cannot be avoided: one early pass per latent to the
deepest layer that is needed, and one rendering per labelled image, from the time of a few.

On far fewer latents, seeds and labels than in earnest, in about their usual proportion, so that it
takes minutes; one turn. Both sides run batches of the same size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core import Results, Row, Setup, duration, side_by_side
from networks import stylegan2

from ganfix_plugin.artifacts.prepare import Training, prepared
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    Latents,
    measuring_batch,
    rendering_batch,
    seed_batches,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling import sweep
from ganfix_plugin.profiling.profile import Settings

LIMIT = 1.5
LATENTS, SEEDS, LABELS = 80, 100, 20  # to measure on, to be ranked, and of each kind
FEW = 4  # labelled images whose renderings are timed


def measure(setup: Setup) -> Results:
    """Of a random StyleGAN2, in the layers that `seqc` corrects by default."""
    yield _compared(setup.size(min(setup.resolutions), 32), setup)


def _compared(resolution: int, setup: Setup) -> Row:
    G = stylegan2(resolution, setup.ada, setup.size(0, 64 * resolution))
    generator = Generator.of(G)
    number = len(generator.layers)
    last = 6 if number >= 10 else -(-number // 3)
    layers = tuple(layer for layer in generator.layers if 1 <= layer.index <= last)

    def all_passes() -> None:
        passes(generator, (*generator.auto, *layers), LATENTS)
        passes(generator, generator.auto, SEEDS)

    def renderings() -> None:
        for z, c in seed_batches(generator, range(FEW), rendering_batch(generator)):
            render(generator, z, c)

    def preparing() -> None:
        with clean_store(), on_few_latents():
            again = Generator.of(G)  # which has no fingerprint yet
            training = Training(num=SEEDS, top=LABELS)
            prepared(again, layers, Settings(), training=training)

    load_extractor(None)  # whose import is none of it
    works = {"preparing": preparing, "passes": all_passes, "renderings": renderings}
    turns = side_by_side(works, 1, warm=0)
    ours = turns.median("preparing")
    unavoidable = turns.median("passes") + turns.median("renderings") / FEW * 2 * LABELS
    return Row(
        f"`ganfix prepare` of StyleGAN2 {resolution}: {LATENTS} latents to layer {last}, {SEEDS} "
        f"ranked seeds, {2 * LABELS} labels",
        duration(ours),
        f"{duration(unavoidable)}, passes and renderings alone",
        f"**{ours / unavoidable:.2f}×**",
        f"≤ {LIMIT}×",
        ours <= LIMIT * unavoidable,
    )


def passes(generator: Generator, layers: tuple[Layer, ...], latents: int) -> None:
    """Passes of latents to the deepest of some layers."""
    deepest = max(layers, key=lambda layer: layer.index)
    batch = measuring_batch(generator, layers)
    for z, c in Latents.of(generator).batches(latents, batch, generator.device):
        generator.observe((deepest,), z, c, lambda layer, x: None)


@contextmanager
def clean_store() -> Iterator[None]:
    """A store that is empty, and gone afterwards."""
    before = os.environ.get("GANFIX_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["GANFIX_CACHE"] = str(Path(folder))
        try:
            yield
        finally:
            os.environ.pop("GANFIX_CACHE")
            if before is not None:
                os.environ["GANFIX_CACHE"] = before


@contextmanager
def on_few_latents() -> Iterator[None]:
    """As if `LATENTS` were the most that are measured on, and halves never agreed before."""
    before = sweep.MOST, sweep.BLOCK
    sweep.MOST, sweep.BLOCK = LATENTS, LATENTS // 2
    try:
        yield
    finally:
        sweep.MOST, sweep.BLOCK = before
