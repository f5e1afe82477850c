"""What a user waits for first: from an unprepared network to its first corrected image.

Beside the one sweep over latents that cannot be left out: passes through the papers' default layers
of as many latents as the corrector's layers were measured on. One turn each, in an empty store.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from core import Results, Row, Setup, clock, duration
from networks import render, stylegan2
from preparing import clean_store, passes

from ganfix_plugin import attach
from ganfix_plugin.artifacts import prepare, probe_fit
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.profiling import sweep
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import ensure

SPECS = ("seqabl", "steer", "seqc")
SWEPT = 2000  # latents where nothing says how many were swept: on which halves agree as a rule


def measure(setup: Setup) -> Results:
    """Of a random StyleGAN2, with each corrector as it is when nothing else is said."""
    resolution = setup.size(64, 16)
    G = stylegan2(resolution, setup.ada, 64 * resolution)
    for spec in SPECS:
        with clean_store(), sizes(setup), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a random network, a classifier knows nothing
            ours, swept = _timed(lambda: _corrected(G, spec)), _swept(G)
            generator = Generator.of(G)
            alone = _timed(lambda: passes(generator, generator.auto, swept))
        yield Row(
            f"first image by `--correct {spec}` of an unprepared StyleGAN2 {resolution}",
            duration(ours),
            f"{duration(alone)}, one sweep over {swept:,} latents",
            f"{ours / alone:.1f}×",
        )


def _corrected(G: Any, spec: str) -> None:
    with attach(G, spec):
        render(G, torch.zeros(1, 512) + 0.5)


def _swept(G: Any) -> int:
    """On how many latents a generator was measured."""
    profile, _ = ensure(Generator.of(G), Settings(), ())
    return max((extent.latents for extent in profile.extents.values()), default=SWEPT)


def _timed(work: Any) -> float:
    by = clock()
    start = by()
    work()
    return by() - start


@contextmanager
def sizes(setup: Setup) -> Iterator[None]:
    """With --quick, the smallest numbers of everything."""
    with ExitStack() as patched:
        if setup.quick:
            patched.enter_context(patch.multiple(sweep, MOST=80, BLOCK=20))
            patched.enter_context(patch.multiple(prepare, NUM=60, TOP=24))
            patched.enter_context(patch.multiple(probe_fit, POPULATION=60, JUDGED=40, SHOWN=40))
        yield
