"""Search a corrector's own options for the best trade on one generator.

A setting is judged by the Fréchet distance of all labelled generations, corrected, to clean images:
it falls as artifacts are repaired, and rises again as clean images lose what they had. The setting
that is best on one half of the labels is judged on the other.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganfix_plugin.api import attach
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor, default_extractor, load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.render import real_features, render, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, Sample
from ganfix_plugin.spec import key_of

log = logging.getLogger("ganfix")
FEWEST = 8  # labels of a kind in each part
PAPERS = ("seqabl", "seqc")
Kinds = tuple[list[Sample], list[Sample]]  # artifacts, normals
_SIDE = 64  # changes of pixels are measured at this size, so that memory stays small


@dataclass(frozen=True)
class Trial:
    """What one setting does to labelled generations.

    Attributes:
        spec: the setting; empty is no correction.
        overall: Fréchet distance of all generations to clean images, which the search lowers.
        artifacts: Fréchet distance of the artifacts alone.
        change: mean absolute change of the normals' pixels, of 255, at 64 × 64.
        untouched: share of the normals that are bit for bit as they were.
    """

    spec: str
    overall: float
    artifacts: float
    change: float
    untouched: float


@dataclass(frozen=True)
class Tuning:
    """A search's result.

    Attributes:
        trials: every setting tried, on the searched half, in the order of the search; the first is
            no correction, the second the corrector's defaults.
        best: the trial of least ``overall``.
        held_out: no correction, the papers' defaults and the best on the other half, by spec.
    """

    trials: tuple[Trial, ...]
    best: Trial
    held_out: tuple[Trial, ...]

    @property
    def front(self) -> list[Trial]:
        """The trials that no other one beats in both artifacts and change, by change."""
        front: list[Trial] = []
        for trial in sorted(self.trials, key=lambda trial: (trial.change, trial.artifacts)):
            if not front or trial.artifacts < front[-1].artifacts:
                front.append(trial)
        return front


def tune(
    generator: Generator,
    spec: BoundSpec,
    labels: Labels,
    *,
    trials: int = 32,
    seed: int = 0,
    extractor: str | None = None,
    real: Path | None = None,
) -> Tuning:
    """Search the options that a spec leaves open.

    The first third of the trials is drawn by chance, the others change one key of the best so far.

    Args:
        generator: it is left as it was.
        spec: a corrector; the keys that its text sets stay as they are.
        labels: of this generator; split by chance into searched, held out and, without real
            images, clean ones to measure against.
        trials: how many settings to try.
        seed: of the split and of the search.
        extractor: of the features; by default `default_extractor`.
        real: clean images, a folder or zip.

    Raises:
        GanfixError: on too few labels, labels of another generator, or a spec that sets every key.
    """
    labels.check(generator.fingerprint)
    network = load_extractor(extractor or default_extractor(), generator.discriminator)
    searched, held_out, clean = split(labels, seed, with_clean=real is None)
    if real is None:
        reference = Gaussian.of(seed_features(generator, network, clean))
    else:
        reference = Gaussian.of(real_features(generator, real, network))
    part = _Part(generator, network, reference, searched)
    tried = [part.trial(None)]
    chance, open_keys = random.Random(seed), choices(spec, generator.auto)
    settings: dict[str, BoundSpec] = {}
    while len(tried) <= trials:
        setting = propose(spec, open_keys, tried, trials, chance, settings)
        if setting is None:
            break
        try:
            tried.append(part.trial(setting))
        except GanfixError as error:
            log.info("%s: left out (%s)", setting, error)
        else:
            log.info("%d/%d %s: %.2f", len(tried) - 1, trials, setting, tried[-1].overall)
    if len(tried) == 1:
        raise GanfixError(f"tune {spec}: no setting could be tried; attach it once to see why")
    best = min(tried[1:], key=lambda trial: trial.overall)
    other = _Part(generator, network, reference, held_out)
    measured = {name: getattr(spec.options, name) for name in ("samples", "class_index", "profile")}
    papers = [
        BoundSpec(corrector, corrector.options(**measured))
        for corrector in map(correctors.load, PAPERS)
    ]
    return Tuning(tuple(tried), best, tuple(other.comparison(papers, settings[best.spec])))


def split(labels: Labels, seed: int, with_clean: bool) -> tuple[Kinds, Kinds, list[Sample]]:
    """Searched and held-out samples, (artifacts, normals) each, and half of the normals as clean
    images if those are asked for.

    Raises:
        GanfixError: if a part would have fewer than 8 of a kind.
    """
    chance = random.Random(seed)
    artifacts, normals = labels.samples(ARTIFACT), labels.samples(NORMAL)
    chance.shuffle(artifacts)
    chance.shuffle(normals)
    half = len(normals) // 2 if with_clean else 0
    clean, normals = normals[:half], normals[half:]
    needed = {ARTIFACT: 2 * FEWEST, NORMAL: (4 if with_clean else 2) * FEWEST}
    for kind, least in needed.items():
        if (count := len(labels.samples(kind))) < least:
            raise GanfixError(f"labels: found {count} of class {kind}, expected at least {least}")
    parts = [(artifacts[rest::2], normals[rest::2]) for rest in (0, 1)]
    return parts[0], parts[1], clean


def choices(spec: BoundSpec, auto: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """The texts to try for every key that a spec leaves open; the empty text is the default.

    Keys say themselves what is worth trying (`spec.option`), but for the layers, which are the
    default ones, each alone and all up to each.

    Raises:
        GanfixError: if there is nothing to search.
    """
    numbers = [str(layer.index) for layer in auto]
    up_to = ["+".join(numbers[: end + 1]) for end in range(1, len(numbers))]
    open_keys: dict[str, tuple[str, ...]] = {}
    for field in fields(spec.options):
        key = key_of(field)
        texts = (*numbers, *up_to) if key == "layers" else field.metadata["tune"]
        if key not in spec.given and texts:
            open_keys[key] = ("", *texts)
    if not open_keys:
        raise GanfixError(f"tune {spec}: no key is left to search; leave some out")
    return open_keys


def propose(
    spec: BoundSpec,
    open_keys: Mapping[str, Sequence[str]],
    tried: Sequence[Trial],
    trials: int,
    chance: random.Random,
    settings: dict[str, BoundSpec],
) -> BoundSpec | None:
    """A setting that was not proposed before; None if none is left.

    The defaults come first, then draws by chance, then changes of one key of the best.

    Args:
        settings: those proposed so far, by their text; the new one is added.
    """
    for draw in range(200):
        setting, changes = spec, {}
        if settings:
            by_chance = len(tried) <= max(2, trials // 3) or draw > 100
            if not by_chance:
                best = min(tried[1:] or tried, key=lambda trial: trial.overall)
                setting = settings.get(best.spec, spec)
            for key in open_keys if by_chance else [chance.choice(list(open_keys))]:
                changes[key] = chance.choice(open_keys[key])
        try:
            setting = setting.replaced(changes)
        except GanfixError:  # two keys that exclude each other
            continue
        if str(setting) not in settings:
            settings[str(setting)] = setting
            return setting
    return None


@dataclass(frozen=True)
class _Generations:
    """Features [n, D], small copies [n, 3, s, s], and a digest of each image."""

    features: Tensor
    small: Tensor
    digests: tuple[bytes, ...]


class _Part:
    """Some labelled generations, rendered once as they are, and again for every trial."""

    def __init__(
        self, generator: Generator, extractor: Extractor, reference: Gaussian, kinds: Kinds
    ):
        self.generator, self.extractor, self.reference = generator, extractor, reference
        self.artifacts = len(kinds[0])
        self.samples = [*kinds[0], *kinds[1]]
        self.plain = self.render(None)

    def render(self, plain: _Generations | None) -> _Generations:
        """Render all samples, corrected if there are ``plain`` ones, whose features serve again
        where an image is as it was."""
        features: list[Tensor] = []
        small: list[Tensor] = []
        digests: list[bytes] = []
        for z, c in seed_batches(self.generator, self.samples):
            images = render(self.generator, z, c, corrected=plain is not None).float()
            rows = slice(len(digests), len(digests) + len(z))
            digests += [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.cpu()]
            if plain is None:
                features.append(self.extractor.features(images).cpu())
            else:
                features.append(plain.features[rows].clone())
                pairs = zip(digests[rows], plain.digests[rows])
                changed = torch.tensor([after != before for after, before in pairs])
                if changed.any():
                    images_changed = images[changed.to(images.device)]
                    features[-1][changed] = self.extractor.features(images_changed).cpu()
            small.append(adaptive_avg_pool2d(images, min(_SIDE, images.shape[-1])).cpu())
        return _Generations(torch.cat(features), torch.cat(small), tuple(digests))

    def trial(self, spec: BoundSpec | None) -> Trial:
        """What a setting does; None is no correction."""
        generations = self.plain
        if spec:
            with attach(self.generator, spec):
                generations = self.render(self.plain)
        normals = slice(self.artifacts, None)
        change = (generations.small - self.plain.small)[normals].abs().mean()
        pairs = [*zip(generations.digests, self.plain.digests)][normals]
        return Trial(
            str(spec) if spec else "",
            self.reference.distance_to_samples(generations.features),
            self.reference.distance_to_samples(generations.features[: self.artifacts]),
            float(127.5 * change),
            sum(after == before for after, before in pairs) / len(pairs),
        )

    def comparison(self, papers: Sequence[BoundSpec], best: BoundSpec) -> Iterator[Trial]:
        """No correction, the papers' defaults as far as they can be attached, and the best."""
        yield self.trial(None)
        for spec in papers:
            try:
                yield self.trial(spec)
            except GanfixError as error:
                log.info("%s: left out (%s)", spec, error)
        yield self.trial(best)
