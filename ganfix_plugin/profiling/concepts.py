"""Units that share a concept: those whose representative generations look alike ([T21], 3.3)."""

from __future__ import annotations

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor


def clusters(features: Tensor, count: int) -> list[list[int]]:
    """Group rows of features [n, D] into at most ``count`` clusters, the largest first.

    Average linkage of cosine distances of the centred features; a single row is a cluster.
    """
    n = len(features)
    if n < 2:
        return [list(range(n))] if n else []
    centred = (features - features.mean(dim=0)).double()
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    tree = linkage(unit.numpy(), method="average")
    found = torch.from_numpy(fcluster(tree, count, criterion="maxclust"))
    groups = [(found == mark).nonzero()[:, 0].tolist() for mark in found.unique()]
    return sorted(groups, key=lambda group: (-len(group), group))
