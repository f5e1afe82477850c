"""A report on a generator: whose network, which data, which generations are artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from content import make_up
from protocol import PROTOCOL
from report import Asked, Report, reporting
from torch import Tensor

from ganfix_plugin.commands.options import title_of
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.population import Population
from ganfix_plugin.features.extractors import measuring_extractor
from ganfix_plugin.features.images import check_images
from ganfix_plugin.features.kinds import Kinds
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.loading import open_network
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Label, Labels, Sample, read


@dataclass(frozen=True, eq=False)
class Case(Report):
    """A report on a generator."""

    generator: Generator

    @cached_property
    def labels(self) -> Labels | None:
        """The user's labels, of this generator, or a small network's own.

        Raises:
            GanfixError: if they are of another one, or lack a kind.
        """
        path = self.asked.labels
        if path is None:
            return None
        labels = read(path).check(self.generator.fingerprint)
        for kind in KINDS:
            if len(labels.samples(kind)) < 2:
                raise GanfixError(f"labels {path}: expected at least 2 of {kind}")
        return labels

    @property
    def name(self) -> str:
        """The network, for notes."""
        return title_of(self.asked.network)

    @property
    def extractor(self) -> str | None:
        """Whose features distances are of: Inception, if installed."""
        return self.asked.extractor or measuring_extractor()

    @property
    def maps(self) -> str | None:
        """Whose feature maps Grad-CAM is of; None is the paper's ResNet-18, if it is there."""
        return self.asked.maps

    @property
    def real(self) -> Path | None:
        """Real images, if there are any."""
        return self.asked.real

    def size(self, name: str) -> int:
        """A number of the protocol."""
        return self.asked.size(name)

    @property
    def seeds(self) -> range:
        """The seeds of the generations to choose from."""
        return range(self.asked.first, self.asked.first + self.size("generations"))

    def population(self, samples: Sequence[Sample]) -> Population:
        """Generations beside the protocol's number of real images."""
        assert self.real is not None  # `opened` makes sure
        num_real = self.size("num_real")
        return Population.of(self.generator, samples, self.real, self.extractor, num_real)

    @cached_property
    def generations(self) -> Population:
        """All seeds to choose from."""
        return self.population(self.seeds)

    @cached_property
    def kinds(self) -> Tensor:
        """The kind of content that each of these generations shows, int64 [n]."""
        features = self.generations.features
        return Kinds.among(features).of(features)

    def beside_real(self, labels: Labels) -> Population:
        """A population that holds what is labelled."""
        if self.labels is None:
            return self.generations
        return self.population([item.sample for item in labels.items])

    def labelled(self, count: int, kinds: Sequence[str] = KINDS) -> Labels:
        """Up to ``count`` generations of each kind, by people or, without labels, by realism.

        By realism, artifacts are the generations of least realism; normals are the first of the
        others whose realism is at least 1, which are inside the real manifold.

        Raises:
            GanfixError: if there are none of a kind.
        """
        if self.labels:
            chosen = {kind: self.labels.samples(kind)[:count] for kind in kinds}
            who = "by the labels, "
        else:
            seeds, realism = self.generations.seeds, self.generations.realism.tolist()
            worst = self.generations.artifacts(min(count, len(seeds) // 2))
            inside = {seed for seed, score in zip(seeds, realism) if score >= 1}
            by_realism = {ARTIFACT: worst, NORMAL: sorted(inside - {*worst})[:count]}
            chosen = {kind: by_realism[kind] for kind in kinds}
            who = f"of {len(seeds):,} generations nobody labelled, by their realism, "
        if not all(len(samples) > 1 for samples in chosen.values()):
            raise GanfixError("normals: found none of realism 1 or more; raise --generations")
        if not self.labels:
            self._say_kinds(chosen)
        counts = " and ".join(f"{len(samples):,} {kind}s" for kind, samples in chosen.items())
        self.say(who + counts)
        items = [judged(sample, kind) for kind, samples in chosen.items() for sample in samples]
        return Labels(self.generator.fingerprint, tuple(items))

    def _say_kinds(self, chosen: Mapping[str, Sequence[Sample]]) -> None:
        """Say how far artifacts and normals are of different kinds of content."""
        places = {seed: place for place, seed in enumerate(self.generations.seeds)}
        parts = []
        for kind, seeds in chosen.items():
            shown = self.kinds[[places[seed] for seed in seeds]]
            parts.append(f"{kind}s {make_up(shown, self.kinds)}")
        self.say(f"kinds of content, by k-means of the features: {'; '.join(parts)}")


def judged(sample: Sample, kind: str) -> Label:
    """What is known of a seed or latent."""
    if isinstance(sample, int):
        return Label(sample, kind)
    return Label(None, kind, latent=sample)


@contextmanager
def opened(asked: Asked, measures: bool, chooses: bool) -> Iterator[Case]:
    """A report on a generator, while it is open.

    Profiles and classifiers are kept under OUT, apart from those of the user's own work.

    Args:
        measures: whether real images are needed, to measure distances to them.
        chooses: whether artifacts and normals are needed: labels, or real images.

    Raises:
        GanfixError: if data are missing or the network cannot be opened.
    """
    if measures and not asked.real:
        raise GanfixError(f"{asked.command}: needs real images; name a folder or zip by --real")
    if chooses and not (asked.real or asked.labels):
        raise GanfixError(
            f"{asked.command}: needs labels, or real images; name a file by --labels, or a folder "
            "or zip by --real"
        )
    if asked.real:
        check_images(asked.real)
    if asked.labels:
        read(asked.labels)
    ready(asked.out, folder=True)
    small = asked.small
    network, host = (small.network, small.host) if small else (asked.network, asked.host)
    with (
        _store(asked.out / "store"),
        open_network(network, host, asked.device, asked.adapter_name) as generator,
    ):
        case = Case(asked, generator)
        _introduce(case)
        with reporting(case):
            yield case


def _introduce(case: Case) -> None:
    """Say what is measured, on how many of what, and whether it is what the paper measured."""
    asked = case.asked
    sizes = [
        f"{name.removeprefix('num_').replace('_', ' ')} {case.size(name):,}"
        + ("" if case.size(name) == size.paper else f" (protocol: {size.paper:,})")
        for name, size in PROTOCOL[asked.command].items()
    ]
    where = []
    if asked.real and "num_real" in PROTOCOL[asked.command]:
        where = [asked.real.name, f"features of {case.extractor}"]
    case.say(" · ".join([f"{asked.command} on {case.name}", *sizes, *where]))
    case.say(
        f"taken to be the paper's own network and data, as --subject says: {asked.subject}"
        if asked.subject
        else "neither network nor data are the paper's: compare orders and shares, not levels"
    )


@contextmanager
def _store(folder: Path) -> Iterator[None]:
    """Keep profiles and classifiers in this folder."""
    before = os.environ.get("GANFIX_CACHE")
    os.environ["GANFIX_CACHE"] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["GANFIX_CACHE"]
        else:
            os.environ["GANFIX_CACHE"] = before
