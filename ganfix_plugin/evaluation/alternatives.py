"""What else would rid a population of what is flagged: to draw again, or to truncate.

A corrected population is fairly compared with these two only at the same price. Rejection is what
`--screen` does with the share that the correction changes; truncation is taken at the psi at which
the flagged generations come as near to the others as the correction brings them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import ceil, sqrt

import torch
from torch import Tensor

from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.views import KEPT, SIDES, Seen, Views
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.latents import Listed
from ganfix_plugin.labels import LAST_SEED

log = logging.getLogger("ganfix")

PSIS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def alternatives(
    views: Views, latents: Listed, done: Seen, specs: Sequence[BoundSpec], further: int
) -> dict[str, Tensor]:
    """Features [n, D] of the populations that rejection and truncation make of some seeds, by name.

    Args:
        done: what is seen of the seeds, uncorrected and corrected.
        specs: the correction.
        further: the first of the seeds that are drawn in the place of rejected ones.
    """
    plain, corrected = (done.rows[side] for side in SIDES)
    latents = latents[: len(plain)]
    changed = done.rows["changes"][: len(plain)] > 0
    count = int(changed.sum())
    if min(count, len(changed) - count) < 2:
        log.info("rejection and truncation: left out; %d of %d are changed", count, len(changed))
        return {}
    populations = {}
    more = drawn(count, len(changed))
    first = further if further + more <= LAST_SEED else 0
    again = _left_alone(views, specs, range(first, first + more))[:count]
    if len(again) == count:
        rejection = plain.clone()
        rejection[changed] = again
        populations[f"rejection {count / len(changed):.0%}"] = rejection

    flagged = latents[changed]

    def truncated(psi: float, latents: Listed = flagged) -> Tensor:
        spec = parse_spec(f"truncation:psi={psi:g}")
        return views.of(latents, f"{first} {more} {count} {len(latents)}", [spec]).rows["corrected"]

    try:
        psi, ratio = psi_alike(truncated, corrected[changed], plain[~changed])
    except GanfixError as error:  # a generator without anything to pull towards
        log.info("%s", error)
        return populations
    short = f", {ratio:.1f} times as far" if ratio > 1 else ""
    populations[f"truncation {psi:g}{short}"] = truncated(psi, latents)
    return populations


def _left_alone(views: Views, specs: Sequence[BoundSpec], seeds: range) -> Tensor:
    """Features [n, D] of the generations of seeds that a correction leaves alone."""
    rows: list[Tensor] = []
    for part in (seeds[start : start + KEPT] for start in range(0, len(seeds), KEPT)):
        text = f"{part[0]}-{part[-1]}"
        seen = views.of(read_latents(text, views.generator), text, specs).rows
        plain = seen["uncorrected"]
        rows.append(plain[seen["changes"][: len(plain)] == 0])
    return torch.cat(rows)


def drawn(changed: int, of: int) -> int:
    """How many generations to draw so that, but for bad luck, as many of them are left alone as a
    correction changed of so many others."""
    return ceil((changed + 4 * sqrt(changed) + 4) / (1 - changed / of))


def psi_alike(
    truncated: Callable[[float], Tensor], repaired: Tensor, others: Tensor
) -> tuple[float, float]:
    """The weakest truncation that does what a correction does; else the one that comes nearest.

    Args:
        truncated: from psi to features [n, D] of flagged generations.
        repaired: their features [n, D] corrected.
        others: features [m, D] of generations that are left alone.

    Returns:
        psi, and the distance of the truncated from the others over that of the repaired: at most 1
        if truncation reaches as far.
    """
    reference = Gaussian.of(others)
    goal = reference.distance_to_samples(repaired)
    tried: list[tuple[float, float]] = []
    for psi in PSIS:
        tried.append((psi, reference.distance_to_samples(truncated(psi)) / goal))
        if tried[-1][1] <= 1:
            return tried[-1]
    return min(tried, key=lambda trial: trial[1])
