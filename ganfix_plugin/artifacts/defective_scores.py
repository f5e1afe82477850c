"""Defective scores of units in the stored profile: how well they overlap with the artifacts that
the classifier sees.

[T21]: Tousi et al., CVPR 2021; section 3.2.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import rendering_batch
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, Labels
from ganfix_plugin.profiling.defective import Overlap, artifact_sums, mean_overlaps
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import ensure, update
from ganfix_plugin.profiling.sweep import TAU
from ganfix_plugin.workers import Tensors, meeting_folder, shared, world

log = logging.getLogger("ganfix")


def has_scores(profile: Profile, layers: Sequence[Layer], head: Classifier) -> bool:
    """Whether a profile holds the scores of layers by this classifier."""
    by_head = profile.made.get("defective", "").startswith(f"classifier={head.digest()},")
    return by_head and all(layer.name in profile.defective for layer in layers)


def score_units(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    *,
    layers: str = "all",
    samples: int | None = None,
    tau: float = TAU,
    cam: float = 0.5,
    active: float = 0.5,
    batch: int | None = None,
) -> tuple[Profile, Path]:
    """Thresholds and defective scores of units, into the stored profile.

    Ranks that are started together (torchrun) score a part of the artifacts each, with the result
    of one process, bit for bit. The thresholds are one rank's work.

    Raises:
        GanfixError: on labels of another generator, or without any labelled artifact.
    """
    labels.check(generator.fingerprint)
    return scored_units(
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


def scored_units(
    generator: Generator,
    labels: Labels,
    classifier: Classifier,
    layers: Sequence[Layer],
    settings: Settings,
    tau: float = TAU,
    cam: float = 0.5,
    active: float = 0.5,
    batch: int | None = None,
) -> tuple[Profile, Path]:
    """The stored profile with the defective scores of some layers, and the thresholds for them."""
    artifacts = labels.samples(ARTIFACT)
    if not artifacts:
        raise GanfixError("labels: found no artifacts; label some, or run ganfix labels auto")
    # Saved by themselves, so that scoring that is interrupted goes on from here.
    profile, path = ensure(generator, settings, (), batch=batch, thresholds=layers, tau=tau)
    batch = batch or rendering_batch(generator)
    extractor = classifier.load_extractor(generator.discriminator).to(generator.device)
    number = len(artifacts)
    log.info("scoring the units of %d layers on %d artifacts", len(layers), number)
    made = f"classifier={classifier.digest()},artifacts={number},cam={cam:g},active={active:g}"
    names = [layer.name for layer in layers]
    key = f"{made},{profile.made['thresholds']},{artifacts},{names},{batch}"
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
