"""The papers' galleries, one table: which generations, and the rows in which they are seen."""

from __future__ import annotations

from collections.abc import Mapping

from drawing import CAM, COLUMNS, DIFFERENCE, LR_HEAT, PLAIN, Choice, Gallery, Part

from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.seqabl import PAPER_RATE
from ganfix_plugin.evaluation.population import ablation_rows
from ganfix_plugin.labels import ARTIFACT, NORMAL

SEQABL, SEQC = f"seqabl:rate={PAPER_RATE}", "seqc:mode=global"
BY_RANK = f"{SEQC},normalize=rank"
SAMPLE = "seqc:mode=sample,stop={learnt.middle}"


def labelled(kind: str) -> Choice:
    """Generations that people labelled so, or, without labels, realism."""
    return lambda scene: scene.labelled.samples(kind)


def typed(spec: BoundSpec) -> str:
    """A spec as one would type it: its own keys, but those that say how to measure."""
    name, _, text = str(spec).partition(":")
    own = [pair for pair in text.split(",") if pair.partition("=")[0] in spec.keys - {"samples"}]
    return f"{name}:{','.join(own)}"


BEFORE = {PLAIN: PLAIN}
_GLOBAL = BEFORE | {
    "seqc": SEQC,
    "difference": DIFFERENCE,
    "seqc by rank": BY_RANK,
    "difference, rank": DIFFERENCE,
}
_ABLATIONS = {name: typed(spec) for name, spec in ablation_rows().items()}
_SYSTEMS = {
    "random": "random:of=units,portion=20%,layers={learnt.sequence}",
    "FID units": "fid-units:layer={learnt.stop},units={learnt.units}",
    "DS, one layer": "ds:layer={learnt.stop},units={learnt.units}",
    "sequential": SEQC,
}
_VARIED = {
    "stopping layer l": {f"l = {layer}": f"{SEQC},stop={layer}" for layer in range(1, 7)},
    "portion n": {f"n = {n} %": f"{SEQC},top={n}%" for n in (5, 10, 20, 40, 60, 100)},
    "factor lambda": {f"scale {factor}": f"{SEQC},scale={factor}" for factor in (0.9, 0.6, 0.3, 0)},
}
_CONSPICUOUS = "Labelled artifacts, or else generations of most active LR-neurons"
_ARTIFACTS, _NORMALS = "Artifacts, held out, the surest first", "Normals, held out"


def _conspicuous(rows: Mapping[str, str], count: int = COLUMNS) -> Part:
    return Part(_CONSPICUOUS, lambda scene: scene.conspicuous, rows, count)


def surest(rows: Mapping[str, str], heading: str = _ARTIFACTS) -> Part:
    """Held-out artifacts, those first that the classifier is surest of."""
    return Part(heading, lambda scene: scene.learnt.surest, rows)


def _normals(rows: Mapping[str, str]) -> Part:
    return Part(_NORMALS, lambda scene: scene.learnt.normals, rows)


GALLERIES = {
    "c22-correction": Gallery(
        "Artifacts, and the same after sequential ablation",
        (_conspicuous(BEFORE | {"sequential abl.": SEQABL}, 24),),
    ),
    "c22-detection": Gallery(
        "The two ends of the LR count",
        (
            Part("Fewest active LR-neurons", lambda scene: scene.ranking.seeds[::-1], BEFORE, 60),
            Part("Most active LR-neurons", lambda scene: scene.ranking.seeds, BEFORE, 60),
        ),
    ),
    "c22-masks": Gallery(
        "Artifacts, the same corrected, and where low-rate neurons are active",
        (_conspicuous(BEFORE | {"corrected": SEQABL, LR_HEAT: LR_HEAT}),),
    ),
    "c22-ablations": Gallery(
        "Artifacts by every kind of ablation",
        (_conspicuous(BEFORE | _ABLATIONS),),
    ),
    "t21-labels": Gallery(
        "What is labelled an artifact, and what a normal",
        (
            Part("Artifacts", labelled(ARTIFACT), BEFORE, 24),
            Part("Normals", labelled(NORMAL), BEFORE, 24),
        ),
    ),
    "t21-masks": Gallery(
        "Where the classifier sees an artifact",
        (surest(BEFORE | {CAM: CAM}), _normals(BEFORE | {CAM: CAM})),
    ),
    "t21-correction": Gallery(
        "Sequential correction of artifacts, and of normals", (surest(_GLOBAL), _normals(_GLOBAL))
    ),
    "t21-systems": Gallery("Artifacts by every system", (surest(BEFORE | _SYSTEMS),)),
    "t21-options": Gallery(
        "Sequential correction over its hyper-parameters",
        tuple(surest(BEFORE | rows, name) for name, rows in _VARIED.items()),
    ),
    "t21-figure26": Gallery(
        "Artifacts corrected by sample, and in the local region only",
        (
            surest(
                BEFORE
                | {
                    "by sample": SAMPLE,
                    "difference": DIFFERENCE,
                    "locally": f"{SAMPLE},local=yes",
                    "difference, local": DIFFERENCE,
                    LR_HEAT: LR_HEAT,
                    CAM: CAM,
                }
            ),
        ),
    ),
}
