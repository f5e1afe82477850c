"""Kinds of content: k-means of features, and what they explain."""

from __future__ import annotations

import pytest
import torch

from ganfix_plugin.features.kinds import Kinds, explained, extremes, kept, thumbnails


def groups(*sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [n, 5] around one place for each size, shuffled, and which place."""
    chance = torch.Generator().manual_seed(0)
    kinds = torch.cat([torch.full((size,), kind) for kind, size in enumerate(sizes)])
    kinds = kinds[torch.randperm(len(kinds), generator=chance)]
    places = 10 * torch.eye(5)[: len(sizes)]
    return places[kinds] + torch.randn(len(kinds), 5, generator=chance), kinds


def test_the_commonest_kind_comes_first() -> None:
    features, truth = groups(40, 100, 60)
    kinds = Kinds.among(features)
    expected = torch.tensor([2, 0, 1])[truth]
    assert torch.equal(kinds.of(features), expected)
    for kind, centre in enumerate(kinds.centres):
        torch.testing.assert_close(centre.float(), features[expected == kind].mean(dim=0))


def test_kinds_are_the_same_every_time() -> None:
    features = torch.rand(300, 8, generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    first, again = Kinds.among(features), Kinds.among(features)
    assert torch.equal(first.centres, again.centres) and len(first) == 3
    assert torch.equal(torch.get_rng_state(), state)


def test_no_more_kinds_than_images() -> None:
    features = torch.rand(2, 4)
    assert sorted(Kinds.among(features).of(features).tolist()) == [0, 1]


def test_thumbnails_are_means_of_pixels() -> None:
    images = torch.rand(2, 3, 32, 32).half()
    small = thumbnails(images).view(2, 3, 8, 8)
    expected = images.float().view(2, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    torch.testing.assert_close(small, expected)


def test_what_kinds_explain_is_a_share_of_the_variance() -> None:
    kinds = torch.tensor([0, 0, 1, 1])
    assert explained(torch.tensor([1.0, 1, 5, 5]), kinds) == pytest.approx(1)
    assert explained(torch.tensor([1.0, 5, 1, 5]), kinds) == 0
    assert explained(torch.tensor([0.0, 2, 2, 4]), kinds) == pytest.approx(0.5)
    assert explained(torch.ones(4), kinds) == 0


def test_kept_kinds_are_counted() -> None:
    assert kept(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])) == 0.75


def test_every_kind_has_as_large_a_share_of_the_lowest_and_of_the_highest() -> None:
    kinds = torch.tensor([0] * 100 + [1] * 20)
    low, high = extremes(torch.arange(120.0), kinds, 0.15, 0.5)
    assert low.tolist() == [*range(15), *range(100, 103)]
    assert high.tolist() == [*range(50, 100), *range(110, 120)]
