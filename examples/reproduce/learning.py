"""What [T21] learns before it corrects: a classifier and unit scores.

They are learned from some of the labelled generations; every figure is of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from case import Case

from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.artifacts.prepare import fit_classifier
from ganfix_plugin.artifacts.unit_scores import score_units_by_fid
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.seqc import SeqcOptions, stopping_layer
from ganfix_plugin.correctors.units import numbered
from ganfix_plugin.evaluation.population import Effect, Population
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.render import seed_features
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Labels, Sample
from ganfix_plugin.profiling.profile import Profile
from ganfix_plugin.profiling.store import classifier_path


@dataclass(frozen=True, eq=False)
class Learnt:
    """What [T21] learns before it corrects, and the labelled generations left to measure on.

    Attributes:
        profile: unit scores.
        head: the classifier.
        labelled: all labels; ``seen``: those learned from.
        artifacts, normals: those to measure on.
    """

    case: Case
    profile: Profile
    head: Classifier
    labelled: Labels
    seen: Labels
    artifacts: list[Sample]
    normals: list[Sample]

    @property
    def stop(self) -> int:
        """The stopping layer's number: the paper's 6, or a third of a small network's layers."""
        return stopping_layer(SeqcOptions(), self.case.generator.layers)

    @property
    def middle(self) -> int:
        """The stopping layer for style-based generators, the supplement's 'middle (6)'."""
        return min(6, len(self.case.generator.layers) // 2)

    @property
    def sequence(self) -> str:
        """The layers that the sequential correction covers, as the key ``layers`` takes them."""
        return "+".join(str(number) for number in range(1, self.stop + 1))

    @property
    def units(self) -> int:
        """How many units the single-layer systems zero: the paper's 20, or a sixth."""
        return min(20, numbered(self.case.generator.layers, self.stop).channels // 6)

    @cached_property
    def population(self) -> Population:
        """The labelled generations beside real images."""
        return self.case.beside_real(self.labelled)

    def effect(self, spec: BoundSpec | None, samples: Sequence[Sample] | None = None) -> Effect:
        """What a correction does to the artifacts."""
        return self.population.effect(spec, samples or self.artifacts)

    @cached_property
    def surest(self) -> list[Sample]:
        """The artifacts that the classifier calls so, the surest first."""
        extractor = self.head.load_extractor(self.case.generator.discriminator)
        features = seed_features(self.case.generator, extractor, self.artifacts)
        order = self.head.artifact_probability(features).argsort(descending=True).tolist()
        called = int(self.head.is_artifact(features).sum())
        self.case.say(f"the classifier calls {called} of {len(order)} held-out artifacts so")
        return [self.artifacts[place] for place in order[:called]]

    def score_by_fid(self) -> None:
        """Put FIDs of the stopping layer's units into the profile ([B19]); normals that nothing is
        measured on stand for real images where there are none."""
        case = self.case
        score_units_by_fid(
            case.generator,
            case.real or self.seen.samples(NORMAL),
            extractor=case.extractor,
            layers=str(self.stop),
            samples=case.size("latents"),
            num=case.size("unit_generations"),
            top=case.size("unit_top"),
        )


def learn(case: Case) -> Learnt:
    """Labels, classifier and defective scores."""
    count = case.size("artifacts")
    labelled = case.labelled(case.size("num_labels") + count)
    kept = {kind: labelled.samples(kind)[1::2][:count] for kind in KINDS}
    measured = {sample for samples in kept.values() for sample in samples}
    items = tuple(item for item in labelled.items if item.sample not in measured)
    seen = replace(labelled, items=items)
    head = fit_classifier(case.generator, seen, real=case.real, extractor=case.maps)
    head.save(classifier_path(head.generator))
    case.say(
        f"classifier: features of {head.extractor}, {head.held_out.text}; "
        f"learned from {len(items):,} generations, measured on others"
    )
    profile, _ = score_units(case.generator, seen, head, samples=case.size("latents"))
    return Learnt(case, profile, head, labelled, seen, kept[ARTIFACT], kept[NORMAL])
