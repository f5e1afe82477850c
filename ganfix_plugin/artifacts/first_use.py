"""What the first use of a correction by units is about to do, and about how long that takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganfix_plugin.artifacts import prepare
from ganfix_plugin.artifacts.prepare import Training
from ganfix_plugin.features.classifier import FEWEST, Classifier
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.render import render
from ganfix_plugin.files import cache_folder
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    Latents,
    like_parameters,
    measuring_batch,
    rendering_batch,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import ARTIFACT, KINDS, stored
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import ensure
from ganfix_plugin.workers import duration, rank

log = logging.getLogger("ganfix")
_TIMED = 8  # latents of a timed pass, at most
_USUAL = 2000  # latents on which halves agree as a rule, where no number is given


def announce(
    generator: Generator,
    layers: Sequence[Layer],
    settings: Settings,
    scores: bool,
    file: Path | None,
    training: Training,
) -> None:
    """Say in a line what `prepare.prepared`, called with the same, is about to make, and about how
    long that takes, from a few timed passes; nothing where everything is there.

    Raises:
        GanfixError: if the extractor is not there that it will need.
    """
    kept = prepare.kept_classifier(generator, training)
    classifier = Classifier.load(file, generator.fingerprint) if file else kept
    if classifier:
        extractor = classifier.load_extractor(generator.discriminator)
    else:
        extractor = load_extractor(training.extractor, generator.discriminator)
    steps = list(_steps(generator, layers, settings, scores, bool(classifier), training))
    if not steps or rank():
        return
    seconds = sum(step.passes for step in steps) * _of_pass(generator, (*layers, *generator.auto))
    if images := sum(step.images for step in steps):
        seconds += images * _of_image(generator, extractor)
    log.info(
        "first use on this %s: %s; about %s on %s, kept in %s; stopped, it goes on from there",
        generator.name,
        ", ".join(step.does for step in steps),
        duration(seconds),
        generator.device.type,
        cache_folder(),
    )


class _Step(NamedTuple):
    """What is done, and how many latents are run through the early layers and rendered for it."""

    does: str
    passes: int = 0
    images: int = 0


def _steps(
    generator: Generator,
    layers: Sequence[Layer],
    settings: Settings,
    scores: bool,
    trained: bool,
    training: Training,
) -> Iterator[_Step]:
    """What of `prepare.prepared` is still to be done."""
    num, top = training.num or prepare.NUM, training.top or prepare.TOP
    artifacts, labels = top, prepare.own_labels(generator)
    if labels:
        numbers = {kind: len(labels.samples(kind)) for kind in KINDS}
        artifacts = numbers[ARTIFACT]
        counts = " and ".join(f"{number:,} {kind}s" for kind, number in numbers.items())
        if not trained:
            does = f"trains the classifier on your labels ({counts})"
            yield _Step(does, images=sum(numbers.values()))
    elif not trained:
        if few := stored(generator.fingerprint):
            counts = " and ".join(f"{len(few.samples(kind))} {kind}s" for kind in KINDS)
            log.info("your own labels, %s, are too few to learn from (%d of each)", counts, FEWEST)
        does = f"labels {top} of {num:,} generations artifacts and {top} normals"
        yield _Step(does, images=num) if training.real else _Step(does, passes=num)
        yield _Step("trains the classifier on them", images=2 * top)
    profile, _ = ensure(generator, settings, ())
    counted: Sequence[Layer] = ()
    if not trained and prepare.needs_rates(generator, settings, training):
        counted = [layer for layer in generator.auto if layer.name not in profile.counts]
    missing = [layer for layer in layers if layer.name not in profile.thresholds]
    if missing or counted:
        indices = sorted({layer.index for layer in (*missing, *counted)})
        number = settings.samples or _USUAL
        latents = f"{number:,} latents" if settings.samples else f"some {number:,} latents"
        does = f"measures layers {'+'.join(map(str, indices))} on {latents}"
        yield _Step(does, passes=number)
    if scores and any(layer.name not in profile.defective for layer in layers):
        yield _Step(f"scores them on {artifacts:,} artifacts", images=artifacts)


def _of_pass(generator: Generator, layers: Sequence[Layer]) -> float:
    """Seconds of a latent, to the deepest of the layers."""

    def run(z: Tensor, c: Tensor | None) -> None:
        generator.observe(layers, z, c, lambda layer, x: None)

    return _timed(generator, min(measuring_batch(generator, layers), _TIMED), run)


def _of_image(generator: Generator, extractor: Extractor) -> float:
    """Seconds of an image, rendered and looked at."""
    extractor.to(generator.device)
    size = min(rendering_batch(generator), _TIMED)
    return _timed(generator, size, lambda z, c: extractor.features(render(generator, z, c)))


def _timed(generator: Generator, size: int, run: Callable[..., object]) -> float:
    """Seconds per latent of what runs a batch, when it is warm: the shorter of two, since others
    may be at work."""
    seconds = []
    with random_state_kept(generator.G):
        for batch in Latents.of(generator).batches(3 * size, size, generator.device):
            start = time.perf_counter()
            run(*like_parameters(generator, *batch))
            if generator.device.type == "cuda":
                torch.cuda.synchronize(generator.device)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / size
