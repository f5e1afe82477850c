"""From a generator to labels, a classifier and what it takes: what [T21] does before correcting.

[C22]: Choi, Chang, Choi, IJCAI 2022. [K19]: Kynkäänniemi et al., NeurIPS 2019. [T21]: Tousi et al.,
CVPR 2021.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ganfix_plugin import labels as label_files
from ganfix_plugin.artifacts.defective_scores import has_scores, scored_units
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import AUTOMATIC, FEWEST, Classifier, fit
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    Batch,
    measuring_batch,
    rendering_batch,
    seed_batches,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import ARTIFACT, KINDS, LR_COUNT, NORMAL, REALISM, Label, Labels, Sample
from ganfix_plugin.partial import Partial, rows
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.store import classifier_path, ensure, on_device
from ganfix_plugin.workers import end_meetings, meeting_folder, progress, shared_rows

T = TypeVar("T")

log = logging.getLogger("ganfix")
REAL = "real"
NUM, TOP = 1000, 150  # generations that are looked at, and labels of each kind
MOST_REAL = 2000  # of real images, chosen by a seed
_MEASURING = ".measuring"  # the ending of what is not complete


@dataclass(frozen=True)
class Training:
    """What the classifier is to learn from. None leaves a choice to what is there.

    Attributes:
        labels: in the place of those that the store has of the generator, or else of `auto_labels`.
        real: real images, for the third class, and for automatic labels.
        extractor: the name of the feature extractor.
        num, top: of automatic labels, see `auto_labels`.
    """

    labels: Labels | None = None
    real: Path | None = None
    extractor: str | None = None
    num: int | None = None
    top: int | None = None


def prepared(
    generator: Generator,
    layers: Sequence[Layer],
    settings: Settings,
    *,
    scores: bool = False,
    classifier: Path | None = None,
    training: Training = Training(),
    measure_on: torch.device | str | None = None,
) -> tuple[Profile, Classifier]:
    """What `seqc` corrects by, after making what the store lacks of it.

    Each stage is kept as soon as it is done, so that a run that was stopped goes on where it was:
    labels, the classifier, unit thresholds, defective scores. A classifier that is there is used,
    unless ``training`` asks for another, or it comes of automatic labels and there are now labels
    of the user's own.

    Args:
        layers: whose units are to be corrected; no others are measured.
        settings: of the stored profile.
        scores: also the defective scores over all artifacts, which one score per unit needs; one
            per unit and sample needs none.
        classifier: a file, to use as it is in the place of the store's.
        measure_on: measure a copy of the generator on this device.

    Raises:
        GanfixError: of an extractor that is not there, before anything is measured; as the other
            functions here.
    """
    measured = on_device(generator, measure_on)
    if classifier:
        head: Classifier | None = Classifier.load(classifier, measured.fingerprint)
    else:
        head = kept_classifier(measured, training)
    rates: tuple[Layer, ...] = ()
    if head is None:
        # Before anything is measured.
        load_extractor(training.extractor, generator.discriminator)
        if needs_rates(measured, settings, training):
            rates = measured.auto  # in the same sweep as the thresholds
    profile, _ = ensure(measured, settings, rates, thresholds=layers)
    head = head or _fitted(measured, settings, training)
    if scores and not has_scores(profile, layers, head):
        labels = _labels(measured, training) or _automatic(measured, settings, training)
        profile, _ = scored_units(measured, labels, head, layers, settings)
    return profile, head


def kept_classifier(generator: Generator, training: Training) -> Classifier | None:
    """The classifier of the store; None if there is none, or not the one that was asked for, or it
    comes of automatic labels and there are now labels of the user's own."""
    path = classifier_path(generator.fingerprint)
    if not os.path.exists(path):
        return None
    head, labels = Classifier.load(path), _labels(generator, training)
    outdated = head.made.startswith(AUTOMATIC) and labels is not None
    same = training.extractor in (None, head.extractor)
    any_will_do = same and replace(training, extractor=None) == Training()
    fits = head.made == _made(labels, training) or (any_will_do and not outdated)
    return head if fits else None


def needs_rates(generator: Generator, settings: Settings, training: Training) -> bool:
    """Whether labels by LR count are to be made, by rates of these settings."""
    by_count = training.real is None and _labels(generator, training) is None
    kept = _automatic_path(generator, settings, training)
    return by_count and settings == Settings(settings.samples) and not os.path.exists(kept)


def own_labels(generator: Generator) -> Labels | None:
    """The labels by people that the store has of a generator, if enough to learn from."""
    labels = label_files.stored(generator.fingerprint)
    enough = labels and all(len(labels.samples(kind)) >= FEWEST for kind in KINDS)
    return labels if enough else None


def _labels(generator: Generator, training: Training) -> Labels | None:
    """The labels that were given, or else those of the store."""
    return training.labels or own_labels(generator)


def _made(labels: Labels | None, training: Training) -> str:
    """From what a classifier is made, in a line that changes with it."""
    what = f"labels {labels.digest()}" if labels else f"{AUTOMATIC} {training.num} {training.top}"
    return f"{what}, real={training.real}, extractor={training.extractor}"


def _fitted(generator: Generator, settings: Settings, training: Training) -> Classifier:
    own = _labels(generator, training)
    labels = own or _automatic(generator, settings, training)
    head = fit_classifier(generator, labels, real=training.real, extractor=training.extractor)
    head = replace(head, made=_made(own, training))
    head.save(classifier_path(generator.fingerprint))
    return head


