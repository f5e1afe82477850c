"""Which images come first, and how labels change that."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from time import monotonic, sleep

import torch
from torch import Tensor

from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels
from ganfix_plugin.web.order import Learner, Queue, from_both_ends, shuffled


def test_the_highest_and_the_lowest_scores_come_first_by_turns() -> None:
    assert from_both_ends([10, 11, 12, 13, 14], [3.0, 9.0, 1.0, 5.0, 7.0]) == [11, 12, 14, 10, 13]


def test_equal_scores_keep_the_order_of_the_seeds_and_each_seed_comes_once() -> None:
    assert from_both_ends([0, 1, 2, 3], [1.0] * 4) == [0, 3, 1, 2]
    assert from_both_ends([7], [0.0]) == [7]


def test_a_shuffled_order_depends_on_its_key_only() -> None:
    first = shuffled(range(50), "secret", "ann")
    assert first == shuffled(reversed(range(50)), "secret", "ann")
    assert first != shuffled(range(50), "secret", "ben")
    assert sorted(first) == list(range(50))


def test_uncertain_seeds_overtake_and_unknown_ones_follow_as_they_were() -> None:
    queue = Queue([5, 4, 3, 2, 1])
    queue.rank({1: 0.4, 4: 0.1, 3: 0.5})
    assert queue.now == (3, 1, 4, 5, 2)


def test_seeds_of_which_others_had_labels_are_not_asked_for() -> None:
    queue = Queue([3, 2, 1])
    queue.rank({10**6: 0.5, 2: 0.4})
    assert queue.now == (2, 3, 1)


def test_with_labels_of_both_kinds_the_most_uncertain_images_come_first() -> None:
    """Images from dark to bright, of which the brighter half is labelled artifact: those in the
    middle are the uncertain ones."""
    num = 90
    known = [*range(0, 30), *range(60, num)]
    kinds = [NORMAL if seed < 45 else ARTIFACT for seed in known]
    labels = Labels("f" * 64, tuple(Label(seed, kind) for seed, kind in zip(known, kinds)))
    seen: list[int] = []

    def look(seeds: Sequence[int]) -> Tensor:
        seen.extend(seeds)
        noise = torch.stack(
            [torch.randn(12, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        return torch.tensor(seeds)[:, None] / num * 2 - 1 + 0.05 * noise

    queue = Queue(range(num))
    given = Labels(labels.generator, ())
    learner = Learner(queue, look, lambda: given, batch=7)
    Thread(target=learner.run, daemon=True).start()
    _until(lambda: len(seen) == num)
    assert queue.now == tuple(range(num)), "nothing is learned without labels"
    given = labels
    learner.changed()
    _until(lambda: queue.now != tuple(range(num)))
    assert len(seen) == num, "every image is looked at once"
    first = [seed for seed in queue.now if seed not in known][:10]
    assert all(seed >= 35 for seed in first) and max(first) - min(first) < 13, first
    assert set(queue.now[-10:]) <= {*range(15), *range(75, num)}


def test_labelled_images_are_looked_at_first_and_eight_of_a_kind_are_enough() -> None:
    seen: list[int] = []
    kinds = [(seed, ARTIFACT if seed % 2 else NORMAL) for seed in range(20, 36)]
    labels = Labels("f" * 64, tuple(Label(*item) for item in kinds))

    def look(seeds: Sequence[int]) -> Tensor:
        seen.extend(seeds)
        return torch.tensor([[seed % 2 - 0.5, seed / 100] for seed in seeds])

    queue = Queue(range(40))
    Thread(target=Learner(queue, look, lambda: labels).run, daemon=True).start()
    _until(lambda: len(seen) == 40)
    assert seen[:16] == [*range(21, 36, 2), *range(20, 36, 2)]
    assert set(queue.now[:16]) == set(range(20, 36))


def _until(done: object) -> None:
    end = monotonic() + 20
    while not done():  # type: ignore[operator]
        assert monotonic() < end, "waited in vain"
        sleep(0.01)
