"""Fitting a probe: on labelled generations, or on both ends of a score's order.

Where kinds of content explain much of what a probe says, it has learned kinds: boots, not what is
wrong with some boots. A discriminator's order is taken within each kind from the start, and its
probe fitted again, apart from what tells the kinds from one another.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin.artifacts.discriminator import d_values, discriminator_of
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.kinds import Kinds, explained, extremes, thumbnails
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    BATCH,
    Latents,
    latent_batches,
    rendering_batch,
    seed_batches,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, Sample
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling.probe import Probe, Shown, by_class, calibrated, fit_probe
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.unit_means import Reader, Readings, read_batches

log = logging.getLogger("ganfix")

_HOW = 3  # raised where probes are made otherwise, so that stored ones are fitted again
POPULATION = 4000
OF_A_CLASS = 100  # of them at least; where classes are too many for that, they share thresholds
JUDGED = 800  # generations that the discriminator looks at
SHOWN = 400  # generations whose kinds of content are looked at, where labels say what is wrong
# Of a score's own order: the share of the worst that stand for artifacts, of the best for normals.
TAILS = {"discriminator": (0.25, 0.5), "lr": (0.1, 0.3)}
# Of the variance of a probe's scores: where kinds explain more than this, they were learned. What
# labels mean shows in kinds too, so that people hear of it where kinds explain most.
MUCH = {"discriminator": 0.2, "labels": 0.5}


@dataclass(frozen=True, eq=False)
class Plan:
    """What a probe is to be fitted on, here and now.

    Attributes:
        source: "labels", "discriminator", "lr" or "direction".
        layers: whose units it reads; none to read the latent.
        settings: of the profile that keeps it.
        labels, origin: and the name of the file that they, or the direction, come from.
        direction: [d], of the latent.
    """

    source: str
    layers: tuple[Layer, ...]
    settings: Settings
    labels: Labels | None = None
    origin: str = ""
    direction: Tensor | None = None

    @property
    def name(self) -> str:
        """Under which the profile keeps it."""
        return f"{self.source}:{'+'.join(str(layer.index) for layer in self.layers) or 'latent'}"

    @property
    def number(self) -> int:
        """How many generations make up its population."""
        return min(POPULATION, self.settings.samples or POPULATION)

    @property
    def request(self) -> str:
        """A hash of all that the probe depends on beside the generator and the settings."""
        labelled: Any = None
        if self.labels:
            labelled = [self.labels.samples(kind) for kind in (ARTIFACT, NORMAL)]
        along = None if self.direction is None else self.direction.tolist()
        numbers = (_HOW, POPULATION, OF_A_CLASS, JUDGED, SHOWN, TAILS, MUCH)
        what = f"{self.name} {labelled} {along} {numbers}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Sorted:
    """Unit means of what stands for artifacts, [n, D], and for normals, [m, D].

    Attributes:
        made: of what, in words.
        shown: generations whose kinds of content were looked at.
    """

    artifacts: Tensor
    normals: Tensor
    made: str
    shown: Shown | None = None


def fitted(
    generator: Generator, plan: Plan, profile: Profile, partial: Partial | None = None
) -> Probe:
    """Fit what is planned.

    Args:
        profile: with the activation rates of the default layers, for LR counts.
        partial: where what is read of the population is kept, and taken up from.

    Raises:
        GanfixError: if the direction does not fit the generator, or units are no numbers.
    """
    settings, reader = plan.settings, Reader.of(generator, plan.layers)
    if plan.source == "discriminator":
        discriminator_of(generator)  # before anything is measured
    what = f"the units of layers {reader.numbers}" if plan.layers else "the latents"
    log.info("fitting a probe by %s: reading %s of %d generations", plan.source, what, plan.number)
    # Other latents than those that low-rate neurons were counted on.
    latents = Latents.of(generator, settings.seed + 1, settings.class_index)
    batches = latent_batches(generator, latents, plan.number, BATCH, "the probe")
    population = read_batches(generator, reader, batches, partial)
    if plan.direction is not None:
        return _along(generator, plan, plan.direction, population)

    def means(samples: Sequence[Sample]) -> Tensor:
        batches = seed_batches(generator, samples, class_index=settings.class_index)
        return read_batches(generator, reader, batches).means

    if plan.labels is not None:
        artifacts, normals = (means(plan.labels.samples(kind)) for kind in (ARTIFACT, NORMAL))
        made = f"{len(artifacts)} artifacts and {len(normals)} normals of {plan.origin}"
        samples = Sorted(artifacts, normals, made, _shown(generator, plan, latents, population))
    elif plan.source == "discriminator":
        samples = _judged(generator, plan, means)
    else:
        batches = latent_batches(generator, latents, plan.number, BATCH, "LR counts")
        counts = lr_counts(generator, profile.low_rates(generator.auto), batches)
        artifacts, normals = (population.means[rows] for rows in _ends(counts, plan.source))
        made = f"both ends of {plan.number} generations by LR count, which its AUC is of"
        samples = Sorted(artifacts, normals, made)
    probe = fit(plan, samples, population)
    if not plan.layers or plan.settings.class_index is not None:
        return probe
    if population.classes is None or population.conditions is None:
        return probe
    if generator.classes * OF_A_CLASS > plan.number:
        log.info(
            "thresholds are of all %d classes together, too many to measure each; class=N measures "
            "one",
            generator.classes,
        )
        return probe
    return by_class(probe, population.means, population.conditions, population.classes)


def fit(plan: Plan, samples: Sorted, population: Readings) -> Probe:
    """The probe of some samples; and again apart from kinds of content, if it has learned these
    from a score. What people labelled is believed, with a warning where it goes with kinds, and
    with thresholds by kind where these tell the labels better.

    Kinds may be the defect itself, as where broken images are a kind of their own. So the second
    probe must still tell at least half as much beyond chance.
    """
    made = f"fitted on {samples.made}"

    def fit_on(made: str, apart: Tensor | None = None, shown: Shown | None = None) -> Probe:
        return fit_probe(
            samples.artifacts,
            samples.normals,
            population.means,
            apart=apart,
            shown=shown,
            scale=population.scale,
            root=population.root,
            source=plan.source,
            made=made,
            request=plan.request,
        )

    probe = fit_on(made)
    if samples.shown is None:
        return probe
    means, kinds = samples.shown
    number, share = len(kinds.unique()), explained(probe.score(means), kinds)
    much, area = share > MUCH[plan.source], probe.auc or 0.0
    if plan.source == "labels":
        if plan.layers and population.classes is None:  # classes have thresholds of their own
            text = f"{made}, with thresholds by {number} kinds of content"
            by_kind = fit_on(text, shown=samples.shown)
            if (by_kind.auc or 0.0) >= area:
                return by_kind
        if much:
            warnings.warn(
                f"kinds of content explain {share:.0%} of what a probe learns from these labels; "
                "unless they are what is wrong, label the worst of each kind to do better",
                GanfixWarning,
                stacklevel=6,
            )
        return probe
    if not much:
        return probe
    centres = [means[kinds == kind].mean(dim=0) for kind in kinds.unique()]
    text = f"{made}, apart from {number} kinds of content, which explained {share:.0%} of it"
    apart = fit_on(text, torch.stack(centres[1:]) - centres[0])
    return apart if (apart.auc or 0.0) - 0.5 >= (area - 0.5) / 2 else probe


def _judged(generator: Generator, plan: Plan, means: Any) -> Sorted:
    """Both ends, within each kind of content, of what the network's discriminator says."""
    seeds = range(min(JUDGED, plan.number))
    log.info("rendering %d generations, for the network's discriminator to judge", len(seeds))
    small: list[Tensor] = []
    scores = -d_values(
        generator, seeds, plan.settings.class_index, lambda x: small.append(thumbnails(x))
    )
    pictures, units = torch.cat(small), means(seeds)
    kinds = Kinds.among(pictures).of(pictures)
    artifacts, normals = _ends(scores, plan.source, kinds)
    made = f"both ends of {len(seeds)} generations by the discriminator, which its AUC is of"
    return Sorted(units[artifacts], units[normals], made, (units, kinds))


