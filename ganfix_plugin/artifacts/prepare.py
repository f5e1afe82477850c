"""From a generator to labels, a classifier and unit scores: what [T21] does before correcting."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ganfix_plugin.api import detect
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import FEWEST, Classifier, fit
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.images import read_images
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, labels_of, latents_of, seed_batches
from ganfix_plugin.hooks.forward import bare
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Label, Labels, Sample
from ganfix_plugin.profiling.defective import OverlapSums, in_order, score_artifacts, thresholds
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import update
from ganfix_plugin.profiling.unit_fid import unit_fids
from ganfix_plugin.spec import LayerChoice
from ganfix_plugin.workers import Tensors, shared, world

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
        z = latents_of(range(num), generator.latent_shape)
        c = labels_of(generator, range(num))
        scores = detect(generator.G, z, c, adapter=generator.adapter.name, samples=samples)
        rater = "lr-count"
    else:
        used = load_extractor(extractor)
        generated = seed_features(generator, used, range(num))
        scores = -Manifold.of(real_features(generator, real, used)).realism(generated)
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
    mark = generator.fingerprint
    labels.check(mark)
    used = load_extractor(extractor)
    log.info("feature extractor: %s", used.name)
    for kind in KINDS:
        if not labels.samples(kind):
            raise GanfixError(f"labels: found none of class {kind}, expected at least {FEWEST}")
    features = [seed_features(generator, used, labels.samples(kind)) for kind in KINDS]
    classes: tuple[str, ...] = KINDS
    if real is not None:
        features.append(real_features(generator, real, used))
        classes = (*KINDS, REAL)
    return fit(features, classes, used.name, mark, seed=seed)


def score_units(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    *,
    layers: str = "all",
    samples: int = 10_000,
    tau: float = 0.005,
    cam: float = 0.5,
    active: float = 0.5,
    batch: int = BATCH,
) -> tuple[Profile, Path]:
    """Thresholds and defective scores of units, into the stored profile.

    Ranks that are started together (torchrun) score a part of the artifacts each, and come to what
    one process does, bit for bit. The thresholds are one rank's work: their histograms depend on
    the order of what they have seen.

    Raises:
        GanfixError: on labels of another generator, or without any labelled artifact.
    """
    labels.check(generator.fingerprint)
    chosen = _layers(generator, layers)
    artifacts = labels.samples(ARTIFACT)
    if not artifacts:
        raise GanfixError("labels: found no artifacts; label some, or run ganfix labels auto")
    settings = Settings(samples)
    made = f"samples={samples},tau={tau:g}"

    def missing(profile: Profile) -> list[Layer]:
        stale = profile.made.get("thresholds") != made
        return [layer for layer in chosen if stale or layer.name not in profile.thresholds]

    def with_thresholds(profile: Profile) -> Profile:
        kept = profile.thresholds if profile.made.get("thresholds") == made else {}
        wanted = missing(profile)
        if not wanted:
            return profile
        log.info("measuring unit thresholds: %d latents, %d layers", samples, len(wanted))
        stream = Latents.of(generator, settings.seed)
        new = thresholds(generator, wanted, stream, samples, tau, batch)
        notes = {**profile.made, "thresholds": made}
        return replace(profile, thresholds={**kept, **new}, made=notes)

    # Saved by itself, so that scoring that is interrupted goes on from here.
    stored, path = update(generator, settings, with_thresholds)
    limits = {layer.name: stored.thresholds[layer.name] for layer in chosen}
    extractor = classifier.load_extractor().to(generator.device)
    log.info("scoring the units of %d layers on %d artifacts", len(chosen), len(artifacts))
    how = f"classifier={classifier.digest()},artifacts={len(artifacts)}"
    how += f",cam={cam:g},active={active:g}"
    key = f"{how},{made},{artifacts},{[layer.name for layer in chosen]}"
    mark = hashlib.sha256(key.encode()).hexdigest()[:16]
    sums = OverlapSums(limits, cam, active)

    def by_batch(part: int, parts: int) -> Tensors:
        """Sums of batches part, part + parts, …: [batches, C] by layer name."""
        found: dict[str, list[Tensor]] = {layer.name: [] for layer in chosen}
        every = seed_batches(generator, artifacts, batch)
        for one in islice(every, part, None, parts):
            of_one = OverlapSums(limits, cam, active)
            score_artifacts(generator, chosen, classifier, extractor, [one], of_one)
            for name, each in of_one.sums.items():
                found[name].append(each)
        return {name: torch.stack(rows) for name, rows in found.items() if rows}

    if world() > 1:
        folder = path.with_suffix(f".{mark}-{batch}-{world()}-{torch.get_num_threads()}.parts")
        in_order(shared(folder, by_batch), sums)
        sums.artifacts = len(artifacts)

    def with_scores(profile: Profile) -> Profile:
        partial = path.with_suffix(f".{mark}.partial")
        if not sums.artifacts:
            sums.resume(partial)
        rest = seed_batches(generator, artifacts[sums.artifacts :], batch)
        score_artifacts(generator, chosen, classifier, extractor, rest, sums, partial)
        partial.unlink(missing_ok=True)
        for layer in chosen:
            if not sums.sums[layer.name].any():
                warnings.warn(
                    f"defective scores of layer {layer} are all 0: no unit overlaps with what the "
                    "classifier sees; lower --cam or --active, or label more artifacts",
                    GanfixWarning,
                    stacklevel=2,
                )
        notes = {**profile.made, "defective": how}
        return replace(profile, defective=sums.scores(), made=notes)

    return update(generator, settings, with_scores)


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
    batch: int = BATCH,
) -> tuple[Profile, Path]:
    """FID of every unit ([B19]), into the stored profile.

    Real images are those given, or else the generations labelled normal.
    """
    labels.check(generator.fingerprint)
    extractor = classifier.load_extractor().to(generator.device)
    if real is not None:
        reference = real_features(generator, real, extractor)
    elif not labels.samples(NORMAL):
        raise GanfixError("labels: found no normals; label some, or give real images (--real)")
    else:
        reference = seed_features(generator, extractor, labels.samples(NORMAL))
    stream = Latents.of(generator)
    chosen = _layers(generator, layers)
    log.info("unit FIDs: %d generations, top %d", num, top)
    found = unit_fids(generator, chosen, stream, num, top, extractor, Gaussian.of(reference), batch)
    how = f"extractor={extractor.name},num={num},top={top},real={real or 'normals'}"

    def with_fids(profile: Profile) -> Profile:
        return replace(profile, unit_fid=found, made={**profile.made, "unit_fid": how})

    return update(generator, Settings(samples), with_fids)


def seed_features(
    generator: Generator,
    extractor: Extractor,
    samples: Sequence[Sample],
    batch: int = BATCH,
) -> Tensor:
    """Features [n, D] of the uncorrected generations of seeds or latents."""
    extractor.to(generator.device)
    view = bare(generator.G)
    found = []
    with torch.no_grad():
        for z, c in seed_batches(generator, samples, batch):
            found.append(extractor.features(generator.synthesize(z, c, view)).cpu())
    return torch.cat(found)


def real_features(
    generator: Generator, path: Path, extractor: Extractor, num: int | None = None
) -> Tensor:
    """Features [n, D] of real images, which must be of the generator's size; of ``num`` of them,
    chosen by a seed, or of all."""
    z, c = next(seed_batches(generator, [0], 1))
    with torch.no_grad():
        size = generator.synthesize(z, c, bare(generator.G)).shape[-1]
    where = generator.device
    batches = read_images(path, size, num=num)
    return torch.cat([extractor.to(where).features(each.to(where)).cpu() for each in batches])


def _layers(generator: Generator, text: str) -> tuple[Layer, ...]:
    if text == "all":
        return generator.layers
    try:
        return generator.select(LayerChoice.parse(text))
    except ValueError as error:
        raise GanfixError(f"layers={text}: expected all, {error}") from None
