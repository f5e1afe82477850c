"""How many of what each table and figure is made from: in the papers, and by default here.

``--scale 0.1`` takes a tenth of the papers' numbers, and an option for each replaces it. Where the
papers give no number, the first one is ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A number of the protocol: the paper's, and that for the small networks."""

    paper: int
    here: int


MEANING = {
    "latents": "latents that activation rates and thresholds are measured on",
    "generations": "generations to choose from",
    "ends": "generations of fewest, and of most, active LR-neurons",
    "num_labels": "labelled artifacts, and as many normals, to learn from",
    "artifacts": "artifacts to correct",
    "num_real": "real images",
    "unit_generations": "generations for the FIDs of units",
    "unit_top": "top-activating generations of each unit",
}

_RATES = {"latents": Size(30_000, 5_000)}
_CONSPICUOUS = {**_RATES, "generations": Size(1_000, 1_000)}
_LEARNT = {
    "latents": Size(10_000, 5_000),
    "generations": Size(10_000, 10_000),
    "num_labels": Size(1_000, 1_000),
    "artifacts": Size(1_000, 1_000),
    "num_real": Size(1_000, 1_000),
}

_GALLERY = {
    "latents": Size(10_000, 5_000),
    "generations": Size(10_000, 3_000),
    "num_labels": Size(1_000, 300),
    "artifacts": Size(1_000, 100),
    "num_real": Size(1_000, 1_000),
}
_UNIT_FIDS = {"unit_generations": Size(200_000, 5_000), "unit_top": Size(10_000, 250)}
_TOP = {"unit_generations": Size(20_000, 5_000), "unit_top": Size(20, 20)}

PROTOCOL: dict[str, dict[str, Size]] = {
    "c22-table1": {
        **_RATES,
        "generations": Size(10_000, 5_000),
        "artifacts": Size(1_300, 1_000),
        "num_real": Size(10_000, 3_000),
    },
    "c22-table2": {
        **_RATES,
        "generations": Size(50_000, 5_000),
        "ends": Size(2_000, 1_000),
        "num_real": Size(10_000, 3_000),
    },
    "c22-figure4": _CONSPICUOUS,
    "c22-figure5": _CONSPICUOUS,
    "c22-rates": _RATES,
    "c22-correction": _CONSPICUOUS,
    "c22-detection": {**_RATES, "generations": Size(50_000, 5_000)},
    "c22-masks": _CONSPICUOUS,
    "c22-ablations": _CONSPICUOUS,
    "t21-table1": {},
    "t21-table2": {**_LEARNT, **_UNIT_FIDS},
    "t21-table3": {},
    "t21-table4": {**_LEARNT, "artifacts": Size(100, 100)},
    "t21-figure12": {**_LEARNT, "artifacts": Size(1_000, 300)},
    "t21-figure17": {},
    "t21-figure26": _GALLERY,
    "t21-labels": {size: _GALLERY[size] for size in ("generations", "artifacts", "num_real")},
    "t21-masks": _GALLERY,
    "t21-correction": _GALLERY,
    "t21-systems": {**_GALLERY, **_UNIT_FIDS},
    "t21-options": _GALLERY,
    "t21-units": {**_LEARNT, **_TOP},
    "t21-d-values": {
        "generations": Size(10_000, 5_000),
        "artifacts": Size(1_000, 500),
        "num_real": Size(1_000, 3_000),
    },
}
