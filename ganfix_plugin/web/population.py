"""The seeds that are ranked, and their scores, computed while nobody waits for an image."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ganfix_plugin.artifacts.ranking import Ranking
from ganfix_plugin.artifacts.scores import SCORES, Score, Scoring
from ganfix_plugin.profiling.store import classifier_path
from ganfix_plugin.web.answers import Answers
from ganfix_plugin.web.renderer import Renderer
from ganfix_plugin.web.studio import Shot, Studio

log = logging.getLogger("ganfix")
_KEPT_EVERY = 256  # seeds; what a killed server computes again
_STEP = 4  # seeds that are scored while somebody may begin to wait for an image
_TITLES = {"probe": "probe", "lr": "LR count", "artifact": "classifier", "realism": "realism"}


@dataclass
class Scored:
    """A score of all seeds, as far as they are scored: NaN is to come.

    ``failed`` says why it cannot be had.
    """

    values: Tensor
    score: Score | None = None
    failed: str = ""
    ranking: Ranking | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Population:
    """Seeds 0 to num - 1 and their scores, each begun when it is first asked for.

    All methods but `score_of` are for threads other than the one that renders.
    """

    def __init__(
        self,
        studio: Studio,
        renderer: Renderer[Shot],
        answers: Answers,
        scoring: Scoring,
        num: int,
    ):
        self.seeds = range(num)
        self._studio, self._renderer, self._answers = studio, renderer, answers
        self._scoring = scoring
        self._scores: dict[str, Score] = {}
        self._scored: dict[str, Scored] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> dict[str, str]:
        """The scores that there are, each with a title."""
        generator = self._studio.generator
        without = set() if self._scoring.real else {"realism"}
        if not classifier_path(generator.fingerprint).exists():
            without.add("artifact")
        return {name: title for name, title in _TITLES.items() if name not in without}

    def score_of(self, name: str) -> Score:
        """A score, which is made first if need be; for the thread that renders."""
        if name not in self._scores:
            self._scores[name] = SCORES[name](self._studio.generator, self._scoring)
        return self._scores[name]

    def scored(self, name: str) -> Scored:
        """A score as far as it is known; begun if it was not."""
        with self._lock:
            if name not in self._scored:
                scored = Scored(torch.full((len(self.seeds),), torch.nan, dtype=torch.float64))
                self._scored[name] = scored
                work = threading.Thread(target=self._fill, args=(name, scored), daemon=True)
                work.start()
            return self._scored[name]

    def begun(self, name: str) -> bool:
        """Whether a score was asked for."""
        return name in self._scored

    def ranking(self, name: str) -> Ranking | None:
        """The seeds that are scored, the most artifact-like first; None as long as none is."""
        scored = self.scored(name)
        with scored.lock:
            known = ~scored.values.isnan()
            count = int(known.sum())
            if not count or scored.score is None:
                return None
            if scored.ranking is None or len(scored.ranking.seeds) < count:
                seeds = known.nonzero()[:, 0].tolist()
                values = scored.values[known]
                scored.ranking = Ranking.of(seeds, values, scored.score.worst_first)
            return scored.ranking

    def place(self, name: str, seed: int) -> tuple[float, float] | None:
        """The score of any seed, and the percentage of the population that is less artifact-like;
        None while too few are scored."""
        scored, ranking = self.scored(name), self.ranking(name)
        score = scored.score
        if ranking is None or score is None:
            return None
        value = float(scored.values[seed]) if seed in self.seeds else float("nan")
        if value != value:
            value = float(self._renderer.now(lambda: self._studio.score(score, [seed])))
        sign = 1 if score.worst_first else -1
        others = sign * ranking.scores
        below, equal = (others < sign * value).sum(), (others == sign * value).sum()
        return value, float(100 * (below + equal / 2) / len(others))

    def _fill(self, name: str, scored: Scored) -> None:
        """Score all seeds, in steps that nobody waits for long."""
        try:
            score = scored.score = self._renderer.now(lambda: self.score_of(name))
            self._fill_by(score, scored)
        except Exception as error:  # whoever asks for the ranking hears of it
            scored.failed = str(error)
            log.warning("%s: %s", name, error)

    def _fill_by(self, score: Score, scored: Scored) -> None:
        kept = self._answers.scores(score.key)
        known = [seed for seed in self.seeds if seed in kept]
        scored.values[known] = torch.tensor([kept[seed] for seed in known], dtype=torch.float64)
        new = [seed for seed in self.seeds if seed not in kept]
        for block in _blocks(new, _KEPT_EVERY):
            for seeds in _blocks(block, min(score.batch, _STEP)):
                scored.values[seeds] = self._scored_now(score, seeds)
            values = scored.values[block].tolist()
            self._answers.keep_scores(score.key, dict(zip(block, values)))

    def _scored_now(self, score: Score, seeds: Sequence[int]) -> Tensor:
        return self._renderer.idle(lambda: self._studio.score(score, seeds)).double()


def _blocks(seeds: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(seeds), size):
        yield list(seeds[start : start + size])
