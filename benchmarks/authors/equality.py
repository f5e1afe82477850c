"""Rates, LR sets, LR counts and ablated images: equal to the authors', bit for bit?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from core import Results, Row, Setup

from authors.code import Authors, measured_by_them, quiet
from authors.ours import RATE, Ours
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.profiling.rates import import_rates


def measure(setup: Setup) -> Results:
    """Seeded generators, the trained PGGAN of examples/, and the rates that they published."""
    assert setup.authors
    authors = Authors(setup.authors, setup.genforce)
    batch = 2
    for model in setup.models:
        G = authors.generator(model, min(setup.resolutions))
        theirs = authors.run(G, model, 4 * batch, batch)
        title = f"{model} {min(setup.resolutions)}"
        yield from _compared(title, model, theirs, Ours(G, batch, exact=True), 512)
    theirs = authors.run(authors.footwear(narrow=True), "pggan", 512, 32)
    ours = Ours(authors.footwear(narrow=False), 32, exact=True)
    yield from _compared("trained pggan_footwear32", "pggan", theirs, ours, 64)
    yield _published(authors)


def _compared(title: str, model: str, theirs: Any, ours: Ours, z_dim: int) -> Iterator[Row]:
    numbers = measured_by_them(model)
    with quiet():
        torch.manual_seed(1)
        theirs.arti_detection(numbers[:3], sample_num=4 * ours.batch, topn=ours.batch)
        chosen = list(range(ours.batch))
        original, repaired, _ = theirs.seq_abl(chosen, numbers[:3], rate="30")
    z, scored = theirs.latents[:, :z_dim], theirs.scored[:, :z_dim]
    profile = ours.profile(z, numbers)
    equal = _equal_layers(theirs, ours, profile, numbers)
    yield _row(f"{title}: rates and LR sets, {len(z)} latents", equal, len(numbers), "layers")
    scores = ours.detect(scored, ours.low_rate(profile))
    equal = int((scores.float() == theirs.scores).sum())
    what = f"{title}: LR counts, {int(scores.min())} to {int(scores.max())}"
    yield _row(what, equal, len(scores), "latents")
    image = ours.correct(z[: ours.batch], profile)
    changed = float((original - repaired).abs().mean() / original.abs().mean())
    equal = sum(torch.equal(a, b) for a, b in zip(image, repaired))
    what = f"{title}: images with ablation, which changes them by {changed:.0%}"
    yield _row(what, equal, len(image), "images")


def _published(authors: Authors) -> Row:
    """The published FFHQ rates: imported by ganfix, and read by the authors' own class."""
    G = authors.generator("stylegan2", 64)
    theirs = authors.run(G, "stylegan2", 1, 1, str(authors.stats))
    profile = import_rates(Generator.of(G), authors.stats, "ffhq", "stylegan2")
    numbers = measured_by_them("stylegan2")
    equal = _equal_layers(theirs, Ours(G, 1), profile, numbers)
    return _row("published FFHQ rates and LR sets, imported", equal, len(numbers), "layers")


def _equal_layers(theirs: Any, ours: Ours, profile: Any, numbers: list[int]) -> int:
    """In how many layers both the rates and the LR set at 0.3 are equal."""
    equal = 0
    for layer in ours.layers(numbers):
        key = f"layer{layer.index}"
        low = profile.low_rate(layer, RATE, dead=False).flatten()
        rates = profile.rates(layer).flatten().numpy()
        equal += np.array_equal(rates, theirs.neurons_freq[key]) and np.array_equal(
            low.nonzero()[:, 0], theirs.r_indices_[key]["30"]
        )
    return equal


def _row(what: str, equal: int, total: int, of: str) -> Row:
    counted = f"{equal} of {total} {of} equal"
    return Row(what, counted, "authors", "", "equal bit for bit", equal == total)
