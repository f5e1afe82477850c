"""Cap and Scale as pure functions of a feature map."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from edits import (
    DTYPES,
    LAYOUTS,
    SHAPES,
    bits,
    dtypes,
    each_edit,
    feature_map,
    layouts,
    some_neurons,
)
from torch import Tensor
from torch.testing import assert_close

from ganfix_plugin.hooks.standalone import Cap, Scale


@layouts
@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cap_zeroes_activated_neurons_of_the_set_and_nothing_else(
    shape: tuple[int, ...], dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    x, neurons = layout(feature_map(shape, dtype)), some_neurons(shape)
    expected = torch.where(neurons & (x > 0), torch.zeros((), dtype=dtype), x)
    y = Cap(neurons)(x)
    assert_close(y, expected, rtol=0, atol=0, equal_nan=True, check_dtype=True)
    untouched = ~neurons & ~x.isnan()
    assert torch.equal(bits(y)[untouched], bits(x)[untouched])


@layouts
@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scale_multiplies_each_unit_by_its_factor(
    shape: tuple[int, ...], dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    x, factor = layout(feature_map(shape, dtype)), torch.rand(shape[1]) * 2
    y = Scale(factor)(x)
    for unit in range(shape[1]):
        expected = x[:, unit] * factor[unit].to(dtype)
        assert_close(y[:, unit], expected, rtol=0, atol=0, equal_nan=True, check_dtype=True)


@dtypes
def test_a_factor_of_1_leaves_a_unit_bit_for_bit(dtype: torch.dtype) -> None:
    x = feature_map((3, 5, 7, 9), dtype)
    y = Scale(torch.tensor([1.0, 0.5, 1.0, 0.0, 1.0]))(x)
    kept = ~x[:, ::2].isnan()
    assert torch.equal(bits(y)[:, ::2][kept], bits(x)[:, ::2][kept])


@layouts
@dtypes
@pytest.mark.parametrize("batch", [1, 3])
@each_edit(1, 5, 6, 8)
def test_an_edit_keeps_the_memory_format(
    edit: Callable[[Tensor], Tensor],
    batch: int,
    dtype: torch.dtype,
    layout: Callable[[Tensor], Tensor],
) -> None:
    x = layout(feature_map((batch, 5, 6, 8), dtype))
    assert edit(x).stride() == torch.empty_like(x).stride()


@layouts
def test_an_edit_is_out_of_place(layout: Callable[[Tensor], Tensor]) -> None:
    x = layout(feature_map((3, 5, 7, 9)))
    before = x.clone()
    for edit in (Cap(some_neurons(x.shape)), Scale(torch.rand(5))):
        y = edit(x)
        assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    assert torch.equal(bits(x), bits(before))


@layouts
@dtypes
def test_a_row_does_not_depend_on_the_batch_it_is_in(
    dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    rows = torch.randn(9, 5, 7, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    for edit in (Cap(some_neurons(rows.shape)), Scale(torch.rand(5))):
        together = edit(layout(rows))
        for start, end in ((0, 1), (3, 4), (2, 7), (8, 9)):
            assert torch.equal(bits(edit(layout(rows[start:end]))), bits(together[start:end]))


def test_gradients_flow_past_a_cap_except_where_it_bites() -> None:
    neurons = some_neurons((2, 5, 6, 8))
    x = torch.randn(2, 5, 6, 8, requires_grad=True)
    Cap(neurons)(x).sum().backward()
    assert torch.equal(x.grad, (~(neurons & (x > 0))).float())


def test_gradients_are_scaled_with_the_units() -> None:
    factor = torch.tensor([0.0, 0.5, 1.0])
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    Scale(factor)(x).sum().backward()
    assert torch.equal(x.grad, factor.view(-1, 1, 1).expand_as(x))


def test_an_edit_made_and_first_used_under_inference_mode_still_lets_gradients_through() -> None:
    with torch.inference_mode():
        edits = (Cap(some_neurons((1, 3, 4, 4))), Scale(torch.rand(3)))
        for edit in edits:
            edit(torch.randn(2, 3, 4, 4))
    for edit in edits:
        x = torch.randn(2, 3, 4, 4, requires_grad=True)
        edit(x).sum().backward()
        assert x.grad is not None and x.grad.any()


def test_one_edit_serves_several_dtypes_and_layouts_in_turn() -> None:
    cap = Cap(some_neurons((3, 5, 7, 9)))
    for _ in range(2):
        for dtype in DTYPES:
            for layout in LAYOUTS.values():
                y = cap(layout(feature_map((3, 5, 7, 9), dtype)))
                fresh = Cap(cap.neurons)(layout(feature_map((3, 5, 7, 9), dtype)))
                assert y.dtype == dtype and y.stride() == fresh.stride()
                assert torch.equal(bits(y), bits(fresh))


@each_edit(1, 5, 7, 9)
def test_an_edit_pickles_to_its_definition_however_much_it_was_used(
    edit: Callable[[Tensor], Tensor],
) -> None:
    x = feature_map((3, 5, 7, 9))
    fresh = pickle.dumps(edit)
    y = edit(x)
    assert len(pickle.dumps(edit)) == len(fresh)
    assert torch.equal(bits(pickle.loads(fresh)(x)), bits(y))


@each_edit(1, 5, 7, 9)
def test_a_deep_copy_shares_the_edit(edit: Callable[[Tensor], Tensor]) -> None:
    assert copy.deepcopy(edit) is edit
    assert copy.deepcopy([edit])[0] is edit
