"""Search a corrector's own options for the best trade on one generator.

A setting is judged by the Fréchet distance of all labelled generations, corrected, to clean images:
it falls as artifacts are repaired, and rises again as clean images lose what they had. The setting
that is best on one half of the labels is judged on the other.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganfix_plugin.api import attach
from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.render import real_features, render, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, Sample
from ganfix_plugin.spec import key_of

log = logging.getLogger("ganfix")
FEWEST = 8  # labels of a kind in each part
PAPERS = ("seqabl:rate=0.3", "seqc")
Keys = Mapping[str, Sequence[str]]
Kinds = tuple[list[Sample], list[Sample]]  # artifacts, normals
_SIDE = 64  # changes of pixels are measured at this size, so that memory stays small


@dataclass(frozen=True)
class Trial:
    """What one setting does to labelled generations.

    Attributes:
        spec: the setting; empty is no correction.
        overall: Fréchet distance of all generations to clean images, which the search lowers.
        artifacts: Fréchet distance of the artifacts alone.
        change: mean absolute change of the normals' pixels, of 255, at 64 × 64.
        untouched: share of the normals that are bit for bit as they were.
    """

    spec: str
    overall: float
    artifacts: float
    change: float
    untouched: float


@dataclass(frozen=True)
class Tuning:
    """A search's result.

    Attributes:
        trials: every setting tried, on the searched half, in the order of the search; the first is
            no correction, the second the corrector's defaults.
        best: the trial of least ``overall``.
        held_out: no correction, the papers' defaults and the best on the other half, by spec.
    """

    trials: tuple[Trial, ...]
    best: Trial
    held_out: tuple[Trial, ...]

    @property
    def front(self) -> list[Trial]:
        """The trials that no other one beats in both artifacts and change, by change."""
        front: list[Trial] = []
        for trial in sorted(self.trials, key=lambda trial: (trial.change, trial.artifacts)):
            if not front or trial.artifacts < front[-1].artifacts:
                front.append(trial)
        return front


class _Generations(NamedTuple):
    """Features [n, D], small copies [n, 3, s, s], and a digest of each image."""

    features: Tensor
    small: Tensor
    digests: list[bytes]


def tune(
    generator: Generator,
    spec: BoundSpec,
    labels: Labels,
    *,
    trials: int = 32,
    seed: int = 0,
    extractor: str | None = None,
    real: Path | None = None,
) -> Tuning:
    """Search the options that a spec leaves open.

    The first third of the trials is drawn by chance, the others change one key of the best so far.

    Args:
        generator: it is left as it was.
        spec: a corrector; the keys that its text sets stay as they are.
        labels: of this generator; split by chance into searched, held out and, without real
            images, clean ones to measure against.
        trials: how many settings to try.
        seed: of the split and of the search.
        extractor: of the features; by default that of `load_extractor`.
        real: clean images, a folder or zip.

    Raises:
        GanfixError: on too few labels, labels of another generator, or a spec that sets every key.
    """
    labels.check(generator.fingerprint)
    network = load_extractor(extractor, generator.discriminator)
    searched, held_out, clean = split(labels, seed, with_clean=real is None)
    if real is None:
        features = seed_features(generator, network, clean)
    else:
        features = real_features(generator, real, network)
    reference = Gaussian.of(features)
    part = _Part(generator, network, reference, searched)
    tried = [part.trial(None)]
    open_keys = choices(spec, generator.auto)
    settings: dict[str, BoundSpec] = {}
    for setting in proposals(spec, open_keys, tried, trials, random.Random(seed)):
        if trial := part.attempt(setting):
            tried.append(trial)
            settings[trial.spec] = setting
            log.info("%d/%d %s: %.2f", len(tried) - 1, trials, setting, trial.overall)
    if len(tried) == 1:
        raise GanfixError(f"tune {spec}: no setting could be tried; attach it once to see why")
    best = _best(tried)
    measured = {name: getattr(spec.options, name) for name in ("samples", "class_index", "profile")}
    papers = [
        replace(paper, options=replace(paper.options, **measured))
        for paper in map(parse_spec, PAPERS)
    ]
    part = _Part(generator, network, reference, held_out)
    compared = [part.trial(None), *map(part.attempt, papers), part.trial(settings[best.spec])]
    return Tuning(tuple(tried), best, tuple(filter(None, compared)))


def split(labels: Labels, seed: int, with_clean: bool) -> tuple[Kinds, Kinds, list[Sample]]:
    """Searched and held-out samples, and if asked for half of the normals as clean images.

    Raises:
        GanfixError: if a part would have fewer than 8 of a kind.
    """
    needed = {ARTIFACT: 2 * FEWEST, NORMAL: (4 if with_clean else 2) * FEWEST}
    for kind, least in needed.items():
        if (count := len(labels.samples(kind))) < least:
            raise GanfixError(f"labels: found {count} of class {kind}, expected at least {least}")
    artifacts, normals = labels.samples(ARTIFACT), labels.samples(NORMAL)
    chance = random.Random(seed)
    chance.shuffle(artifacts)
    chance.shuffle(normals)
    half = len(normals) // 2 if with_clean else 0
    clean, normals = normals[:half], normals[half:]
    return (artifacts[::2], normals[::2]), (artifacts[1::2], normals[1::2]), clean


def choices(spec: BoundSpec, auto: Sequence[Layer]) -> Keys:
    """The texts to try for every key that a spec leaves open; the empty text is the default.

    Keys say what is worth trying (`spec.option`); layers are each default one and all up to it.

    Raises:
        GanfixError: if there is nothing to search.
    """
    numbers = [str(layer.index) for layer in auto]
    up_to = ["+".join(numbers[:end]) for end in range(2, len(numbers) + 1)]
    texts = {key_of(field): field.metadata["tune"] for field in fields(spec.options)}
    texts = {key: (*numbers, *up_to) if key == "layers" else texts[key] for key in texts}
    open_keys = {key: ("", *texts[key]) for key in texts if texts[key] and key not in spec.keys}
    if not open_keys:
        raise GanfixError(f"tune {spec}: no key is left to search; leave some out")
    return open_keys


def proposals(
    spec: BoundSpec, open_keys: Keys, tried: Sequence[Trial], trials: int, chance: random.Random
) -> Iterator[BoundSpec]:
    """Settings, each once, until there are no more or as many as were wanted have been ``tried``.

    The defaults come first, then draws by chance, then changes of one key of the best.
    """
    settings: dict[str, BoundSpec] = {}
    draws = 0
    while len(tried) <= trials and draws < 200:
        setting, keys = spec, list(open_keys) if settings else []
        if len(tried) > max(2, trials // 3) and draws <= 100:
            setting = settings[_best(tried).spec]
            keys = [chance.choice(keys)]
        draws += 1
        try:
            setting = setting.replaced({key: chance.choice(open_keys[key]) for key in keys})
        except GanfixError:  # two keys that exclude each other
            continue
        if str(setting) not in settings:
            settings[str(setting)], draws = setting, 0
            yield setting


def _best(tried: Sequence[Trial]) -> Trial:
    return min(tried[1:], key=lambda trial: trial.overall)


class _Part:
    """Some labelled generations, rendered once as they are, and again for every trial."""

    def __init__(
        self, generator: Generator, extractor: Extractor, reference: Gaussian, kinds: Kinds
    ):
        self.generator, self.extractor, self.reference = generator, extractor, reference
        self.artifacts, self.samples = len(kinds[0]), [*kinds[0], *kinds[1]]
        self.plain = self.render(corrected=False)

    def render(self, corrected: bool) -> _Generations:
        """Render all samples; an image that is as it was keeps its features."""
        features = dict(zip(self.plain.digests, self.plain.features)) if corrected else {}
        small: list[Tensor] = []
        digests: list[bytes] = []
        for z, c in seed_batches(self.generator, self.samples):
            images = render(self.generator, z, c, corrected).float()
            batch = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.cpu()]
            new = [place for place, digest in enumerate(batch) if digest not in features]
            if new:
                rows = self.extractor.features(images[new]).cpu()
                features |= {batch[place]: row for place, row in zip(new, rows)}
            small.append(adaptive_avg_pool2d(images, min(_SIDE, images.shape[-1])).cpu())
            digests += batch
        rows = torch.stack([features[digest] for digest in digests])
        return _Generations(rows, torch.cat(small), digests)

    def trial(self, spec: BoundSpec | None) -> Trial:
        """What a setting does; None is no correction."""
        after, before = self.plain, self.plain
        if spec:
            with attach(self.generator, spec):
                after = self.render(corrected=True)
        same = [*map(operator.eq, after.digests, before.digests)][self.artifacts :]
        return Trial(
            str(spec or ""),
            self.reference.distance_to_samples(after.features),
            self.reference.distance_to_samples(after.features[: self.artifacts]),
            float(127.5 * (after.small - before.small)[self.artifacts :].abs().mean()),
            sum(same) / len(same),
        )

    def attempt(self, spec: BoundSpec) -> Trial | None:
        """The trial of a setting, unless it cannot be attached."""
        try:
            return self.trial(spec)
        except GanfixError as error:
            log.info("%s: left out (%s)", spec, error)
            return None
