"""Whether a score says what is an artifact, or only what kind of content an image shows.

Where nobody labelled, the least realistic generations stand for artifacts. They may all be of one
kind (boots, say); then whatever tells that kind from others seems to tell artifacts from normals.
Within each kind it has to tell them by what is wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.kinds import extremes

LOWEST, HIGHEST = 0.15, 0.5  # shares of realism that count as artifacts, and as normals


def separation(scores: Tensor, realism: Tensor, kinds: Tensor) -> float:
    """ROC AUC of scores [n], high for artifacts, of which every kind has as large a share."""
    artifacts, normals = extremes(realism, kinds, LOWEST, HIGHEST)
    return auc(scores[artifacts], scores[normals])


def rank_correlation(a: Tensor, b: Tensor, kinds: Tensor | None = None) -> float:
    """Spearman's, of two [n]; or the mean of those within each kind [n], by how many it has."""
    if kinds is not None:
        groups = [kinds == kind for kind in kinds.unique()]
        parts = [rank_correlation(a[group], b[group]) * int(group.sum()) for group in groups]
        return sum(parts) / len(a)
    ranks = torch.stack([values.double().argsort().argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def make_up(shown: Tensor, kinds: Tensor) -> str:
    """The share of each of all kinds [n] among those of some images [m]."""
    shares = shown.bincount(minlength=int(kinds.max()) + 1).double() / len(shown)
    return ", ".join(f"{share:.0%}" for share in shares.tolist())
