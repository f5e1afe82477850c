"""From a generator to labels, a classifier and unit scores: what [T21] does before correcting.

[C22]: Choi, Chang, Choi, IJCAI 2022. [K19]: Kynkäänniemi et al., NeurIPS 2019. [T21]: Tousi et al.,
CVPR 2021.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ganfix_plugin import labels as label_files
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import FEWEST, Classifier, fit
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import ARTIFACT, KINDS, LR_COUNT, NORMAL, REALISM, Label, Labels
from ganfix_plugin.profiling.defective import TAU, Overlap, artifact_sums, mean_overlaps, thresholds
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.store import classifier_path, ensure, on_device, update
from ganfix_plugin.workers import Tensors, meeting_folder, shared, world

log = logging.getLogger("ganfix")
REAL = "real"
NUM, TOP = 2000, 300  # generations that are looked at, and labels of each kind
_AUTOMATIC = "automatic labels"


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
        head = Classifier.load(classifier, measured.fingerprint)
    else:
        head = _head(measured, settings, training)
    profile, _ = measured_thresholds(measured, layers, settings)
    if scores and not _has_scores(profile, layers, head):
        labels = training.labels or own_labels(measured) or _automatic(measured, settings, training)
        profile, _ = _scored(measured, labels, head, layers, settings)
    return profile, head


def kept_classifier(generator: Generator, training: Training) -> Classifier | None:
    """The classifier of the store; None if there is none, or not the one that was asked for, or it
    comes of automatic labels and there are now labels of the user's own."""
    path = classifier_path(generator.fingerprint)
    if not os.path.exists(path):
        return None
    head, labels = Classifier.load(path), training.labels or own_labels(generator)
    outdated = head.made.startswith(_AUTOMATIC) and labels is not None
    same = training.extractor in (None, head.extractor)
    any_will_do = same and replace(training, extractor=None) == Training()
    fits = head.made == _made(labels, training) or (any_will_do and not outdated)
    return head if fits else None


def _made(labels: Labels | None, training: Training) -> str:
    what = f"labels {labels.digest()}" if labels else f"{_AUTOMATIC} {training.num} {training.top}"
    return f"{what}, real={training.real}, extractor={training.extractor}"


def _head(generator: Generator, settings: Settings, training: Training) -> Classifier:
    """The classifier of the store, fitted if there is none, or not the one that was asked for."""
    if kept := kept_classifier(generator, training):
        return kept
    load_extractor(training.extractor, generator.discriminator)  # before anything is measured
    own = training.labels or own_labels(generator)
    labels = own or _automatic(generator, settings, training)
    head = fit_classifier(generator, labels, real=training.real, extractor=training.extractor)
    head = replace(head, made=_made(own, training))
    head.save(classifier_path(generator.fingerprint))
    return head


def own_labels(generator: Generator) -> Labels | None:
    """The labels by people that the store has of a generator, if enough to learn from."""
    labels = label_files.stored(generator.fingerprint)
    enough = labels and all(len(labels.samples(kind)) >= FEWEST for kind in KINDS)
    return labels if enough else None


def _automatic(generator: Generator, settings: Settings, training: Training) -> Labels:
    """`auto_labels`, kept beside the classifier and not among the labels of people."""
    num, top = training.num or NUM, training.top or TOP
    real, extractor = training.real, training.extractor if training.real else None
    digest = hashlib.sha256(f"{settings} {num} {top} {real} {extractor}".encode()).hexdigest()[:8]
    kept = classifier_path(generator.fingerprint).with_suffix(f".{digest}.csv")
    if os.path.exists(kept):
        return label_files.read(kept).check(generator.fingerprint)
    samples = settings.samples
    labels = auto_labels(generator, num, top, real=real, extractor=extractor, samples=samples)
    label_files.write(labels, kept)
    return labels


def _has_scores(profile: Profile, layers: Sequence[Layer], head: Classifier) -> bool:
    by_head = profile.made.get("defective", "").startswith(f"classifier={head.digest()},")
    return by_head and all(layer.name in profile.defective for layer in layers)


