"""Every table and figure of both papers: what it shows, and which commands make it.

The papers are not at hand here. What is said of a table or figure is what our own notes say of it,
or the authors' README; where both are silent, the list says so, beside what the paper is known to
show. Whoever has the paper corrects a line of this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TABLE, FIGURE = "Table", "Figure"
NOTHING = "nothing to compute"


@dataclass(frozen=True)
class Exhibit:
    """A table or figure, or several that show the same.

    Attributes:
        paper: "[C22]" or "[T21]".
        kind: `TABLE` or `FIGURE`.
        numbers: as printed.
        shows: what.
        commands: those that make it; none where there is nothing to compute.
        told_apart: whether it is known which of them shows what.
    """

    paper: str
    kind: str
    numbers: tuple[int, ...]
    shows: str
    commands: tuple[str, ...] = ()
    told_apart: bool = True

    @property
    def name(self) -> str:
        """Such as "[C22], Figures 2, 6–13"."""
        plural = "s" if len(self.numbers) > 1 else ""
        return f"{self.paper}, {self.kind}{plural} {', '.join(_spans(self.numbers))}"


UNKNOWN = "captions not at hand, and diagrams may be among them; of what the paper shows: "

EXHIBITS = (
    Exhibit("[C22]", TABLE, (1,), "FID of ablated artifacts, by rate and layers", ("c22-table1",)),
    Exhibit(
        "[C22]",
        TABLE,
        (2,),
        "precision, recall and realism of fewest and most LR-neurons",
        ("c22-table2",),
    ),
    Exhibit(
        "[C22]",
        FIGURE,
        (1,),
        "artifacts, and the same after sequential ablation (the authors' README begins with such a "
        "picture; that it is this figure is our guess)",
        ("c22-correction",),
    ),
    Exhibit(
        "[C22]",
        FIGURE,
        (4,),
        "heat maps and images, ablated layer by layer, layers 5 and 7 too",
        ("c22-figure4",),
    ),
    Exhibit("[C22]", FIGURE, (5, 14), "HR- above LR-ablation over rates", ("c22-figure5",)),
    Exhibit(
        "[C22]",
        FIGURE,
        (2, 3, *range(6, 14)),
        UNKNOWN + "how often neurons are activated, the two ends of the LR count, artifacts with "
        "their heat maps, artifacts by every kind of ablation, corrections of further networks",
        ("c22-rates", "c22-detection", "c22-masks", "c22-ablations", "c22-correction"),
        told_apart=False,
    ),
    Exhibit("[T21]", TABLE, (1,), "share of artifacts in PGGAN", ("t21-table1",)),
    Exhibit("[T21]", TABLE, (2,), "FID of artifacts corrected by each system", ("t21-table2",)),
    Exhibit("[T21]", TABLE, (3, 5), "corrections, judged by people", ("t21-table3",)),
    Exhibit("[T21]", TABLE, (4,), "FID, StyleGAN2 and U-net GAN", ("t21-table4",)),
    Exhibit("[T21]", TABLE, (6,), f"criteria of labelling; text, {NOTHING}: see ganfix label"),
    Exhibit(
        "[T21]", FIGURE, (12,), "FID and realism over portion n and layer l", ("t21-figure12",)
    ),
    Exhibit(
        "[T21]",
        FIGURE,
        (16, 26),
        "artifacts corrected by sample and locally; what vanishes with them",
        ("t21-figure26",),
    ),
    Exhibit(
        "[T21]", FIGURE, (17,), "verdicts: all normal, all artifact, neither", ("t21-figure17",)
    ),
    Exhibit(
        "[T21]",
        FIGURE,
        (*range(1, 12), *range(13, 16), *range(18, 26), *range(27, 32)),
        UNKNOWN + "what is labelled, Grad-CAM masks, D-values, representative generations and "
        "concepts of units, artifacts and normals corrected, by every system, over l, n and λ",
        (
            "t21-labels",
            "t21-masks",
            "t21-d-values",
            "t21-units",
            "t21-correction",
            "t21-systems",
            "t21-options",
        ),
        told_apart=False,
    ),
)


def shown_by(command: str) -> str:
    """The names of what a command makes, as far as they are known, or else its paper's."""
    exhibits = [exhibit for exhibit in EXHIBITS if command in exhibit.commands]
    names = [exhibit.name for exhibit in exhibits if exhibit.told_apart]
    return "; ".join(names) or exhibits[0].paper


def _spans(numbers: tuple[int, ...]) -> Iterator[str]:
    """Runs of three and more as 6–13."""
    run: list[int] = []
    for number in [*numbers, None]:
        if run and number != run[-1] + 1:
            yield from [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
            run = []
        run += [] if number is None else [number]
