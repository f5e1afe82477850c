"""`random`: the ablation baseline, whose choice is fixed by a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edits import SHAPES, bits, dtypes, feature_map, layouts
from generators import images, latents, numbered, recorded
from torch import Tensor, nn

from ganfix_plugin import attach
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.drop import Drop
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap, Scale


def edits(attachment: Attachment) -> list[Cap | Scale]:
    found = attachment.corrections[0].edits
    return list(found.values())


@pytest.mark.parametrize("portion", [0.25, 0.3, 1])
def test_the_portion_of_the_neurons_of_each_layer_is_ablated(
    pggan: nn.Module, portion: float
) -> None:
    with attach(pggan, f"random:portion={portion}") as attachment:
        shares = [float(cap.neurons.float().mean()) for cap in edits(attachment)]
    assert shares == pytest.approx([portion] * 3, abs=1e-3)


def test_units_lose_their_whole_channel_and_neurons_only_their_activation(face: nn.Module) -> None:
    z, layer = latents(face, 4), numbered(face)[:1]
    with recorded(face, layer) as before:
        images(face, z)
    with attach(face, "random:of=units,portion=50%,layers=0"), recorded(face, layer) as after:
        images(face, z)
    zeroed = after["main.2"].flatten(2).abs().sum((0, 2)) == 0
    assert zeroed.sum() >= 256
    assert torch.equal(after["main.2"][:, ~zeroed], before["main.2"][:, ~zeroed])


def test_negative_values_of_ablated_neurons_stay(pggan: nn.Module) -> None:
    z = latents(pggan, 4)
    layer = numbered(pggan)[1:2]
    with recorded(pggan, layer) as before:
        images(pggan, z)
    with attach(pggan, "random:portion=100%,layers=1"), recorded(pggan, layer) as after:
        images(pggan, z)
    assert torch.equal(after["layer1"], before["layer1"].clamp(max=0))
    assert (after["layer1"] < 0).any()


@pytest.mark.parametrize("portion", [0.3, 0.9, 1])
def test_each_image_loses_the_portion_of_the_neurons_that_it_activates(
    face: nn.Module, portion: float
) -> None:
    z, layer = latents(face, 6), numbered(face)[1:2]
    with recorded(face, layer) as before:
        images(face, z)
    with (
        attach(face, f"random:of=activated,layers=1,portion={portion}"),
        recorded(face, layer) as after,
    ):
        images(face, z)
    for x, y in zip(before["main.5"].numpy(), after["main.5"].numpy()):
        activated = x > 0
        assert ((y != x) & activated).sum() == round(portion * activated.sum())
        assert (y[y != x] == 0).all() and (y[~activated] == x[~activated]).all()


def test_which_activated_neurons_go_differs_by_image_and_seed_but_not_by_batch() -> None:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(200, 8, 8, 8, generator=chance).abs()
    lost = {seed: drop(seed)(x) == 0 for seed in (0, 1)}
    shares = [float((lost[0][0] & each).float().mean()) for each in lost[0][1:]]
    assert sum(shares) / len(shares) == pytest.approx(0.3 * 0.3, abs=0.01)  # as by chance
    assert lost[0].float().mean(dim=0) == pytest.approx(torch.full((8, 8, 8), 0.3), abs=0.2)
    assert float((lost[0] & lost[1]).float().mean()) == pytest.approx(0.09, abs=0.02)
    alone = torch.cat([drop(0)(row) for row in x.split(1)])
    assert torch.equal(alone, drop(0)(x))
    nearly = drop(0)(x * (1 + 1e-6)) == 0
    assert torch.equal(nearly, lost[0])


def drop(seed: int) -> Drop:
    shuffled = torch.randperm(512, generator=torch.Generator().manual_seed(seed))
    return Drop(shuffled, 0.3)


@layouts
@dtypes
def test_dropping_keeps_the_type_and_order_in_memory_and_all_that_is_not_activated(
    dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    for shape in SHAPES:
        x = layout(feature_map(shape, dtype))
        order = torch.randperm(x[0].numel() if len(x) else 48)
        y = Drop(order, 0.5)(x)
        assert (y.dtype, y.shape) == (dtype, x.shape)
        assert y.is_contiguous() or y.stride() == x.stride()
        assert torch.equal(bits(y)[~(x > 0)], bits(x)[~(x > 0)])


def test_the_choice_depends_on_the_seed_alone(pggan: nn.Module) -> None:
    def chosen(text: str) -> list[torch.Tensor]:
        torch.rand(3)  # whatever the script drew before
        with attach(pggan, text) as attachment:
            return [cap.neurons for cap in edits(attachment)]

    first, again, other = chosen("random"), chosen("random:seed=0"), chosen("random:seed=1")
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


def test_every_image_loses_the_same_neurons(face: nn.Module) -> None:
    z, layer = latents(face, 3), numbered(face)[:1]
    with attach(face, "random:layers=0") as attachment, recorded(face, layer) as found:
        (cap,) = edits(attachment)
        for n in range(3):
            images(face, z[n : n + 1])
            assert not found["main.2"][0][cap.neurons].any()


def test_a_share_of_nothing_is_refused(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="portion is '0%', expected a share above 0%"):
        attach(face, "random:portion=0%")


def test_nothing_is_measured(own_cache: Path, face: nn.Module) -> None:
    with attach(face, "random"):
        assert not own_cache.exists()


def test_layers_can_be_chosen(face: nn.Module) -> None:
    with attach(face, "random:layers=16x16+32x32") as attachment:
        layers: list[Layer] = list(attachment.corrections[0].layers)
    assert [layer.name for layer in layers] == ["main.8", "main.11"]