def auto_labels(
    generator: Generator,
    num: int,
    top: int,
    *,
    real: Path | None = None,
    extractor: str | None = None,
    samples: int = 10_000,
) -> Labels:
    """Label the extremes of ``num`` seeds, ``top`` of each kind.

    By LR count, [C22], 4.1, of rates measured on ``samples`` latents; or, when real images are
    given, by the realism score of [K19].

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
        with random_state_kept(generator.G, seed=0):
            batches = seed_batches(generator, range(num))
            scores = lr_counts(generator, profile.low_rates(layers), batches)
        rater = LR_COUNT
    else:
        looking = load_extractor(extractor, generator.discriminator)
        generated = seed_features(generator, looking, range(num))
        scores = -Manifold.of(real_features(generator, real, looking)).realism(generated)
        rater = REALISM
    order = scores.argsort(descending=True, stable=True).tolist()
    kinds = ((ARTIFACT, order[:top]), (NORMAL, order[-top:]))
    items = [Label(seed, kind, rater) for kind, seeds in kinds for seed in seeds]
    return Labels(generator.fingerprint, tuple(sorted(items, key=lambda item: item.sample)))


def fit_classifier(
    generator: Generator,
    labels: Labels,
    *,
    real: Path | None = None,
    extractor: str | None = None,
    seed: int = 0,
) -> Classifier:
    """Train the artifact classifier on labelled generations, and real images if given.

    Raises:
        GanfixError: on labels of another generator, a class that is missing or too small.
    """
    labels.check(generator.fingerprint)
    looking = load_extractor(extractor, generator.discriminator)
    for kind in KINDS:
        if not labels.samples(kind):
            raise GanfixError(f"labels: found none of class {kind}, expected at least {FEWEST}")
    features = [seed_features(generator, looking, labels.samples(kind)) for kind in KINDS]
    if real is not None:
        features.append(real_features(generator, real, looking))
    classes = (*KINDS, REAL)[: len(features)]
    return fit(features, classes, looking.name, generator.fingerprint, seed=seed)


def score_units(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    *,
    layers: str = "all",
    samples: int = 10_000,
    tau: float = TAU,
    cam: float = 0.5,
    active: float = 0.5,
    batch: int = BATCH,
) -> tuple[Profile, Path]:
    """Thresholds and defective scores of units, into the stored profile.

    Ranks that are started together (torchrun) score a part of the artifacts each, with the result
    of one process, bit for bit. The thresholds are one rank's work: their histograms depend on
    the order of what they have seen.

    Raises:
        GanfixError: on labels of another generator, or without any labelled artifact.
    """
    labels.check(generator.fingerprint)
    return _scored(
        generator,
        labels,
        classifier,
        generator.choose(layers),
        Settings(samples),
        tau=tau,
        cam=cam,
        active=active,
        batch=batch,
    )


def measured_thresholds(
    generator: Generator,
    layers: Sequence[Layer],
    settings: Settings,
    tau: float = TAU,
    batch: int = BATCH,
) -> tuple[Profile, Path]:
    """The stored profile with the thresholds T_u of the units of some layers."""
    limits = _limits(settings, tau)

    def with_thresholds(profile: Profile) -> Profile:
        kept = profile.thresholds if profile.made.get("thresholds") == limits else {}
        missing = [layer for layer in layers if layer.name not in kept]
        if not missing:
            return profile
        samples = settings.samples
        log.info("measuring unit thresholds: %d latents, %d layers", samples, len(missing))
        latents = Latents.of(generator, settings.seed, settings.class_index)
        new = thresholds(generator, missing, latents, samples, tau, batch)
        return replace(profile, thresholds=kept | new, made=profile.made | {"thresholds": limits})

    # Saved by themselves, so that scoring that is interrupted goes on from here.
    return update(generator, settings, with_thresholds)


def _limits(settings: Settings, tau: float) -> str:
    return f"samples={settings.samples},tau={tau:g}"


def _scored(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    layers: Sequence[Layer],
    settings: Settings,
    tau: float = TAU,
    cam: float = 0.5,
    active: float = 0.5,
    batch: int = BATCH,
) -> tuple[Profile, Path]:
    """The stored profile with the defective scores of some layers, and the thresholds for them."""
    artifacts = labels.samples(ARTIFACT)
    if not artifacts:
        raise GanfixError("labels: found no artifacts; label some, or run ganfix labels auto")
    profile, path = measured_thresholds(generator, layers, settings, tau, batch)
    extractor = classifier.load_extractor(generator.discriminator).to(generator.device)
    number = len(artifacts)
    log.info("scoring the units of %d layers on %d artifacts", len(layers), number)
    made = f"classifier={classifier.digest()},artifacts={number},cam={cam:g},active={active:g}"
    names = [layer.name for layer in layers]
    key = f"{made},{_limits(settings, tau)},{artifacts},{names},{batch}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    overlap = Overlap(profile.thresholds, classifier, extractor, cam, active)
    batches = [artifacts[start : start + batch] for start in range(0, number, batch)]

    def sums(part: int, parts: int) -> Tensors:
        partial = path.with_suffix(f".{digest}-{part}-{parts}.partial")
        return artifact_sums(generator, layers, overlap, batches[part::parts], partial)

    parts = shared(meeting_folder(path, digest), sums) if world() > 1 else []

    def with_scores(profile: Profile) -> Profile:
        scores = mean_overlaps(parts or [sums(0, 1)], layers, number)
        for layer in layers:
            if not scores[layer.name].any():
                warnings.warn(
                    f"defective scores of layer {layer} are all 0: no unit overlaps with what the "
                    "classifier sees; lower --cam or --active, or label more artifacts",
                    GanfixWarning,
                    stacklevel=2,
                )
        kept = profile.defective if profile.made.get("defective") == made else {}
        made_by = profile.made | {"defective": made}
        return replace(profile, defective=kept | scores, made=made_by)

    return update(generator, settings, with_scores)
