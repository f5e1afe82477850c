"""What a profile lacks, measured: rates and thresholds by one sweep, LR scores after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, latent_batches, measuring_batch
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.partial import Partial, rows
from ganfix_plugin.profiling.profile import Extent, Profile
from ganfix_plugin.profiling.rates import count_active, lr_counts
from ganfix_plugin.profiling.sweep import MOST, TAU, Wanted, sweep
from ganfix_plugin.workers import Tensors

log = logging.getLogger("ganfix")

# Latents for the LR scores, where no number is given. A quantile q of n scores leaves a share of
# all samples above it with a standard error of √(q (1 − q) / n): at most 1 %.
SCORED = 2500

Share = Callable[[str, Callable[[int, int], Tensors]], list[Tensors]]
"""From the name of a work, and a function of a part's number and how many there are, to the parts;
none if another rank has used them already."""


@dataclass(frozen=True)
class Needed:
    """What a profile is to hold.

    Attributes:
        rates: the layers whose activation rates are needed.
        scored: the layers over which a gate's LR scores are needed, if any are.
        thresholds: the layers whose units' thresholds are needed, at ``tau``.
    """

    rates: tuple[Layer, ...] = ()
    scored: tuple[Layer, ...] = ()
    thresholds: tuple[Layer, ...] = ()
    tau: float = TAU

    def lacking(self, profile: Profile) -> Needed:
        """What of it a profile does not hold."""
        kept = _kept_thresholds(profile, self.tau)
        rates = dict.fromkeys((*self.rates, *self.scored))
        return Needed(
            tuple(layer for layer in rates if layer.name not in profile.counts),
            () if profile.has_scores(self.scored) else self.scored,
            tuple(layer for layer in self.thresholds if layer.name not in kept),
            self.tau,
        )

    def __bool__(self) -> bool:
        return bool(self.rates or self.scored or self.thresholds)


@dataclass(frozen=True)
class Measuring:
    """How a generator is measured.

    Attributes:
        batch: latents per pass; None takes what suits the device, or `BATCH` of several ranks, who
            may have others.
        partial: from what sums depend on to where they are kept until they are complete.
    """

    generator: Generator
    batch: int | None
    partial: Callable[[object], Partial]

    def complete(self, profile: Profile, lacking: Needed) -> Profile:
        """The profile with what it lacks."""
        if lacking.rates or lacking.thresholds:
            profile = self._swept(profile, lacking)
        if lacking.scored:
            scores = self._scores(profile, lacking.scored)
            profile = _with_scores(profile, lacking.scored, scores)
        return profile

    def share_out(self, profile: Profile, lacking: Needed, share: Share) -> Profile:
        """The profile with the rates and LR scores that it lacks, of a given number of latents, by
        several ranks; or without them if another rank was done before."""
        number, size = profile.settings.samples, self.batch or BATCH
        assert number is not None
        if lacking.rates:
            _announce("activation rates", lacking.rates, profile)
            latents, layers = self._latents(profile), lacking.rates

            def count(i: int, n: int) -> Tensors:
                return count_active(self.generator, layers, latents, number, size, (i, n))

            if not (parts := share("rates", count)):
                return profile
            counts = profile.counts.copy()
            for layer in layers:
                of_parts = torch.stack([part[layer.name] for part in parts if part])
                counts[layer.name] = of_parts.sum(dim=0, dtype=torch.int32)
            extents = {f"rates/{layer.name}": Extent(number) for layer in layers}
            profile = replace(profile, counts=counts, extents=profile.extents | extents)
        if lacking.scored:
            log.info("measuring LR scores: %d latents", number)
            low_rate, others = profile.low_rates(lacking.scored), self._latents(profile, 1)

            def score(i: int, n: int) -> Tensors:
                batches = latent_batches(self.generator, others, number, size, "scores", (i, n))
                return {"lr_scores": lr_counts(self.generator, low_rate, batches)}

            if parts := share("scores", score):
                scores = torch.cat([part["lr_scores"] for part in parts])
                profile = _with_scores(profile, lacking.scored, scores)
        return profile

    def _swept(self, profile: Profile, lacking: Needed) -> Profile:
        _announce("activation rates", lacking.rates, profile)
        _announce("unit thresholds", lacking.thresholds, profile)
        layers = tuple(dict.fromkeys((*lacking.rates, *lacking.thresholds)))
        samples, batch = profile.settings.samples, self._batch(layers)
        wanted = Wanted(lacking.rates, lacking.thresholds, lacking.tau, samples, batch)
        partial = self.partial(("sweep", profile.settings, wanted))
        swept = sweep(self.generator, wanted, self._latents(profile), partial)
        if samples is None:
            took = max(extent.latents for extent in swept.extents.values())
            why = "where two halves agree" if took < MOST else "the most that it takes"
            log.info("measured on up to %d latents, %s", took, why)
        changed = replace(
            profile,
            counts=profile.counts | swept.counts,
            extents=profile.extents | swept.extents,
        )
        if not swept.thresholds:
            return changed
        thresholds = _kept_thresholds(profile, lacking.tau) | swept.thresholds
        made = profile.made | {"thresholds": _made(profile, lacking.tau)}
        return replace(changed, thresholds=thresholds, made=made)

    def _scores(self, profile: Profile, scored: Sequence[Layer]) -> Tensor:
        number, batch = profile.settings.samples or SCORED, self._batch(scored)
        log.info("measuring LR scores: %d latents", number)
        partial = self.partial(("scores", profile.settings, scored, number, batch))
        low_rate, others = profile.low_rates(scored), self._latents(profile, 1)
        batches = latent_batches(self.generator, others, number, batch, "scores")
        return rows(batches, lambda batch: lr_counts(self.generator, low_rate, [batch]), partial)

    def _latents(self, profile: Profile, stream: int = 0) -> Latents:
        """The latents to count on; another stream for scores, since a neuron is rarer among those
        that it was found to be rare on."""
        settings = profile.settings
        return Latents.of(self.generator, settings.seed + stream, settings.class_index)

    def _batch(self, layers: Sequence[Layer]) -> int:
        return self.batch or measuring_batch(self.generator, layers)


def _with_scores(profile: Profile, scored: Sequence[Layer], scores: Tensor) -> Profile:
    names = tuple(layer.name for layer in scored)
    return replace(profile, lr_scores=scores.sort().values, scored=names)


def _made(profile: Profile, tau: float) -> str:
    """How the thresholds of a profile are made."""
    samples = profile.settings.samples
    return f"tau={tau:g}" if samples is None else f"samples={samples},tau={tau:g}"


def _kept_thresholds(profile: Profile, tau: float) -> Tensors:
    """Those of a profile that are of this tau."""
    return profile.thresholds if profile.made.get("thresholds") == _made(profile, tau) else {}


def _announce(what: str, layers: Sequence[Layer], profile: Profile) -> None:
    if layers:
        samples, numbers = profile.settings.samples, "+".join(str(layer.index) for layer in layers)
        number = samples or f"as many as it takes, at most {MOST}"
        log.info("measuring %s: %s latents, layers %s", what, number, numbers)
