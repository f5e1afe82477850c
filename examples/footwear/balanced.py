"""Labels of footwear: the least and the most realistic shoes *of each kind*.

Nobody labelled these networks' images. The least realistic of all would not do: on both networks
two in three of them are of one kind, so that whatever learns from them learns the kind. So kinds
are told apart first, by k-means over the features of the classifier, and of each kind the 15 % of
least realism among real images are artifacts, and the better half is normal.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ganfix_plugin.features.kinds import COUNT, Kinds, extremes
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels

WORST, BEST = 0.15, 0.5  # of each kind


def balanced(
    generator: str, seeds: Sequence[int], features: Tensor, real: Tensor, count: int = COUNT
) -> Labels:
    """Labels of a generator, by its fingerprint.

    Args:
        seeds: of its uncorrected images, whose ``features`` are [n, D].
        real: features [m, D] of real images.
        count: of kinds; 1 labels the least realistic of all, whatever they show.
    """
    kinds = Kinds.among(features, count).of(features)
    ends = extremes(Manifold.of(real).realism(features), kinds, WORST, BEST)
    items = [
        Label(seeds[place], label, "realism", f"kind {int(kinds[place])}")
        for label, places in zip((ARTIFACT, NORMAL), ends)
        for place in places.tolist()
    ]
    return Labels(generator, tuple(sorted(items, key=lambda item: item.sample)))
