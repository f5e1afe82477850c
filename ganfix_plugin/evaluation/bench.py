"""Generations rendered once as they are, and again for every correction.

A Fréchet distance between a few hundred images is far from 0 even where nothing is wrong. So there
is a floor, the distance of as many clean images, and what a correction leaves of artifacts is a
share of the way from there to the uncorrected ones.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganfix_plugin.api import attach
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.evaluation.measures import Measures
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.kinds import Kinds, explained
from ganfix_plugin.features.render import Look, pixel_changes, render, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, Sample, read, stored_path

log = logging.getLogger("ganfix")
FEWEST = 8  # labels of a kind in each part
MUCH = 0.2  # of the labels' variance: more than this, and they go with kinds of content
Halves = tuple[list[Sample], list[Sample]]  # artifacts, normals
_SIDE = 64  # changes of pixels are measured at this size, so that memory stays small
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Rendered:
    """Generations as networks see them.

    Attributes:
        features: [n, D] by the name of each network.
        small: [n, 3, s, s], s at most 64.
        digests: of each image, bit for bit.
    """

    features: Mapping[str, Tensor]
    small: Tensor
    digests: Sequence[bytes]


class Bench:
    """Seeds or latents of a generator, which is left as it was."""

    def __init__(self, generator: Generator, looks: Mapping[str, Look], samples: Sequence[Sample]):
        """Render the samples as they are, for networks by name."""
        self.generator, self.looks, self.samples = generator, looks, samples
        self._rows: dict[bytes, dict[str, Tensor]] = {}
        self.plain = self._rendered(False, looks)
        self._rows = {
            digest: {name: rows[place] for name, rows in self.plain.features.items()}
            for place, digest in enumerate(self.plain.digests)
        }

    def after(self, *specs: BoundSpec | str) -> Rendered:
        """The same generations corrected; errors as of `attach`."""
        with attach(self.generator, *specs):
            return self.now()

    def now(self, looks: Mapping[str, Look] | None = None) -> Rendered:
        """The same generations with what is attached to the generator; for all the networks, or
        for fewer of them."""
        return self._rendered(True, self.looks if looks is None else looks)

    def changes(self, after: Rendered) -> Tensor:
        """What each image's pixels change by, as `pixel_changes` says."""
        differ = torch.tensor([*map(operator.ne, self.plain.digests, after.digests)])
        change = pixel_changes(self.plain.small, after.small)
        return torch.where(differ, change.clamp(min=_TINY), 0.0)

    def _rendered(self, corrected: bool, looks: Mapping[str, Look]) -> Rendered:
        """Render all samples; an image that is as it was keeps its features."""
        small: list[Tensor] = []
        digests: list[bytes] = []
        features: dict[str, list[Tensor]] = {name: [] for name in looks}
        for z, c in seed_batches(self.generator, self.samples):
            images = render(self.generator, z, c, corrected).float()
            batch = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.cpu()]
            new = [place for place, digest in enumerate(batch) if digest not in self._rows]
            for name, look in looks.items():
                rows = iter(look(images[new]).cpu() if new else ())
                kept = (self._rows.get(digest) for digest in batch)
                features[name] += [next(rows) if row is None else row[name] for row in kept]
            small.append(adaptive_avg_pool2d(images, min(_SIDE, images.shape[-1])).cpu())
            digests += batch
        stacked = {name: torch.stack(rows) for name, rows in features.items()}
        return Rendered(stacked, torch.cat(small), digests)


@dataclass(frozen=True)
class Trial:
    """What one correction does to labelled generations.

    Attributes:
        spec: the correction; empty is none.
        overall: Fréchet distance of all of them to clean images.
        artifacts: Fréchet distance of the artifacts alone.
        left: the share of the artifacts' way from the floor that it leaves.
        repaired: what it keeps of the artifacts.
        clean: what it keeps of the normals.
    """

    spec: str
    overall: float
    artifacts: float
    left: float
    repaired: Measures
    clean: Measures

    @property
    def change(self) -> float:
        """Mean absolute change of the normals' pixels, of 255."""
        return self.clean.change


