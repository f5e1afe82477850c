"""Search a corrector's own options for the best trade on one generator.

A setting is judged by the Fréchet distance of all labelled generations, corrected, to clean images:
it falls as artifacts are repaired, and rises again as clean images lose what they had. The setting
that is best on one half of the labels is judged on the other.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.evaluation.bench import Labelled, Trial, labelled, split
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.render import real_features, seed_features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import Labels
from ganfix_plugin.spec import key_of

log = logging.getLogger("ganfix")
PAPERS = ("seqabl:rate=0.3", "seqc")
Keys = Mapping[str, Sequence[str]]


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
        extractor: of the features; by default that of `load_extractor`.
        real: clean images, a folder or zip.

    Raises:
        GanfixError: on too few labels, labels of another generator, or a spec that sets every key.
    """
    labels.check(generator.fingerprint)
    network = load_extractor(extractor, generator.discriminator)
    searched, held_out, clean = split(labels, seed, with_clean=real is None)
    if real is None:
        features = seed_features(generator, network, clean)
    else:
        features = real_features(generator, real, network)
    part = labelled(generator, network, searched, features)
    part.warn()
    tried = [part.trial()]
    open_keys = choices(spec, generator.auto)
    settings: dict[str, BoundSpec] = {}
    for setting in proposals(spec, open_keys, tried, trials, random.Random(seed)):
        if trial := _attempt(part, setting):
            tried.append(trial)
            settings[trial.spec] = setting
            log.info("%d/%d %s: %.2f", len(tried) - 1, trials, setting, trial.overall)
    if len(tried) == 1:
        raise GanfixError(f"tune {spec}: no setting could be tried; attach it once to see why")
    best = _best(tried)
    how = ("samples", "class_index", "profile", "exact")
    measured = {name: getattr(spec.options, name) for name in how}
    papers = [
        replace(paper, options=replace(paper.options, **measured))
        for paper in map(parse_spec, PAPERS)
    ]
    part = labelled(generator, network, held_out, features)
    compared = [_attempt(part, paper) for paper in papers]
    compared = [part.trial(), *compared, part.trial(settings[best.spec])]
    return Tuning(tuple(tried), best, tuple(filter(None, compared)))


def choices(spec: BoundSpec, auto: Sequence[Layer]) -> Keys:
    """The texts to try for every key that a spec leaves open; the empty text is the default.

    Keys say what is worth trying (`spec.option`); layers are each default one and all up to it.

    Raises:
        GanfixError: if there is nothing to search.
    """
    numbers = [str(layer.index) for layer in auto]
    up_to = ["+".join(numbers[:end]) for end in range(2, len(numbers) + 1)]
    texts = {key_of(field): field.metadata["tune"] for field in fields(spec.options)}
    texts = {key: (*numbers, *up_to) if key == "layers" else texts[key] for key in texts}
    open_keys = {key: ("", *texts[key]) for key in texts if texts[key] and key not in spec.keys}
    if not open_keys:
        raise GanfixError(f"tune {spec}: no key is left to search; leave some out")
    return open_keys


def proposals(
    spec: BoundSpec, open_keys: Keys, tried: Sequence[Trial], trials: int, chance: random.Random
) -> Iterator[BoundSpec]:
    """Settings, each once, until there are no more or as many as were wanted have been ``tried``.

    The defaults come first, then draws by chance, then changes of one key of the best.
    """
    settings: dict[str, BoundSpec] = {}
    draws = 0
    while len(tried) <= trials and draws < 200:
        setting, keys = spec, list(open_keys) if settings else []
        if len(tried) > max(2, trials // 3) and draws <= 100:
            setting = settings[_best(tried).spec]
            keys = [chance.choice(keys)]
        draws += 1
        try:
            setting = setting.replaced({key: chance.choice(open_keys[key]) for key in keys})
        except GanfixError:  # two keys that exclude each other
            continue
        if str(setting) not in settings:
            settings[str(setting)], draws = setting, 0
            yield setting


def _best(tried: Sequence[Trial]) -> Trial:
    return min(tried[1:], key=lambda trial: trial.overall)


def _attempt(labelled: Labelled, spec: BoundSpec) -> Trial | None:
    """The trial of a setting, unless it cannot be attached."""
    try:
        return labelled.trial(spec)
    except GanfixError as error:
        log.info("%s: left out (%s)", spec, error)
        return None
