"""Corrections that look at a first pass and correct single samples in a second one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from edits import dimmed
from generators import EarlierGenerator, images, latents, numbered, recorded
from torch import Tensor, nn

from ganfix_plugin import attach


def bright(G: nn.Module, z: Tensor, index: int = 0) -> Tensor:
    """The rows that `Dim` chooses, and nothing else."""
    layer = numbered(G)[index]
    with recorded(G, (layer,)) as found:
        images(G, z)
    means = found[layer.name].flatten(1).mean(1)
    return means > means.mean()


def by_hand(G: nn.Module, z: Tensor, rows: Tensor, index: int = 0, factor: float = 0.5) -> Any:
    """A hook of torch's own that scales those rows of that layer."""
    layer = numbered(G)[index]

    def scale(module: nn.Module, args: Any, output: Any) -> Any:
        x = layer.read(output)
        return layer.write(output, torch.where(rows.view(-1, 1, 1, 1), x * factor, x))

    return G.get_submodule(layer.name).register_forward_hook(scale)


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_chosen_rows_are_made_again_from_the_same_noise_and_the_others_kept(
    stylegan2: nn.Module, noise_mode: str
) -> None:
    z = latents(stylegan2, 8)
    rows = bright(stylegan2, z)
    before = images(stylegan2, z, noise_mode)
    handle = by_hand(stylegan2, z, rows)
    expected = images(stylegan2, z, noise_mode)
    after_one_pass = torch.get_rng_state()
    handle.remove()
    with dimmed(stylegan2) as attachment:
        found = images(stylegan2, z, noise_mode)
        assert torch.equal(torch.get_rng_state(), after_one_pass)
    assert torch.equal(found, expected) and not torch.equal(found[rows], before[rows])
    assert torch.equal(found[~rows], before[~rows])
    assert (attachment.counts[0].samples, attachment.counts[0].corrected) == (8, rows.sum())


def test_an_entry_may_return_the_image_alone_where_its_family_returns_more() -> None:
    G = EarlierGenerator()
    z = latents(G, 8)
    rows, before = bright(G, z), images(G, z)
    with dimmed(G):
        corrected = images(G, z)
    assert torch.equal((corrected != before).flatten(1).any(dim=1), rows)


def test_an_entry_may_return_more_after_the_image(stylegan2: nn.Module) -> None:
    G = copy.deepcopy(stylegan2)
    z = latents(G, 8)
    rows, before, ws = bright(G, z), images(G, z), G.mapping(z, None)
    kind: Any = type(G.synthesis)

    class WithStyles(kind):  # type: ignore[misc]
        def forward(self, ws: Tensor, **options: Any) -> Any:
            return super().forward(ws, **options), [ws]

    G.synthesis.__class__ = WithStyles
    with dimmed(G), torch.no_grad():
        corrected, (styles,) = G.synthesis(ws, noise_mode="const")
    assert torch.equal((corrected != before).flatten(1).any(dim=1), rows)
    assert torch.equal(styles, ws)


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda G: pickle.loads(pickle.dumps(G))])
def test_copies_and_pickles_make_second_passes_too(stylegan2: nn.Module, travel: Any) -> None:
    z = latents(stylegan2, 8)
    with dimmed(stylegan2):
        assert torch.equal(images(travel(stylegan2), z), images(stylegan2, z))


def test_hooks_of_others_see_the_first_pass_only(stylegan2: nn.Module) -> None:
    ran: list[int] = []
    handle = stylegan2.synthesis.b8.register_forward_hook(lambda *_: ran.append(1))
    with dimmed(stylegan2):
        images(stylegan2, latents(stylegan2, 8))
    handle.remove()
    assert len(ran) == 1


def test_gradients_go_through_the_pass_that_each_row_is_of(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 8)
    rows, ws = bright(stylegan2, z), stylegan2.mapping(z, None).requires_grad_()
    handle = by_hand(stylegan2, z, rows)
    expected = stylegan2.synthesis(ws, noise_mode="const")
    (gradient,) = torch.autograd.grad(expected.square().sum(), ws)
    handle.remove()
    with dimmed(stylegan2):
        found = stylegan2.synthesis(ws, noise_mode="const")
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found.square().sum(), ws)[0], gradient)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["other", "second pass"])
@pytest.mark.parametrize(
    "spec",
    [
        "random:portion=20%",
        "random:portion=20%,gate=lr:50%,samples=200",
        "truncation:psi=0.5",
        "truncation:psi=0.5,gate=lr:50%,samples=200",
    ],
)
def test_a_correction_of_one_pass_acts_once_in_both_passes_whichever_comes_first(
    stylegan2: nn.Module, spec: str, first: str
) -> None:
    z = latents(stylegan2, 8)
    with attach(stylegan2, spec):
        handle = by_hand(stylegan2, z, bright(stylegan2, z, 2), 2)
        expected = images(stylegan2, z)
        handle.remove()
    if first == "other":
        with attach(stylegan2, spec) as other, dimmed(stylegan2, 2):
            found = images(stylegan2, z)
    else:
        with dimmed(stylegan2, 2), attach(stylegan2, spec) as other:
            found = images(stylegan2, z)
    assert torch.equal(found, expected)
    assert other.counts[0].samples == 8


def test_two_second_passes_add_up(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 8)
    one = by_hand(stylegan2, z, bright(stylegan2, z, 0), 0, factor=2)
    two = by_hand(stylegan2, z, bright(stylegan2, z, 2), 2)  # as the first leaves it
    expected = images(stylegan2, z)
    one.remove()
    two.remove()
    with dimmed(stylegan2, 0, factor=2), dimmed(stylegan2, 2):
        assert torch.equal(images(stylegan2, z), expected)
