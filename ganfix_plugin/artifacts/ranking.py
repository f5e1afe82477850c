"""Seeds in the order of how artifact-like their images are, and the table of them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.files import cache_folder, written
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import KINDS, Labels, Sample
from ganfix_plugin.rows import Rows
from ganfix_plugin.workers import meeting_folder, progress, shared_rows

_COLUMNS = ("score", "percentile")
_AT_ONCE = 10_000  # rows of the table, since as Python's numbers they take ten times the memory


@dataclass(frozen=True)
class Ranking:
    """Scored seeds, the most artifact-like first.

    Attributes:
        scores: float64 [n].
        percentiles: float64 [n], the percentage of the scored seeds that are less artifact-like;
            equal scores share the middle of their ranks.
    """

    seeds: tuple[int, ...]
    scores: Tensor
    percentiles: Tensor

    @classmethod
    def of(cls, seeds: Sequence[int], scores: Tensor, worst_first: bool = True) -> Ranking:
        """Rank seeds by scores [n]; ties by seed.

        Raises:
            GanfixError: if there are none, or a score is NaN.
        """
        if not len(seeds):
            raise GanfixError("detect: found no seeds to score, expected at least 1")
        if torch.isnan(scores).any():
            first = seeds[int(torch.isnan(scores).nonzero()[0])]
            raise GanfixError(f"detect: the score of seed {first} is NaN; check the generator")
        badness = scores.double() if worst_first else -scores.double()
        order = badness.argsort(descending=True, stable=True)
        _, place, counts = badness.unique(return_inverse=True, return_counts=True)
        below = counts.cumsum(0) - counts
        percentiles = 100 * (below + counts / 2)[place].double() / len(seeds)
        ranked = tuple(seeds[index] for index in order.tolist())
        return cls(ranked, scores.double()[order], percentiles[order])

    def write(self, path: Path, others: Mapping[str, Ranking] | None = None) -> None:
        """The table as CSV: seed, score, percentile, and both by other rankings of the same seeds
        under those names and the other's; as `files.written` does."""
        beside = [dict(other._rows()) for other in (others or {}).values()]
        with written(path) as temporary, temporary.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            ends = ["", *(f" {name}" for name in others or {})]
            rows.writerow(("seed", *(f"{what}{end}" for end in ends for what in _COLUMNS)))
            for seed, own in self._rows():
                rows.writerow((seed, *own, *(cell for other in beside for cell in other[seed])))

    def _rows(self) -> Iterator[tuple[int, tuple[str, str]]]:
        """Of each seed, score and percentile as text."""
        for start in range(0, len(self.seeds), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            scores, shares = self.scores[rows].tolist(), self.percentiles[rows].tolist()
            for seed, score, share in zip(self.seeds[rows], scores, shares):
                yield seed, (f"{score:.6g}", f"{share:.3f}")


def score_seeds(
    generator: Generator, score: Score, samples: Sequence[Sample], class_index: int | None = None
) -> Tensor:
    """The scores [n] of seeds or latents, float32 on the CPU; memory holds a batch and them. Ranks
    that are started together (torchrun) score a part each, with the result of one process."""
    size = score.batch

    def scored(own: Sequence[Sample]) -> Tensor:
        batches = seed_batches(generator, own, size, class_index)
        return score_batches(generator, score, progress(batches, -(-len(own) // size), "scoring"))

    place = cache_folder() / "rankings" / generator.fingerprint[:16]
    seeds = hashlib.sha256(repr(samples).encode()).hexdigest()
    folder = meeting_folder(place, score.name, score.how, size, class_index, seeds)
    return shared_rows(folder, samples, size, scored)


def score_batches(generator: Generator, score: Score, batches: Iterable[Batch]) -> Tensor:
    """The scores [n] of batches (z, c) as the generator's own tensors are, as of `score_seeds`."""
    scores = Rows()
    for z, c in batches:
        with random_state_kept(generator.G, seed=0):
            scores.add(score.of(z, c).float())
    return scores.whole()


def agreement(a: Tensor, b: Tensor, top: int) -> tuple[float, int]:
    """Spearman's rank correlation of two scores [n], and how many of the ``top`` highest they
    share; of equal ones the first."""
    # It takes longer to import than a command to start.
    from scipy.stats import spearmanr

    highest = ({*scores.argsort(descending=True, stable=True)[:top].tolist()} for scores in (a, b))
    return float(spearmanr(a.numpy(), b.numpy()).statistic), len(set.intersection(*highest))


def separation(
    generator: Generator, score: Score, labels: Labels, class_index: int | None = None
) -> float:
    """The area under the ROC curve of a score on what was labelled artifact and normal, without
    what the score learned from.

    Raises:
        GanfixError: if one of the kinds is missing.
    """
    kinds = []
    for kind in KINDS:
        labelled = labels.samples(kind)
        kinds.append([sample for sample in labelled if sample not in score.learned_from])
        if not kinds[-1]:
            learned = f" besides the {len(labelled)} that the {score.name} learned from"
            raise GanfixError(
                f"labels: found none labelled {kind}{learned if labelled else ''}, expected at "
                "least 1"
            )
    scores = (score_seeds(generator, score, kind, class_index) for kind in kinds)
    artifact, normal = scores if score.worst_first else (-kind for kind in scores)
    return auc(artifact, normal)
