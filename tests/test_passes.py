"""Passes that stop after the deepest layer they need, past everybody's hooks."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from generators import dcgan, hooks, images, latents, numbered, recorded
from torch import Tensor, nn

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import bare, random_state_kept


class Counted(nn.Module):
    """A convolution that counts its calls, by itself and not by a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.conv(x)


def feature_maps(G: nn.Module, layers: tuple[Layer, ...], z: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    observe(G, layers, lambda each, x: found.update({each.name: x.clone()}), lambda v: images(v, z))
    return found


def test_a_view_shares_every_parameter_and_buffer(G: nn.Module) -> None:
    view = bare(G)
    for part in ("named_parameters", "named_buffers"):
        own = dict(getattr(G, part)())
        assert {name: id(x) for name, x in getattr(view, part)()} == {
            name: id(x) for name, x in own.items()
        }


def test_a_view_gives_the_same_images(G: nn.Module) -> None:
    z = latents(G, 3)
    assert torch.equal(images(bare(G), z), images(G, z))


def test_a_view_follows_moves_and_changes_in_place() -> None:
    G = dcgan()
    view = bare(G)
    with torch.no_grad():
        G[0].weight.mul_(2)
    assert torch.equal(view[0].weight, G[0].weight)
    G.to(torch.float64)
    assert view[0].weight.dtype == torch.float64
    assert view[3].running_mean.dtype == torch.float64


def test_a_module_in_two_places_is_one_module_in_the_view() -> None:
    shared = nn.ReLU()
    view = bare(nn.Sequential(nn.Conv2d(1, 1, 1), shared, nn.Conv2d(1, 1, 1), shared))
    assert view[1] is view[3] is not shared


def test_hooks_of_others_stay_and_do_not_run(G: nn.Module) -> None:
    ran: list[str] = []
    handles = []
    for name, module in G.named_modules():
        forward = module.register_forward_hook(lambda m, a, o, name=name: ran.append(name))
        before = module.register_forward_pre_hook(lambda m, a, name=name: ran.append(name))
        handles += [forward, before]
    placed = hooks(G)
    feature_maps(G, numbered(G)[:2], latents(G, 2))
    assert not ran
    assert hooks(G) == placed
    images(G, latents(G, 1))
    assert ran
    for handle in handles:
        handle.remove()


def test_the_uncorrected_feature_maps_of_a_corrected_generator_are_seen(G: nn.Module) -> None:
    layers, z = numbered(G)[:4], latents(G, 4)
    before = feature_maps(G, layers, z)
    with attach(G, "random:portion=80%") as attachment:
        during = feature_maps(G, layers, z)
        assert attachment.counts[0].runs == 0
    assert all(torch.equal(before[each.name], during[each.name]) for each in layers)


def test_what_is_seen_is_what_a_hook_sees_in_a_full_pass(G: nn.Module) -> None:
    layers, z = numbered(G), latents(G, 3)
    with recorded(G, layers) as expected:
        images(G, z)
    found = feature_maps(G, layers, z)
    assert list(found) == [layer.name for layer in layers]
    assert all(torch.equal(found[name], expected[name]) for name in found)


def spectral() -> nn.Module:
    return nn.utils.spectral_norm(nn.ConvTranspose2d(4, 6, 4))


def weight() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(nn.ConvTranspose2d(4, 6, 4))


def parametrized() -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(4, 6, 4))


@pytest.mark.parametrize("normalized", [spectral, weight, parametrized])
def test_weights_that_torch_computes_before_a_pass_are_computed(
    normalized: Callable[[], nn.Module],
) -> None:
    G = nn.Sequential(normalized(), nn.ReLU()).eval()
    z = torch.randn(2, 4, 1, 1)
    G(z)
    with torch.no_grad():
        for parameter in G.parameters():
            parameter.copy_(torch.randn_like(parameter))
    assert torch.equal(bare(G)(z), G(z))


def test_nothing_runs_after_the_deepest_layer() -> None:
    G = nn.Sequential(*(Counted() for _ in range(5)))
    layers = [Layer(i, f"{i}.conv", (4, 4), 2) for i in (2, 0)]
    seen: list[int] = []
    z = torch.randn(3, 2, 4, 4)
    observe(G, layers, lambda layer, x: seen.append(layer.index), lambda view: view(z))
    assert seen == [0, 2]
    assert [len(block.calls) for block in G] == [1, 1, 1, 0, 0]


def test_a_host_that_swallows_exceptions_cannot_keep_the_pass_going() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Counted() for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                try:
                    x = block(x)
                except Exception:
                    continue
            return x

    G = Stubborn()
    z = torch.randn(1, 2, 4, 4)
    layer = Layer(0, "blocks.0.conv", (4, 4), 2)
    observe(G, [layer], lambda layer, x: None, lambda view: view(z))
    assert [len(block.calls) for block in G.blocks] == [1, 0, 0]


def test_a_pass_that_ends_early_leaves_no_hook_and_no_gradient(face: nn.Module) -> None:
    def visit(layer: Layer, x: Tensor) -> None:
        assert not x.requires_grad

    z = latents(face, 1).requires_grad_()
    observe(face, numbered(face)[:1], visit, lambda view: view(z))
    assert torch.is_grad_enabled()
    assert not hooks(face)


def test_an_error_in_the_generator_comes_through_and_leaves_no_hook(face: nn.Module) -> None:
    with pytest.raises(RuntimeError):
        observe(face, numbered(face), lambda layer, x: None, lambda view: view(torch.randn(1, 7)))
    assert not hooks(face)


def test_a_layer_that_never_runs_is_named() -> None:
    G = dcgan()
    G.add_module("idle", nn.ReLU())
    layers = [*numbered(dcgan()), Layer(9, "idle", (4, 4), 2)]
    with pytest.raises(GanfixError, match="layers idle never ran"):
        observe(G, layers, lambda layer, x: None, lambda view: view[:7](latents(dcgan(), 1)))


def test_threads_see_each_their_own_feature_maps(stylegan2: nn.Module) -> None:
    layers = numbered(stylegan2)[:3]
    batches = [latents(stylegan2, 1 + seed % 3, seed) for seed in range(8)]
    expected = [feature_maps(stylegan2, layers, z) for z in batches]
    together = threading.Barrier(4)

    def observed(z: Tensor) -> dict[str, Tensor]:
        together.wait()
        return feature_maps(stylegan2, layers, z)

    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(observed, batches), expected):
            assert all(torch.equal(found[name], right[name]) for name in right)


def test_the_random_state_is_left_as_it_was(face: nn.Module) -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    with random_state_kept(face):
        torch.randn(100)
    assert torch.equal(torch.randn(3), expected)


def test_what_is_drawn_under_a_seed_starts_from_it(face: nn.Module) -> None:
    def draw() -> Tensor:
        with random_state_kept(face, seed=3):
            return torch.randn(4)

    assert torch.equal(draw(), draw())
