"""Answers of three raters, small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

from ganfix_plugin.labels import ARTIFACT, NORMAL
from ganfix_plugin.web.answers import IMPROVED, OVERALL, SAME, SKIP, WORSE, Answer, Answers

SPEC = "seqabl:rate=0.3"
N, A, S = NORMAL, ARTIFACT, SKIP
LABELS = {"ann": (N, N, A, N, S), "ben": (N, A, A, A, S), "cleo": (N, N, A, S, N)}
VERDICTS = {
    "ann": (IMPROVED, IMPROVED, WORSE, IMPROVED, IMPROVED),
    "ben": (IMPROVED, SAME, IMPROVED, WORSE, IMPROVED),
    "cleo": (IMPROVED, IMPROVED, IMPROVED),
}


def three_raters(path: Path) -> Answers:
    """A file of the answers above."""
    answers = Answers(path, "ab" * 32)
    answers.label("ann", "", [Answer(1, ARTIFACT)])  # of the uncorrected image: no part of it
    for rater, said in LABELS.items():
        answers.label(rater, SPEC, [Answer(seed, each) for seed, each in enumerate(said, 1)])
    for rater, said in VERDICTS.items():
        for seed, each in enumerate(said, 1):
            answers.judge(
                rater, SPEC, seed, {OVERALL: each, "face": SAME if seed > 1 else IMPROVED}
            )
    return answers
