"""What a correction keeps of images: untouched, changed by, identity, kinds; and alternatives."""

from __future__ import annotations

from dataclasses import astuple

import pytest
import torch
from torch import Tensor

from ganfix_plugin.evaluation.alternatives import drawn, psi_alike
from ganfix_plugin.evaluation.measures import Measures, apart
from ganfix_plugin.features.kinds import Kinds

SIGN = Kinds(torch.tensor([[-1.0, 0], [1, 0]]).double())  # of the first feature
BEFORE = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
CENTRE = torch.zeros(2)


def test_what_is_as_it_was_loses_nothing() -> None:
    measures = Measures.of(BEFORE, BEFORE, torch.zeros(4), SIGN, CENTRE)
    assert astuple(measures) == (1, 0, 1, 1, 0)


def test_identity_and_kind_are_of_the_images_that_change() -> None:
    after = BEFORE.clone()
    after[0] = torch.tensor([-0.001, 1])  # at a right angle, and of the other kind
    after[1] = torch.tensor([5.0, 0])  # along
    measures = Measures.of(BEFORE, after, torch.tensor([2.0, 6, 0, 0]), SIGN, CENTRE)
    assert (measures.untouched, measures.change) == (0.5, 2)
    assert measures.identity == pytest.approx(0.5, abs=1e-3)
    assert measures.kind_kept == 0.5
    assert measures.shift == 0.25


def test_identity_leaves_out_what_all_images_have_in_common() -> None:
    common = torch.tensor([100.0, 100])
    after = -BEFORE + common
    measures = Measures.of(BEFORE + common, after, torch.ones(4), SIGN, common)
    assert measures.identity == pytest.approx(-1)


def test_as_many_changes_of_kind_either_way_shift_no_share() -> None:
    measures = Measures.of(BEFORE, -BEFORE, torch.ones(4), SIGN, CENTRE)
    assert (measures.kind_kept, measures.shift) == (0, 0)


def test_groups_are_apart_by_the_share_that_would_have_to_change_kind() -> None:
    first = torch.tensor([0, 0, 0, 1])
    assert apart(first, first) == 0
    assert apart(first, torch.tensor([1, 2])) == pytest.approx(0.75)
    assert apart(first, torch.tensor([2])) == 1


def test_enough_is_drawn_to_replace_what_was_changed() -> None:
    chance = torch.Generator().manual_seed(0)
    for changed in (3, 30, 290):
        n = drawn(changed, 300)
        left_alone = torch.rand(200, n, generator=chance) < 1 - changed / 300
        assert (left_alone.sum(dim=1) >= changed).all()


def test_truncation_is_no_stronger_than_it_must_be() -> None:
    chance = torch.Generator().manual_seed(0)
    others = torch.randn(200, 2, generator=chance)
    flagged = torch.randn(100, 2, generator=chance)

    def truncated(psi: float) -> Tensor:
        return flagged + 10 * psi

    assert psi_alike(truncated, flagged + 6.5, others)[0] == 0.6
    psi, ratio = psi_alike(truncated, flagged, others)
    assert psi == 0.3 and ratio > 1
