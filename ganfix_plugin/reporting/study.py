"""What the page tells: seeds ranked, both ends corrected, and the profile behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.ranking import Ranking, score_seeds
from ganfix_plugin.artifacts.scores import Score, Scoring, unrendered
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.gates import LRScorer, ProbeScorer
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import GATE_RATE, Profile, Settings
from ganfix_plugin.profiling.store import ensure
from ganfix_plugin.reporting.pairs import Pair, pairs


@dataclass(frozen=True)
class Gate:
    """A correction's gate, as in the spec: samples of a greater score are corrected.

    ``passing`` is how many of the ranked seeds; None where it does not count as the ranking does,
    by another score or another profile.
    """

    text: str
    threshold: float
    passing: int | None


@dataclass(frozen=True)
class LayerRow:
    """A line about a layer; its shares of neurons are None where it was not measured."""

    layer: Layer
    edited: bool
    dead: float | None
    low_rate: float | None


@dataclass(frozen=True)
class Study:
    """A generator, what was done to it, and what came of it.

    Attributes:
        generator: uncorrected, as it was before and is after.
        corrections: in the order in which they act; ``gates`` of those that have one.
        profile: of the ranking.
        ranking: of all seeds, by ``score``.
        worst, cleanest: its two ends, the first and the last of it first; no seed is in both.
        drawn: some of all seeds, by chance; none where the ends are all.
        side: of the generator's images, in pixels.
    """

    generator: Generator
    corrections: tuple[Correction, ...]
    gates: tuple[Gate, ...]
    profile: Profile
    score: Score
    ranking: Ranking
    worst: tuple[Pair, ...]
    cleanest: tuple[Pair, ...]
    drawn: tuple[Pair, ...]
    side: int
    class_index: int | None

    @property
    def seeds_shown(self) -> list[int]:
        """Of both ends."""
        return [pair.seed for pair in (*self.worst, *self.cleanest)]

    @property
    def word(self) -> str:
        """What a high score says of an image; see `Score.word`."""
        return self.score.word

    @property
    def corrected(self) -> tuple[int, int]:
        """How many of how many seeds are corrected: of all that the gate counts, or of those drawn
        by chance."""
        if len(self.gates) == len(self.corrections) == len(self.gates_shown) == 1:
            return self.gates_shown[0].passing or 0, len(self.ranking.seeds)
        shown = self.drawn or (*self.worst, *self.cleanest)
        return sum(not pair.identical for pair in shown), len(shown)

    @property
    def gates_shown(self) -> list[Gate]:
        """The gates whose thresholds are on the scale of the ranking's scores."""
        return [gate for gate in self.gates if gate.passing is not None]

    @property
    def rows(self) -> list[LayerRow]:
        """All layers, for the table."""
        edited = {layer.name for correction in self.corrections for layer in correction.layers}
        rows = []
        for layer in self.generator.layers:
            dead = low_rate = None
            if layer.name in self.profile.counts:
                rates = self.profile.rates(layer)
                dead, low_rate = (float((rates <= at).float().mean()) for at in (0, GATE_RATE))
            rows.append(LayerRow(layer, layer.name in edited, dead, low_rate))
        return rows


def study(
    generator: Generator,
    specs: Sequence[BoundSpec],
    seeds: Sequence[int],
    top: int,
    samples: int | None,
    class_index: int | None = None,
) -> Study:
    """Rank the host's seeds by probe or LR count, and correct both ends.

    The generator is left as it was.

    Args:
        specs: corrections, in order, as one.
        top: how many of each end; fewer where there are not so many seeds.
        samples: latents of the ranking's profile; None for as many as it takes.

    Raises:
        GanfixError: on a spec that does not suit the generator, or one that it is not prepared for.
    """
    with attach(generator, *specs) as attachment:
        score = unrendered(generator, Scoring(samples=samples, class_index=class_index))
        scores = score_seeds(generator, score, seeds, class_index)
        ranking = Ranking.of(seeds, scores)
        worst = ranking.seeds[: min(top, (len(seeds) + 1) // 2)]
        cleanest = ranking.seeds[::-1][: min(top, len(seeds) // 2)]
        few = len(seeds) <= 2 * top
        drawn = [] if few else np.random.RandomState(0).choice(seeds, top, replace=False).tolist()
        shown, side = pairs(generator, score, (*worst, *cleanest, *drawn), class_index)
    profile, _ = ensure(generator, Settings(samples, class_index=class_index), ())
    gates = []
    for spec, correction in zip(specs, attachment.corrections):
        if gate := correction.gate:
            if isinstance(gate.scorer, ProbeScorer):
                alike = score.probe is not None and score.probe.request == gate.scorer.probe.request
            else:
                same_profile = score.name == "lr" and correction.profile == profile.text
                alike = same_profile and isinstance(gate.scorer, LRScorer)
            passing = int((scores > gate.threshold).sum()) if alike else None
            gates.append(Gate(str(spec.options.gate), gate.threshold, passing))
    return Study(
        generator=generator,
        corrections=attachment.corrections,
        gates=tuple(gates),
        profile=profile,
        score=score,
        ranking=ranking,
        worst=tuple(shown[: len(worst)]),
        cleanest=tuple(shown[len(worst) : len(worst) + len(cleanest)]),
        drawn=tuple(shown[len(worst) + len(cleanest) :]),
        side=side,
        class_index=class_index,
    )
