"""One subject, rendered as it is, and again for every corrector, gated and not.

Classifier, unit scores and probes see one half of the labels, the figures are of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import click
import torch
from subjects import JUDGE, Subject, some
from torch import Tensor

import ganfix_plugin as ganfix
from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.artifacts.prepare import fit_classifier
from ganfix_plugin.artifacts.unit_scores import score_units_by_fid
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.correctors.gates import ProbeScorer
from ganfix_plugin.correctors.moving import BELOW
from ganfix_plugin.evaluation.alternatives import PSIS
from ganfix_plugin.evaluation.bench import Bench, Labelled, Rendered
from ganfix_plugin.features.bootstrap import Bootstrap, mean
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import Look
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.forward import called_with
from ganfix_plugin.labels import ARTIFACT, NORMAL, stored_path, write
from ganfix_plugin.profiling.store import classifier_path

# By name: a spec, with the files of the seen labels and of 200 of them, and what is not labels.
SYSTEMS = {
    "none": "none",
    "random:of=neurons": "random:of=neurons",
    "random:of=activated": "random:of=activated",
    "random:of=units,portion=10%": "random:of=units,portion=10%",
    "fid-units:layer=0": "fid-units:layer=0",
    "ds:layer=0": "ds:layer=0",
    "seqc": "seqc",
    "seqc:start=0,stop=1": "seqc:start=0,stop=1",
    "seqc:start=0,stop=1,normalize=rank": "seqc:start=0,stop=1,normalize=rank",
    "seqc:start=0,stop=1,local=yes": "seqc:start=0,stop=1,local=yes",
    "seqc:start=0,stop=1,local=yes,mask=binary": "seqc:start=0,stop=1,local=yes,mask=binary",
    "seqabl": "seqabl",
    "seqabl:rate=0.3": "seqabl:rate=0.3",
    "seqabl:lowest=30%,layers=4x4+8x8": "seqabl:lowest=30%,layers=4x4+8x8",
    "truncation:psi=0.7": "truncation:psi=0.7",
    "boundary": "boundary:labels={half}",
    "steer": "steer:labels={half}",
    "steer, 200 labels": "steer:labels={few}",
    "steer, no labels": "steer:from={by_itself}",
}
TRUNCATION = "truncation, as far as steer"
REJECTION, FURTHER = "rejection", "rejection, as far as steer"
PREPARED = ("fid-units", "ds", "seqc")  # need a classifier and unit scores
GATE = "gate=probe:70%"  # of what has none by itself: the same probe
OWN_GATE = ("steer", "boundary")
NONE = Bootstrap(resamples=0)
# PGGAN normalises its latents: there is nothing to pull them towards.
NOT_POSSIBLE = {
    (name, system)
    for name in ("pggan", "pggan-worst")
    for system in ("truncation:psi=0.7", TRUNCATION)
}
PART, FIRST = 600, 50_000  # of a population, whose first seed it is
RESERVE = 1.5  # others to draw again from, for each of it
GATES = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # of rejection


@dataclass(frozen=True)
class Figures:
    """Of one system, None where it was not measured.

    Attributes:
        left: what it leaves of the artifacts where everything is corrected, by the judge.
        change: of clean images' pixels then, of 255.
        gated: what it leaves where only what its gate flags is corrected, by the judge.
        by_labels: the same by the network that the labels came from.
        untouched: share of clean images that are then bit for bit as they were.
        identity: of the corrected artifacts, by the judge.
        kind_kept: the share of them that keep their kind, by the network of the labels.
        pixels, discriminator: the share of the gap in realism, and in the discriminator's answer,
            between artifacts and clean images that it closes.
        auc: of its gate.
        distance, recall, coverage: of the whole population, gated, by the judge.
        recall_by_labels, coverage_by_labels: the same by the network that the labels came from.
        gradients: taken of each of the population's generations that are moved by gradients.
    """

    left: float | None = None
    change: float | None = None
    gated: float | None = None
    by_labels: float | None = None
    untouched: float | None = None
    identity: float | None = None
    kind_kept: float | None = None
    pixels: float | None = None
    discriminator: float | None = None
    auc: float | None = None
    distance: float | None = None
    recall: float | None = None
    recall_by_labels: float | None = None
    coverage: float | None = None
    coverage_by_labels: float | None = None
    gradients: float | None = None


class Task:
    """A subject, rendered as it is, and again for every system."""

    def __init__(
        self, subject: Subject, split: int, samples: int, folder: Path, population: int = PART
    ):
        """Render the half of the labels that nothing is fitted on."""
        self.subject, self.samples, generator = subject, samples, subject.generator
        self.population = population
        self.files = {"half": folder / "half.csv", "few": folder / "few.csv"}
        write(subject.seen, self.files["half"])
        write(some(subject.seen, 200, split), self.files["few"])
        write(subject.seen, stored_path(generator.fingerprint))
        artifacts = Bench(generator, subject.looks, subject.unseen.samples(ARTIFACT))
        normals = Bench(generator, subject.looks, subject.unseen.samples(NORMAL))
        others = subject.seen.samples(NORMAL)[: len(artifacts.samples)]
        floor = Bench(generator, subject.looks, others).plain.features
        self.labelled = Labelled(artifacts, normals, normals.plain.features, floor)
        click.echo(
            f"{len(artifacts.samples)} artifacts at {self.labelled.before[JUDGE]:.1f}, as many "
            f"other clean images at {self.labelled.floors[JUDGE]:.1f} of {len(normals.samples)}"
        )

    def measure(self, system: str) -> Figures:
        """One system, everything corrected and gated."""
        if system in (REJECTION, FURTHER):
            return self._rejection(GATES if system == FURTHER else (BELOW,))
        if system == TRUNCATION:
            return self._truncation()
        spec = SYSTEMS[system].format(**self.files, by_itself=self.subject.by_itself)
        samples = f"samples={self.samples}"
        artifacts, normals = self.labelled.artifacts, self.labelled.normals
        if spec.startswith(OWN_GATE):
            (left, change), gated = (None, None), with_keys(spec, samples)
        else:
            plain, gated = with_keys(spec, "gate=off"), with_keys(spec, GATE, samples)
            measures = parse_spec(plain).measures
            left, change = self._ungated(with_keys(plain, samples) if measures else plain)
        with ganfix.attach(self.subject.generator, gated) as attachment:
            gate = attachment.corrections[0].gate
            after, clean = artifacts.now(), normals.now({})
            with gradients() as taken:
                everything = self._population.now()
        assert gate is not None
        by_look, look = self.labelled.left(after.features), self.subject.label_look
        return Figures(
            left,
            change,
            gated=by_look[JUDGE],
            by_labels=None if look == JUDGE else by_look[look],
            untouched=float((normals.changes(clean) == 0).float().mean()),
            identity=self.labelled.measures(artifacts, after, JUDGE).identity,
            kind_kept=self.labelled.measures(artifacts, after, look).kind_kept,
            pixels=self._closed(after, "pixels"),
            discriminator=self._closed(after, "discriminator"),
            auc=auc(*(self._scores(gate.scorer, bench) for bench in (artifacts, normals))),
            **self._of_all(everything.features),
            gradients=taken[0] / int((self._population.changes(everything) > 0).sum())
            if taken[0]
            else None,
        )

    def _ungated(self, spec: str) -> tuple[float, float]:
        """What is left of the artifacts, and what clean images' pixels change by."""
        artifacts, normals = self.labelled.artifacts, self.labelled.normals
        with ganfix.attach(self.subject.generator, spec):
            left = self.labelled.left(artifacts.now(self._judge).features)[JUDGE]
            return left, float(normals.changes(normals.now({})).mean())

    def _scores(self, scorer: Callable[..., Tensor], bench: Bench) -> Tensor:
        """A gate's scores of uncorrected calls."""
        G, adapter = self.subject.generator.G, self.subject.generator.adapter
        scores = []
        for z, c in seed_batches(self.subject.generator, bench.samples):
            call = called_with(G, adapter.entry, lambda view: adapter.synthesize(view, z, c))
            scores.append(scorer(G.get_submodule(adapter.entry), *call))
        return torch.cat(scores)

    def _closed(self, after: Rendered, look: str) -> float | None:
        """The share of the gap between artifacts and clean images in a look's mean realism, or in
        the mean of the answer itself, that is closed."""
        if look not in self.subject.looks or self.subject.real is None:
            return None

        def score(features: Tensor) -> float:
            realism = self._manifolds[look].realism if look in self._manifolds else Tensor.flatten
            return float(realism(features).mean())

        labelled = self.labelled
        before = score(labelled.artifacts.plain.features[look])
        gap = score(labelled.normals.plain.features[look]) - before
        return (score(after.features[look]) - before) / gap

    def _of_all(self, features: Mapping[str, Tensor]) -> dict[str, float | None]:
        """Distance of a population, recall and coverage of its parts on average."""
        distance = Gaussian.of(self._real[JUDGE]).distance_to_samples(features[JUDGE])
        figures: dict[str, float | None] = {"distance": distance}
        count = max(1, len(features[JUDGE]) // PART)
        for name, rows in features.items():
            real, ending = Manifold.of(self._real[name]), "" if name == JUDGE else "_by_labels"
            # Each has something of all that is in the population: what was drawn again comes last.
            parts = [rows[start::count] for start in range(count)]
            for key in ("recall", "coverage"):
                by_part = [mean(key, real, [part], NONE).uncorrected for part in parts]
                figures[key + ending] = sum(by_part) / len(by_part)
        return figures

    def _rejection(self, shares: Sequence[float]) -> Figures:
        """The population without what lies above a gate, and others in its place: at the weakest
        gate that leaves no more of the artifacts than steer does, or else the least."""
        reserve = Bench(
            self.subject.generator,
            self._population.looks,
            range(FIRST + self.population, FIRST + int((1 + RESERVE) * self.population)),
        )
        benches = (self.labelled.artifacts, self._population, reserve)
        with self._steering() as attachment:
            goal = self.labelled.left(benches[0].now(self._judge).features)[JUDGE]
            gate = attachment.corrections[0].gate
            assert gate is not None and isinstance(gate.scorer, ProbeScorer)
            scores = [self._scores(gate.scorer, bench) for bench in benches]
            probe = gate.scorer.probe

        def rejected(place: int, share: float) -> dict[str, Tensor]:
            """A bench's features, with unflagged ones of the reserve in the place of flagged."""
            limit = probe.threshold(torch.tensor([share]))
            plain, again = benches[place].plain.features, reserve.plain.features
            kept, spare = scores[place] <= limit, scores[-1] <= limit
            count = int((~kept).sum())
            assert count <= spare.sum()
            return {
                name: torch.cat([plain[name][kept], rows[spare][:count]])
                for name, rows in again.items()
            }

        tried: dict[float, float] = {}
        for share in shares:
            tried[share] = self.labelled.left(rejected(0, share))[JUDGE]
            if tried[share] <= goal:
                break
        share = min(tried, key=lambda share: tried[share])
        click.echo(f"rejection: gate {share:.0%} leaves {tried[share]:.0%}, steer {goal:.0%}")
        return Figures(gated=tried[share], **self._of_all(rejected(1, share)))

    def _truncation(self) -> Figures:
        """At the weakest psi that leaves no more of the artifacts than steer, or else the least."""
        generator, artifacts = self.subject.generator, self.labelled.artifacts
        with self._steering():
            goal = self.labelled.left(artifacts.now(self._judge).features)[JUDGE]
        tried: dict[float, float] = {}
        for psi in PSIS:
            with ganfix.attach(generator, f"truncation:psi={psi}"):
                tried[psi] = self.labelled.left(artifacts.now(self._judge).features)[JUDGE]
            if tried[psi] <= goal:
                break
        psi = min(tried, key=lambda psi: tried[psi])
        click.echo(f"truncation: psi={psi:g} leaves {tried[psi]:.0%}, steer {goal:.0%}")
        with ganfix.attach(generator, f"truncation:psi={psi}"):
            everything = self._population.now()
        return Figures(tried[psi], **self._of_all(everything.features))

    def _steering(self) -> Attachment:
        """What rejection and truncation are compared with."""
        spec = with_keys(SYSTEMS["steer"].format(**self.files), f"samples={self.samples}")
        return ganfix.attach(self.subject.generator, spec)

    @cached_property
    def _judge(self) -> dict[str, Look]:
        return {JUDGE: self.subject.looks[JUDGE]}

    @cached_property
    def _population(self) -> Bench:
        """Seeds as they come, as the judge and the network of the labels see them."""
        names = {JUDGE, self.subject.label_look}
        looks = {name: look for name, look in self.subject.looks.items() if name in names}
        return Bench(self.subject.generator, looks, range(FIRST, FIRST + self.population))

    @property
    def _real(self) -> Mapping[str, Tensor]:
        """Features of real images, or where there are none of clean ones."""
        return self.labelled.clean if self.subject.real is None else self.subject.real

    @cached_property
    def _manifolds(self) -> dict[str, Manifold]:
        real = self.subject.real or {}
        return {"pixels": Manifold.of(real["pixels"])} if real else {}


@contextmanager
def gradients() -> Iterator[list[int]]:
    """How many samples' gradients are taken in the block."""
    rows, grad = [0], torch.autograd.grad

    def count(outputs: Tensor, inputs: Tensor, wanted: Tensor) -> tuple[Tensor, ...]:
        rows[0] += int(wanted.count_nonzero())
        return grad(outputs, inputs, wanted)

    with patch("torch.autograd.grad", count):
        yield rows


def with_keys(spec: str, *keys: str) -> str:
    """A spec with more keys."""
    for key in keys:
        spec += f"{',' if ':' in spec else ':'}{key}"
    return spec


def prepare(subject: Subject, samples: int, num: int, top: int) -> None:
    """Fit the classifier and score the units, on the seen half of the labels."""
    generator, seen = subject.generator, subject.seen
    classifier = fit_classifier(generator, seen, extractor=subject.extractor)
    classifier.save(classifier_path(classifier.generator))
    score_units(generator, seen, classifier, samples=samples)
    clean, way = seen.samples(NORMAL), {"samples": samples, "num": num, "top": top}
    score_units_by_fid(generator, clean, extractor=classifier.extractor, layers="0", **way)
