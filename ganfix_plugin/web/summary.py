"""What raters said of a correction, as [T21] reports it (Tables 3 and 5, Figure 17).

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from ganfix_plugin.labels import ARTIFACT, NORMAL, Sample
from ganfix_plugin.web.answers import IMPROVED, OVERALL, VERDICTS, Answers

NEITHER = "neither"


@dataclass(frozen=True)
class Share:
    """A share by rater, each in [0, 1], with the number of images that it is of."""

    by_rater: dict[str, float]
    counts: dict[str, int]

    @classmethod
    def of(cls, answers: Iterable[tuple[str, str]], wanted: str) -> Share:
        """How often each rater gave the wanted answer, from (rater, answer)."""
        numbers: dict[str, Counter[str]] = defaultdict(Counter)
        for rater, answer in answers:
            numbers[rater][answer] += 1
        counts = {rater: numbers[rater].total() for rater in sorted(numbers)}
        return cls({rater: numbers[rater][wanted] / n for rater, n in counts.items()}, counts)

    @property
    def mean(self) -> float | None:
        """Over raters, each weighing the same; None without any."""
        return mean(self.by_rater.values()) if self.by_rater else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over raters (n - 1); None for fewer than two."""
        return stdev(self.by_rater.values()) if len(self.by_rater) > 1 else None

    def cells(self, rater: str) -> Sequence[str]:
        """A rater's count and share in a table."""
        if rater not in self.counts:
            return "––"
        return f"{self.counts[rater]}", f"{self.by_rater[rater]:.1%}"

    def __str__(self) -> str:
        if self.mean is None:
            return "–"
        spread = "" if self.deviation is None else f" ± {self.deviation:.1%}"
        return f"{self.mean:.1%}{spread}"


@dataclass(frozen=True)
class Summary:
    """The figures of one correction.

    Attributes:
        corrected: share of corrected images that were labelled normal.
        improved: share of corrected images that were called better than their originals.
        verdicts: the shares of improved, same and worse.
        unanimous: images by what all their raters said: normal, artifact, or neither; of the images
            that at least two raters labelled.
    """

    correction: str
    corrected: Share
    improved: Share
    by_criterion: dict[str, Share]
    verdicts: dict[str, Share]
    unanimous: dict[str, int]


def summarise(answers: Answers, correction: str) -> Summary:
    """The figures of a correction; skipped images count nowhere."""
    labels = answers.labels(correction).items
    verdicts = answers.verdicts(correction)
    by_image: dict[Sample, list[str]] = defaultdict(list)
    for item in labels:
        by_image[item.sample].append(item.label)
    agreed = Counter(
        said[0] if len(set(said)) == 1 else NEITHER for said in by_image.values() if len(said) > 1
    )
    by_criterion: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for verdict in verdicts:
        by_criterion[verdict.criterion].append((verdict.rater, verdict.verdict))
    overall = by_criterion.pop(OVERALL, [])
    return Summary(
        correction,
        Share.of(((item.rater, item.label) for item in labels), NORMAL),
        Share.of(overall, IMPROVED),
        {name: Share.of(said, IMPROVED) for name, said in by_criterion.items()},
        {word: Share.of(overall, word) for word in VERDICTS},
        {kind: agreed[kind] for kind in (NORMAL, NEITHER, ARTIFACT)},
    )


def rows(summary: Summary) -> list[tuple[str, ...]]:
    """A line per rater and one for all, under a header."""
    corrected, improved = summary.corrected, summary.improved
    raters = sorted({*corrected.by_rater, *improved.by_rater})
    return [
        ("rater", "labelled", "corrected", "compared", "improved"),
        *((rater, *corrected.cells(rater), *improved.cells(rater)) for rater in raters),
        ("mean ± std", "", str(corrected), "", str(improved)),
    ]


def bars(summary: Summary) -> list[tuple[str, dict[str, float]]]:
    """Stacked bars: a name with what it is of, and shares that add up to 1; empty ones left out."""
    stacks = []
    if images := sum(summary.unanimous.values()):
        shares = {kind: count / images for kind, count in summary.unanimous.items()}
        stacks.append((f"all raters say, {images} images", shares))
    if summary.improved.by_rater:
        means = {verdict: share.mean or 0.0 for verdict, share in summary.verdicts.items()}
        pairs = sum(summary.improved.counts.values())
        stacks.append((f"corrected against original, {pairs} pairs", means))
    return stacks
