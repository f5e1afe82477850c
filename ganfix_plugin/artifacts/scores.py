"""The scores by which generations are ranked: how artifact-like an image is, or will be.

`lr` ([C22], 4.1) and `probe` need no image; `artifact` and `realism` render it and look at its
features.
[C22]: Choi, Chang, Choi, IJCAI 2022. [K19]: Kynkäänniemi et al., NeurIPS 2019. [T21]: Tousi et al.,
CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.artifacts.heatmap import lr_heatmap, probe_heatmap
from ganfix_plugin.artifacts.probes import ProbeChoice, at_hand, ensure_probe, learned_from
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import real_features, render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, measuring_batch
from ganfix_plugin.labels import Sample
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.profiling.profile import GATE_RATE, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.store import classifier_path, ensure
from ganfix_plugin.profiling.unit_means import entry_call
from ganfix_plugin.spec import LayerChoice

UNUSUAL = "unusual"  # what the LR count can tell of an image


@dataclass(frozen=True)
class Scoring:
    """What a score may need to know, as `ganfix detect` takes it.

    Attributes:
        rate, layers, samples: of the LR count: neurons of at most this activation rate, in these
            layers, of a profile of this many latents, or of as many as it takes.
        class_index: of conditional generators.
        classifier: a file; None takes the one that `ganfix fit` left.
        real: real images, a folder or zip, for realism; ``extractor``: whose features.
    """

    rate: float = GATE_RATE
    layers: LayerChoice = LayerChoice()
    samples: int | None = None
    class_index: int | None = None
    classifier: Path | None = None
    real: Path | None = None
    extractor: str | None = None


@dataclass(frozen=True)
class Score:
    """A score of one generator.

    Attributes:
        name: as after ``--by``; ``title`` is for the axis of a plot.
        how: its settings, for people.
        of: from (z, c) to float [n]; the generator's hooks are passed by.
        heat: from (z, c) and a size to heat maps [n, size, size], float from 0 on; what they show
            is ``shown``.
        batch: latents per call, for speed.
        worst_first: whether a high score is the worse one.
        word: what a bad score says of an image: what the LR count finds is unusual, and may be
            fine; labels, a discriminator or real images say more.
        probe: the one that scores, if one does.
        learned_from: labelled generations that it was fitted on, on which it must not be measured.
    """

    name: str
    title: str
    how: str
    of: Callable[[Tensor, Tensor | None], Tensor]
    heat: Callable[[Tensor, Tensor | None, int], Tensor]
    shown: str
    batch: int = BATCH
    worst_first: bool = True
    word: str = "artifact-like"
    probe: Probe | None = None
    learned_from: frozenset[Sample] = frozenset()

    @property
    def key(self) -> str:
        """What its values of seeds are kept under: another probe, classifier or profile scores
        otherwise."""
        return f"{self.name}: {self.how}" + (f", {self.probe.request}" if self.probe else "")


def lr(generator: Generator, scoring: Scoring) -> Score:
    """The number of activated LR-neurons, found without rendering anything."""
    layers = generator.select(scoring.layers)
    settings = Settings(scoring.samples, class_index=scoring.class_index)
    profile, _ = ensure(generator, settings, layers)
    low_rate = profile.low_rates(layers, scoring.rate)
    numbers = "+".join(str(layer.index) for layer in layers)
    return Score(
        "lr",
        "active low-rate neurons (LR count)",
        f"LR count, rate ≤ {scoring.rate:g}, layers {numbers}, {profile.latents_of(layers)}",
        lambda z, c: lr_counts(generator, low_rate, [(z, c)]).float(),
        lambda z, c, size: lr_heatmap(generator, low_rate, z, c, size),
        "low-rate neurons",
        measuring_batch(generator, layers),
        word=UNUSUAL,
    )


def counts_are_there(generator: Generator, scoring: Scoring) -> bool:
    """Whether `lr` needs nothing measured."""
    profile, _ = ensure(generator, Settings(scoring.samples, class_index=scoring.class_index), ())
    return all(layer.name in profile.counts for layer in generator.select(scoring.layers))


def artifact(generator: Generator, scoring: Scoring) -> Score:
    """The classifier's probability of an artifact."""
    path = scoring.classifier or classifier_path(generator.fingerprint)
    head = Classifier.load(path, generator.fingerprint)
    extractor = head.load_extractor(generator.discriminator).to(generator.device)

    def cam(z: Tensor, c: Tensor | None, size: int) -> Tensor:
        maps = head.cam(extractor.maps(render(generator, z, c)))[:, None]
        return interpolate(maps, (size, size), mode="bilinear", align_corners=False)[:, 0].cpu()

    return Score(
        "artifact",
        "probability of an artifact, by the classifier",
        f"classifier {head.digest()} on {head.extractor}, {head.held_out.text}",
        lambda z, c: head.artifact_probability(extractor.features(render(generator, z, c))),
        cam,
        "Grad-CAM",
        word=UNUSUAL if head.by_count else Score.word,
    )


def realism(generator: Generator, scoring: Scoring) -> Score:
    """The realism score of [K19] against real images, which it needs; low is artifact-like."""
    if scoring.real is None:
        raise GanfixError("--by realism: needs real images; name a folder or zip by --real")
    extractor = load_extractor(scoring.extractor, generator.discriminator).to(generator.device)
    manifold = Manifold.of(real_features(generator, scoring.real, extractor))
    count = lr(generator, scoring)
    return Score(
        "realism",
        "realism score (1 and above: among the real images)",
        f"realism against {len(manifold.features)} images of {scoring.real.name}, {extractor.name}",
        lambda z, c: manifold.realism(extractor.features(render(generator, z, c)).cpu()),
        count.heat,
        count.shown,
        worst_first=False,
        word="unrealistic",
    )


def unrendered(generator: Generator, scoring: Scoring) -> Score:
    """The best score that renders nothing: `probe` if labels or such a probe are at hand, else
    `lr`."""
    settings = Settings(scoring.samples, class_index=scoring.class_index)
    return (probe if at_hand(generator, settings) else lr)(generator, scoring)


def probe(generator: Generator, scoring: Scoring) -> Score:
    """What a probe reads off the first layers' units; nothing is rendered, but for its heat maps'
    images."""
    settings = Settings(scoring.samples, class_index=scoring.class_index)
    choice = ProbeChoice(layers=scoring.layers)
    reader, fitted, _ = ensure_probe(generator, choice, settings)

    def of(z: Tensor, c: Tensor | None) -> Tensor:
        call = entry_call(generator, lambda view: generator.synthesize(z, c, view))
        with torch.no_grad():
            return fitted.score(reader.read(*call))

    return Score(
        "probe",
        "score of the probe",
        f"a probe of layers {reader.numbers}, {fitted.text}",
        of,
        lambda z, c, size: probe_heatmap(generator, reader, fitted, z, c, size),
        "units of the probe",
        measuring_batch(generator, reader.layers),
        word=UNUSUAL if fitted.source == "lr" else Score.word,
        probe=fitted,
        learned_from=learned_from(generator, fitted),
    )


UNRENDERED = {"probe": probe, "lr": lr}
SCORES = {**UNRENDERED, "artifact": artifact, "realism": realism}
