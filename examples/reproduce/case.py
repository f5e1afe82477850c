"""A report on a generator: whose network, which data, which generations are artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from protocol import PROTOCOL
from report import FOOTWEAR, OURS, Asked, Report, reporting

from ganfix_plugin.commands.options import title_of
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluate.population import Population
from ganfix_plugin.features.extractors import measuring_extractor
from ganfix_plugin.features.images import check_images
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.loading import open_network
from ganfix_plugin.labels import ARTIFACT, KINDS, NORMAL, Label, Labels, Sample, read

REAL = FOOTWEAR.parent / "stylegan2_small" / "data" / "footwear32_test.zip"


@dataclass(frozen=True, eq=False)
class Case(Report):
    """A report on a generator."""

    generator: Generator

    @cached_property
    def labels(self) -> Labels | None:
        """The user's labels, of this generator.

        Raises:
            GanfixError: if they are of another one, or lack a kind.
        """
        if self.asked.labels is None:
            return None
        labels = read(self.asked.labels).check(self.generator.fingerprint)
        for kind in KINDS:
            if len(labels.samples(kind)) < 2:
                raise GanfixError(f"labels {self.asked.labels}: expected at least 2 of {kind}")
        return labels

    @property
    def name(self) -> str:
        """The network, for notes."""
        return title_of(self.asked.network)

    @property
    def extractor(self) -> str | None:
        """Whose features distances are of: the footwear classifier, or Inception if installed."""
        default = "classifier:features" if self.asked.ours else measuring_extractor()
        return self.asked.extractor or default

    @property
    def maps(self) -> str | None:
        """Whose feature maps Grad-CAM is of; None is the paper's ResNet-18, if it is there."""
        return self.asked.maps or ("classifier:maps" if self.asked.ours else None)

    @property
    def real(self) -> Path:
        """Real images."""
        found = self.asked.real or (REAL if self.asked.ours else None)
        assert found is not None
        return found

    def size(self, name: str) -> int:
        """A number of the protocol."""
        return self.asked.size(name)

    @property
    def seeds(self) -> range:
        """The seeds of the generations to choose from."""
        return range(self.asked.first, self.asked.first + self.size("generations"))

    def population(self, samples: Sequence[Sample]) -> Population:
        """Generations beside the protocol's number of real images."""
        num_real = self.size("num_real")
        return Population.of(self.generator, samples, self.real, self.extractor, num_real)

    def labelled(self, count: int, kinds: Sequence[str] = KINDS) -> tuple[Population, Labels]:
        """Up to ``count`` generations of each kind, by people or, without labels, by realism.

        By realism, artifacts are the generations of least realism; normals are the first of the
        others whose realism is at least 1, which are inside the real manifold.

        Raises:
            GanfixError: if there are none of a kind.
        """
        if self.labels:
            found = {kind: self.labels.samples(kind)[:count] for kind in kinds}
            people = self.population([each for some in found.values() for each in some])
            who = "by the labels, "
        else:
            people = self.population(self.seeds)
            worst = people.artifacts(min(count, len(people.seeds) // 2))
            inside = {s for s, r in zip(people.seeds, people.realism.tolist()) if r >= 1}
            both = {ARTIFACT: worst, NORMAL: sorted(inside - {*worst})[:count]}
            found = {kind: both[kind] for kind in kinds}
            who = f"of {len(people.seeds):,} generations nobody labelled, by their realism, "
        if not all(len(some) > 1 for some in found.values()):
            raise GanfixError("normals: found none of realism 1 or more; raise --generations")
        self.say(who + " and ".join(f"{len(some):,} {kind}s" for kind, some in found.items()))
        items = [judged(sample, kind) for kind, some in found.items() for sample in some]
        return people, Labels(self.generator.fingerprint, tuple(items))


def judged(sample: Sample, kind: str) -> Label:
    """What is known of a seed or latent."""
    if isinstance(sample, int):
        return Label(sample, kind)
    return Label(None, kind, latent=sample)


@contextmanager
def opened(asked: Asked, needs_real: bool) -> Iterator[Case]:
    """A report on a generator, while it is open.

    Profiles and classifiers are kept under OUT, apart from those of the user's own work.

    Raises:
        GanfixError: if data are missing or the network cannot be opened.
    """
    if needs_real and not asked.ours and asked.real is None:
        raise GanfixError(f"{asked.command}: needs real images; name a folder or zip by --real")
    if needs_real and asked.real:
        check_images(asked.real)
    if asked.labels:
        read(asked.labels)
    ready(asked.out, folder=True)
    host = FOOTWEAR if asked.ours else asked.host
    network = OURS.get(asked.network, asked.network)
    with (
        _store(asked.out / "store"),
        open_network(network, host, asked.device, asked.adapter_name) as generator,
    ):
        case = Case(asked, generator)
        _introduce(case, needs_real)
        with reporting(case):
            yield case


def _introduce(case: Case, needs_real: bool) -> None:
    """Say what is measured, on how many of what, and whether it is what the paper measured."""
    asked = case.asked
    sizes = [
        f"{name.removeprefix('num_').replace('_', ' ')} {case.size(name):,}"
        + ("" if case.size(name) == size.paper else f" (protocol: {size.paper:,})")
        for name, size in PROTOCOL[asked.command].items()
    ]
    where = [f"{case.real.name}", f"features of {case.extractor}"] if needs_real else []
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
