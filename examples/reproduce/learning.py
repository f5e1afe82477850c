"""What [T21] learns before it corrects: a classifier and unit scores.

They are learned from some of the labelled generations; every figure is of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from case import Case, judged

from ganfix_plugin.artifacts.prepare import fit_classifier, score_units
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.seqc import SeqcOptions, stopping_layer
from ganfix_plugin.correctors.units import numbered
from ganfix_plugin.evaluate.population import Effect, Population
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Labels, Sample
from ganfix_plugin.profiling.profile import Profile
from ganfix_plugin.profiling.store import classifier_path


@dataclass(frozen=True, eq=False)
class Learnt:
    """What [T21] learns before it corrects, and the labelled generations left to measure on.

    Attributes:
        profile: unit scores.
        head: the classifier.
        labels: those learned from.
        artifacts, normals: those to measure on.
        stop: the stopping layer's number: the paper's 6, or a third of a small network's layers.
        units: how many units the single-layer systems zero: the paper's 20, or a sixth.
    """

    people: Population
    profile: Profile
    head: Classifier
    labels: Labels
    artifacts: list[Sample]
    normals: list[Sample]
    stop: int
    units: int

    def effect(self, spec: BoundSpec | None, samples: Sequence[Sample] | None = None) -> Effect:
        """What a correction does to the artifacts."""
        return self.people.effect(spec, samples or self.artifacts)


def learn(case: Case) -> Learnt:
    """Labels, classifier and defective scores."""
    people, labels = case.labelled(case.size("num_labels") + case.size("artifacts"))
    kinds = {kind: labels.samples(kind) for kind in KINDS}
    rest = {kind: some[1::2][: case.size("artifacts")] for kind, some in kinds.items()}
    half = [
        judged(each, kind)
        for kind, some in kinds.items()
        for each in [sample for sample in some if sample not in set(rest[kind])]
    ]
    seen = Labels(labels.generator, tuple(half))
    head = fit_classifier(case.generator, seen, real=case.real, extractor=case.maps)
    head.save(classifier_path(head.generator))
    case.say(
        f"classifier: features of {head.extractor}, {head.held_out.text}; "
        f"learned from {len(half):,} generations, measured on others"
    )
    profile, _ = score_units(case.generator, seen, head, samples=case.size("latents"))
    layers = case.generator.layers
    stop = stopping_layer(SeqcOptions(), layers)
    units = min(20, numbered(layers, stop).channels // 6)
    return Learnt(people, profile, head, seen, rest[ARTIFACT], rest[NORMAL], stop, units)
