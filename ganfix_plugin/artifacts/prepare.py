"""From a generator to labels, a classifier and unit scores: what [T21] does before correcting.

[B19]: Bau et al., ICLR 2019. [C22]: Choi, Chang, Choi, IJCAI 2022. [K19]: Kynkäänniemi et al.,
NeurIPS 2019. [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from dataclasses import replace
from pathlib import Path

from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import FEWEST, Classifier, fit
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, seed_batches
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import ARTIFACT, KINDS, LR_COUNT, NORMAL, Label, Labels
from ganfix_plugin.profiling.defective import TAU, Overlap, artifact_sums, mean_overlaps, thresholds
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.store import ensure, update
from ganfix_plugin.profiling.unit_images import unit_fids
from ganfix_plugin.workers import Tensors, meeting_folder, shared, world

log = logging.getLogger("ganfix")
REAL = "real"


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
        rater = "realism"
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
    log.info("feature extractor: %s", looking.name)
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
    chosen = generator.choose(layers)
    artifacts = labels.samples(ARTIFACT)
    if not artifacts:
        raise GanfixError("labels: found no artifacts; label some, or run ganfix labels auto")
    limits = f"samples={samples},tau={tau:g}"

    def with_thresholds(profile: Profile) -> Profile:
        kept = profile.thresholds if profile.made.get("thresholds") == limits else {}
        missing = [layer for layer in chosen if layer.name not in kept]
        if not missing:
            return profile
        log.info("measuring unit thresholds: %d latents, %d layers", samples, len(missing))
        new = thresholds(generator, missing, Latents.of(generator), samples, tau, batch)
        return replace(profile, thresholds=kept | new, made=profile.made | {"thresholds": limits})

    # Saved by themselves, so that scoring that is interrupted goes on from here.
    profile, path = update(generator, Settings(samples), with_thresholds)
    extractor = classifier.load_extractor(generator.discriminator).to(generator.device)
    number = len(artifacts)
    log.info("scoring the units of %d layers on %d artifacts", len(chosen), number)
    made = f"classifier={classifier.digest()},artifacts={number},cam={cam:g},active={active:g}"
    names = [layer.name for layer in chosen]
    key = f"{made},{limits},{artifacts},{names},{batch}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    overlap = Overlap(profile.thresholds, classifier, extractor, cam, active)
    batches = [artifacts[start : start + batch] for start in range(0, number, batch)]

    def sums(part: int, parts: int) -> Tensors:
        partial = path.with_suffix(f".{digest}-{part}-{parts}.partial")
        return artifact_sums(generator, chosen, overlap, batches[part::parts], partial)

    parts = shared(meeting_folder(path, digest), sums) if world() > 1 else []

    def with_scores(profile: Profile) -> Profile:
        scores = mean_overlaps(parts or [sums(0, 1)], chosen, number)
        for layer in chosen:
            if not scores[layer.name].any():
                warnings.warn(
                    f"defective scores of layer {layer} are all 0: no unit overlaps with what the "
                    "classifier sees; lower --cam or --active, or label more artifacts",
                    GanfixWarning,
                    stacklevel=2,
                )
        return replace(profile, defective=scores, made=profile.made | {"defective": made})

    return update(generator, Settings(samples), with_scores)


def score_units_by_fid(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    *,
    layers: str = "all",
    samples: int = 10_000,
    real: Path | None = None,
    num: int = 200_000,
    top: int = 10_000,
) -> tuple[Profile, Path]:
    """FID of every unit ([B19]), into the stored profile.

    Real images are those given, or else the generations labelled normal.
    """
    labels.check(generator.fingerprint)
    extractor = classifier.load_extractor(generator.discriminator).to(generator.device)
    if real is not None:
        reference = real_features(generator, real, extractor)
    elif normals := labels.samples(NORMAL):
        reference = seed_features(generator, extractor, normals)
    else:
        raise GanfixError("labels: found no normals; label some, or give real images (--real)")
    log.info("unit FIDs: %d generations, top %d", num, top)
    chosen, gaussian = generator.choose(layers), Gaussian.of(reference)
    fids = unit_fids(generator, chosen, num, top, extractor, gaussian)
    made = {"unit_fid": f"extractor={extractor.name},num={num},top={top},real={real or 'normals'}"}
    return update(
        generator,
        Settings(samples),
        lambda profile: replace(profile, unit_fid=fids, made=profile.made | made),
    )