def _automatic(generator: Generator, settings: Settings, training: Training) -> Labels:
    """`auto_labels`, kept beside the classifier and not among the labels of people."""
    kept = _automatic_path(generator, settings, training)
    if os.path.exists(kept):
        return label_files.read(kept).check(generator.fingerprint)
    num, top = training.num or NUM, training.top or TOP
    real, extractor = training.real, training.extractor
    samples = settings.samples
    labels = auto_labels(generator, num, top, real=real, extractor=extractor, samples=samples)
    label_files.write(labels, kept)
    return labels


def _automatic_path(generator: Generator, settings: Settings, training: Training) -> Path:
    extractor = training.extractor if training.real else None
    key = repr(
        (settings.samples, generator.exact, training.num, training.top, training.real, extractor)
    )
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return classifier_path(generator.fingerprint).with_suffix(f".{digest}.csv")


def auto_labels(
    generator: Generator,
    num: int,
    top: int,
    *,
    real: Path | None = None,
    extractor: str | None = None,
    samples: int | None = None,
) -> Labels:
    """Label the extremes of ``num`` seeds, ``top`` of each kind.

    By LR count, [C22], 4.1, of rates measured on ``samples`` latents; or, when real images are
    given, by the realism score of [K19] against at most `MOST_REAL` of them. Stopped on the way, it
    goes on from there the next time.

    Raises:
        GanfixError: if there are not twice as many generations as labels of a kind, or none.
    """
    if top < 1:
        raise GanfixError(f"labels: found --top {top}, expected at least 1 of each kind")
    if num < 2 * top:
        raise GanfixError(f"labels: {2 * top} of {num} generations were asked for; raise --num")
    if real is None:
        layers = generator.choose("auto")
        profile, _ = ensure(generator, Settings(samples), layers)
        size, low_rate = measuring_batch(generator, layers), profile.low_rates(layers)

        def counts(batch: Batch) -> Tensor:
            with random_state_kept(generator.G, seed=0):
                return lr_counts(generator, low_rate, [batch])

        def counted(own: list[int], partial: Partial) -> Tensor:
            batches = progress(
                seed_batches(generator, own, size), -(-len(own) // size), "labelling"
            )
            return rows(batches, counts, partial)

        what = ("LR counts", profile.text, profile.extents)
        scores = _shared(generator, what, range(num), size, counted)
        rater = LR_COUNT
    else:
        looking = load_extractor(extractor, generator.discriminator)
        generated = _features(generator, looking, range(num))
        manifold = Manifold.of(real_features(generator, real, looking, most=MOST_REAL))
        scores = -manifold.realism(generated)
        rater = REALISM
    order = scores.argsort(descending=True, stable=True).tolist()
    kinds = ((ARTIFACT, order[:top]), (NORMAL, order[-top:]))
    items = [Label(seed, kind, rater) for kind, seeds in kinds for seed in seeds]
    _forget_partials(generator)
    return Labels(generator.fingerprint, tuple(sorted(items, key=lambda item: item.sample)))


def fit_classifier(
    generator: Generator,
    labels: Labels,
    *,
    real: Path | None = None,
    extractor: str | None = None,
    seed: int = 0,
) -> Classifier:
    """Train the artifact classifier on labelled generations, and at most `MOST_REAL` real images
    if given. Stopped on the way, it goes on from there the next time.

    Raises:
        GanfixError: on labels of another generator, a class that is missing or too small.
    """
    labels.check(generator.fingerprint)
    looking = load_extractor(extractor, generator.discriminator)
    for kind in KINDS:
        if not labels.samples(kind):
            raise GanfixError(f"labels: found none labelled {kind}, expected at least {FEWEST}")
    features = [_features(generator, looking, labels.samples(kind)) for kind in KINDS]
    if real is not None:
        features.append(real_features(generator, real, looking, most=MOST_REAL))
    classes = (*KINDS, REAL)[: len(features)]
    head = fit(features, classes, looking.name, generator.fingerprint, seed=seed)
    _forget_partials(generator)
    end_meetings(classifier_path(generator.fingerprint))
    return head


def _features(generator: Generator, looking: Extractor, samples: Sequence[Sample]) -> Tensor:
    """The features [n, D] of generations, as `_shared` makes them."""

    def features(own: list[Sample], partial: Partial) -> Tensor:
        return seed_features(generator, looking, own, partial=partial)

    size = rendering_batch(generator)
    return _shared(generator, ("features", looking.name), samples, size, features)


def _shared(
    generator: Generator,
    what: tuple[object, ...],
    samples: Sequence[T],
    size: int,
    rows: Callable[[list[T], Partial], Tensor],
) -> Tensor:
    """`shared_rows`, which a run that was stopped takes up."""

    def made(own: list[T]) -> Tensor:
        return rows(own, _partial(generator, *what, own))

    folder = meeting_folder(classifier_path(generator.fingerprint), *what, samples, size)
    return shared_rows(folder, samples, size, made)


def _partial(generator: Generator, *depends_on: object) -> Partial:
    """Where what is to become a part of a classifier is kept until it is complete."""
    digest = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:16]
    return Partial(classifier_path(generator.fingerprint).with_suffix(f".{digest}{_MEASURING}"))


def _forget_partials(generator: Generator) -> None:
    """Remove what was kept, after it has become what it was to become."""
    path = classifier_path(generator.fingerprint)
    for partial in path.parent.glob(f"{path.stem}.*{_MEASURING}"):
        partial.unlink(missing_ok=True)