def _shown(generator: Generator, plan: Plan, latents: Latents, population: Readings) -> Shown:
    """Unit means of the first generations of a population, and their kinds of content."""
    number = min(SHOWN, plan.number)
    log.info("rendering %d generations, to see whether labels go with what images show", number)
    size = rendering_batch(generator)
    batches = latent_batches(generator, latents, number, size, "kinds of content")
    pictures = torch.cat([thumbnails(render(generator, z, c)) for z, c in batches])
    return population.means[:number], Kinds.among(pictures).of(pictures)


def _ends(scores: Tensor, source: str, kinds: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The rows that a score [n] puts highest and lowest, within each kind [n] if there are any."""
    worst, best = TAILS[source]
    kinds = scores.new_zeros(len(scores)) if kinds is None else kinds
    lowest, highest = extremes(scores, kinds, best, worst)
    return highest, lowest


def _along(generator: Generator, plan: Plan, direction: Tensor, population: Readings) -> Probe:
    """A direction from elsewhere, calibrated on this generator's latents."""
    if len(direction) != population.means.shape[1]:
        raise GanfixError(
            f"direction {plan.origin}: found {len(direction)} values, expected "
            f"{population.means.shape[1]} for this {generator.name}"
        )
    return calibrated(direction, population.means, population.scale, plan.origin, plan.request)
