"""Kinds of content: what images show, told apart by k-means, so that it is not taken for a defect.

Where most artifacts are boots and most normal images sneakers, whatever learns from such labels
learns boots. Kinds say how far that is so, and whether a correction changes what an image shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

COUNT = 3
SIDE = 8  # of a thumbnail
_STARTS = 10
_ROWS = 1024  # that are widened at a time


@dataclass(frozen=True, eq=False)
class Kinds:
    """Kinds of content that were found among features.

    Attributes:
        centres: [k, D]; of the commonest kind first.
    """

    centres: Tensor

    @classmethod
    def among(cls, features: Tensor, count: int = COUNT, seed: int = 0) -> Kinds:
        """At most ``count`` kinds among features [n, D] of uncorrected images; the best of several
        runs of k-means, which depends on the seed alone."""
        # It takes longer to import than a command to start.
        from scipy.cluster.vq import kmeans

        x = features.double()
        centres, _ = kmeans(x.numpy(), min(count, len(x)), iter=_STARTS, seed=seed)
        kinds = cls(torch.from_numpy(centres))
        shares = kinds.of(x).bincount(minlength=len(centres))
        return cls(kinds.centres[shares.argsort(descending=True, stable=True)])

    def of(self, features: Tensor) -> Tensor:
        """The kind of each of some features [n, D]: int64 [n], the number of the nearest centre."""
        far = (torch.cdist(rows.double(), self.centres) for rows in features.split(_ROWS))
        return torch.cat([distances.argmin(dim=1) for distances in far])

    def __len__(self) -> int:
        return len(self.centres)


def thumbnails(images: Tensor) -> Tensor:
    """Images [n, C, H, W] as 8×8 pixels, float32 [n, C · 64]: enough to tell kinds by, where no
    better features are at hand."""
    return adaptive_avg_pool2d(images.float(), SIDE).flatten(1).cpu()


def extremes(scores: Tensor, kinds: Tensor, lowest: float, highest: float) -> tuple[Tensor, Tensor]:
    """The places, int64 each, of the lowest and of the highest scores [n] within every kind [n].

    Args:
        lowest, highest: which share of each kind they are.
    """
    low, high = [], []
    for kind in kinds.unique():
        members = (kinds == kind).nonzero()[:, 0]
        order = members[scores[members].argsort(stable=True)]
        low.append(order[: round(lowest * len(order))])
        high.append(order[round((1 - highest) * len(order)) :])
    return torch.cat(low), torch.cat(high)


def explained(values: Tensor, kinds: Tensor) -> float:
    """The share of the variance of values [n] that their kinds [n] explain (eta squared)."""
    values = values.double()
    between = sum(
        len(group) * (group.mean() - values.mean()) ** 2
        for group in (values[kinds == kind] for kind in kinds.unique())
    )
    total = (values - values.mean()).square().sum()
    return float(between / total.clamp(min=torch.finfo(total.dtype).tiny))


def kept(before: Tensor, after: Tensor) -> float:
    """The share of images whose kind [n] is the same afterwards."""
    return float((before == after).double().mean())