@dataclass(frozen=True)
class Labelled:
    """Labelled generations, and clean images that they are measured against.

    Attributes:
        artifacts, normals: on benches with the same networks.
        clean: features [m, D] of clean images, by network; distances are to these.
        others: of as many clean images as there are artifacts, which the floor is of.
    """

    artifacts: Bench
    normals: Bench
    clean: Mapping[str, Tensor]
    others: Mapping[str, Tensor]

    @cached_property
    def references(self) -> dict[str, Gaussian]:
        """The clean images, by network."""
        return {name: Gaussian.of(features) for name, features in self.clean.items()}

    @cached_property
    def floors(self) -> dict[str, float]:
        """The distance of as many clean images as there are artifacts, by network."""
        return self._distances(self.others)

    @cached_property
    def before(self) -> dict[str, float]:
        """The distance of the uncorrected artifacts, by network."""
        return self._distances(self.artifacts.plain.features)

    def left(self, artifacts: Mapping[str, Tensor]) -> dict[str, float]:
        """The share of the way from the floor to the uncorrected artifacts, by network that has
        features [n, D] of them."""
        left = {}
        for name, distance in self._distances(artifacts).items():
            floor = self.floors[name]
            left[name] = (distance - floor) / (self.before[name] - floor)
        return left

    @cached_property
    def kinds(self) -> dict[str, Kinds]:
        """Of content among the clean images, by network: artifacts may be a cluster of their own,
        and to leave that one is no change of content."""
        return {name: Kinds.among(features) for name, features in self.clean.items()}

    def warn(self) -> None:
        """Say so where labels go with kinds of content, by the first network."""
        name = next(iter(self.references))
        sides = [bench.plain.features[name] for bench in (self.artifacts, self.normals)]
        labels = torch.cat(
            [torch.full((len(side),), 1.0 - place) for place, side in enumerate(sides)]
        )
        both = torch.cat(sides)
        share = explained(labels, Kinds.among(both).of(both))
        if share > MUCH:
            warnings.warn(
                f"the labels go with what images show: kinds of content explain {share:.0%} of "
                "them, so that a correction can seem to repair by changing what is shown; see "
                "whether kinds are kept, and label the worst of each kind",
                GanfixWarning,
                stacklevel=3,
            )

    def measures(self, bench: Bench, after: Rendered, name: str) -> Measures:
        """Of artifacts or normals, by a network."""
        before, now = bench.plain.features[name], after.features[name]
        centre = self.clean[name].mean(dim=0)
        return Measures.of(before, now, bench.changes(after), self.kinds[name], centre)

    def trial(self, *specs: BoundSpec) -> Trial:
        """What corrections in a row do, by the first network; none is no correction."""
        benches = self.artifacts, self.normals
        artifacts, normals = (bench.after(*specs) if specs else bench.plain for bench in benches)
        name = next(iter(self.references))
        together = torch.cat([side.features[name] for side in (artifacts, normals)])
        return Trial(
            "; ".join(map(str, specs)),
            self.references[name].distance_to_samples(together),
            self.references[name].distance_to_samples(artifacts.features[name]),
            self.left(artifacts.features)[name],
            self.measures(self.artifacts, artifacts, name),
            self.measures(self.normals, normals, name),
        )

    def _distances(self, features: Mapping[str, Tensor]) -> dict[str, float]:
        """Those of the networks that looked."""
        references = self.references
        return {name: references[name].distance_to_samples(x) for name, x in features.items()}


def labelled(
    generator: Generator,
    network: Extractor,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    clean: Tensor,
) -> Labelled:
    """Artifacts and normals as one network sees them, beside features [m, D] of clean images."""
    name, looks = network.name, {network.name: network.features}
    artifacts, normals = (Bench(generator, looks, part) for part in samples)
    others = normals.plain.features[name][: len(samples[0])]
    return Labelled(artifacts, normals, {name: clean}, {name: others})


def held_out(
    generator: Generator, network: Extractor, labels: Labels, specs: Sequence[BoundSpec], seed: int
) -> Labelled:
    """Those labelled generations that no correction can have learned from; half of the normals are
    the clean images.

    Raises:
        GanfixError: on labels of another generator, or too few of them.
    """
    labels.check(generator.fingerprint)
    files = [stored_path(generator.fingerprint)]
    files += [path for spec in specs if (path := getattr(spec.options, "labels", None))]
    seen = {item.sample for file in files if file.exists() for item in read(file).items}
    items = tuple(item for item in labels.items if item.sample not in seen)
    if dropped := len(labels.items) - len(items):
        log.info("labels: %d are left out, which corrections may have learned from", dropped)
    first, second, clean = split(Labels(labels.generator, items), seed, with_clean=True)
    samples = first[0] + second[0], first[1] + second[1]
    part = labelled(generator, network, samples, seed_features(generator, network, clean))
    part.warn()
    return part


def split(labels: Labels, seed: int, with_clean: bool) -> tuple[Halves, Halves, list[Sample]]:
    """Searched and held-out samples, and if asked for half of the normals as clean images.

    Raises:
        GanfixError: if a part would have fewer than 8 of a kind.
    """
    needed = {ARTIFACT: 2 * FEWEST, NORMAL: (4 if with_clean else 2) * FEWEST}
    for kind, least in needed.items():
        if (count := len(labels.samples(kind))) < least:
            raise GanfixError(f"labels: found {count} labelled {kind}, expected at least {least}")
    artifacts, normals = labels.samples(ARTIFACT), labels.samples(NORMAL)
    chance = random.Random(seed)
    chance.shuffle(artifacts)
    chance.shuffle(normals)
    half = len(normals) // 2 if with_clean else 0
    clean, normals = normals[:half], normals[half:]
    return (artifacts[::2], normals[::2]), (artifacts[1::2], normals[1::2]), clean
