"""`seqabl`: sequential ablation of low-rate neurons, Algorithm 1 of [C22]."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from generators import dcgan, images, latents, numbered, recorded
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.hooks.layer import Layer

quiet = pytest.mark.filterwarnings("ignore:seqabl")


def rates(G: nn.Module, layers: tuple[Layer, ...], samples: int = 200) -> list[Tensor]:
    numbers = "+".join(str(each.index) for each in layers)
    profile = ganfix.profile(G, layers=numbers, samples=samples, scores=False)
    return [profile.counts[each.name] / samples for each in layers]


def with_keys(spec: str, keys: str) -> str:
    return f"{spec}{',' if ':' in spec else ':'}{keys}"


def ablated(G: nn.Module, spec: str) -> list[Tensor]:
    """The neurons that a spec ablates, by layer, 1 for those."""
    with attach(G, with_keys(spec, "samples=200")) as attachment:
        edits: Any = attachment.corrections[0].edits
        return [cap.neurons for cap in edits.values()]


def slowly_corrected(
    G: nn.Module, z: Tensor, layers: tuple[Layer, ...], low: list[Tensor]
) -> Tensor:
    """Algorithm 1 word by word: in each layer, one neuron of one sample after the other."""

    def zero(layer: Layer, neurons: Tensor) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            x = layer.read(output).clone()
            for sample in x:
                for unit, row, column in neurons.nonzero().tolist():
                    if sample[unit, row, column] > 0:
                        sample[unit, row, column] = 0
            return layer.write(output, x)

        return G.get_submodule(layer.name).register_forward_hook(hook)

    handles = [zero(layer, neurons) for layer, neurons in zip(layers, low)]
    result = images(G, z)
    for handle in handles:
        handle.remove()
    return result


@quiet
def test_images_equal_a_slow_reading_of_the_algorithm(own_cache: Any, G: nn.Module) -> None:
    z = latents(G, 2)
    layers = Generator.of(G).auto[:2]
    counts = [torch.zeros(each.channels, *each.resolution) for each in layers]
    for batch, _ in Latents(tuple(z.shape[1:]), 0).batches(100, 32, z.device):
        with recorded(G, layers) as found:
            images(G, batch)
        for count, each in zip(counts, layers):
            count += (found[each.name] > 0).sum(0)
    low = [count / 100 <= 0.3 for count in counts]
    numbers = "+".join(str(each.index) for each in layers)
    with attach(G, f"seqabl:rate=0.3,samples=100,layers={numbers}"):
        corrected = images(G, z)
    assert torch.equal(corrected, slowly_corrected(G, z, layers, low))


@quiet
def test_each_layer_is_computed_from_the_corrected_one_before(stylegan2: nn.Module) -> None:
    z, layers = latents(stylegan2, 4), numbered(stylegan2)[:4]
    with attach(stylegan2, "seqabl:layers=0,samples=200"), recorded(stylegan2, layers) as first:
        images(stylegan2, z)
    with attach(stylegan2, "seqabl:samples=200") as attachment:
        caps: Any = attachment.corrections[0].edits
        with recorded(stylegan2, layers) as all_three:
            images(stylegan2, z)
    for layer in layers[:2]:
        expected = first[layer.name]
        if layer.index == 1:
            expected = caps[layer](expected)
        assert torch.equal(all_three[layer.name], expected)


@quiet
def test_rate_03_is_the_paper_s_rule_and_the_bound_belongs_to_the_set(face: nn.Module) -> None:
    expected = [each <= 0.3 for each in rates(face, numbered(face)[:3])]
    found_03 = ablated(face, "seqabl:rate=0.3")
    assert all(torch.equal(a, b) for a, b in zip(found_03, expected))
    some = rates(face, numbered(face)[:1])[0].unique()[3]
    (found,) = ablated(face, f"seqabl:rate={float(some)},layers=0")
    assert torch.equal(found, rates(face, numbered(face)[:1])[0] <= some)


def takes_at_most_half(G: nn.Module, layers: tuple[Layer, ...]) -> bool:
    """Whether R = 0.3 takes at most half of the live neurons of every layer."""
    live = [each[each > 0].numpy() for each in rates(G, layers)]
    return all((each <= 0.3).sum() <= each.size / 2 for each in live)


@quiet
@pytest.mark.parametrize("bias", [-0.5, 0.0, 1.0])
@pytest.mark.parametrize("spec", ["seqabl", "seqabl:rate=auto", "seqabl:layers=0"])
def test_by_default_the_paper_s_rate_or_where_that_takes_most_the_lowest_30_percent(
    own_cache: Any, caplog: pytest.LogCaptureFixture, bias: float, spec: str
) -> None:
    G = dcgan()
    with torch.no_grad():
        G[0].bias.fill_(bias)
    layers = numbered(G)[:1] if "layers=0" in spec else numbered(G)[:3]
    few = takes_at_most_half(G, layers)
    assert few == (bias > -0.5)
    rule = "rate=0.3" if few else "lowest=30%"
    explicit = f"seqabl:{rule}" + (",layers=0" if "layers=0" in spec else "")
    assert all(torch.equal(a, b) for a, b in zip(ablated(G, spec), ablated(G, explicit)))
    caplog.clear()
    with caplog.at_level("INFO", "ganfix"):
        attachment = attach(G, with_keys(spec, "samples=200"))
    text = attachment.corrections[0].text
    attachment.detach()
    assert f"{rule},side=low" in text and "auto,side" not in text
    assert any(rule in line for line in caplog.messages)
    assert few != any("more than half" in line for line in caplog.messages)


@quiet
def test_the_high_side_is_all_the_other_neurons(face: nn.Module) -> None:
    for choice in ("rate=0.2", "lowest=30%", "rate=0.2,dead=without"):
        low = ablated(face, f"seqabl:{choice}")
        high = ablated(face, f"seqabl:{choice},side=high")
        assert all(torch.equal(a, ~b) for a, b in zip(low, high))


@quiet
def test_neurons_never_seen_active_count_as_low_rate_unless_told_otherwise(
    stylegan2: nn.Module,
) -> None:
    measured = rates(stylegan2, tuple(numbered(stylegan2)[i] for i in (0, 1, 3)))
    with_dead = ablated(stylegan2, "seqabl:rate=0.1")
    without = ablated(stylegan2, "seqabl:rate=0.1,dead=without")
    for rate, wide, narrow in zip(measured, with_dead, without):
        assert (rate == 0).any()
        assert torch.equal(wide, rate <= 0.1)
        assert torch.equal(narrow, (rate <= 0.1) & (rate > 0))


@quiet
@pytest.mark.parametrize("share", [0, 10, 30, 100])
def test_the_rank_rule_takes_exactly_its_share_of_live_neurons(G: nn.Module, share: int) -> None:
    layers = Generator.of(G).auto
    found = ablated(G, f"seqabl:lowest={share}%,dead=without")
    for rate, neurons in zip(rates(G, layers), found):
        live = rate > 0
        assert not neurons[~live].any()
        assert neurons.sum() == round(share / 100 * int(live.sum()))
        if 0 < neurons.sum() < live.sum():
            assert rate[neurons].max() <= rate[live & ~neurons].min()


@quiet
def test_the_rank_rule_adds_the_dead_unless_told_otherwise(stylegan2: nn.Module) -> None:
    measured = rates(stylegan2, tuple(numbered(stylegan2)[i] for i in (0, 1, 3)))
    narrow = ablated(stylegan2, "seqabl:lowest=30%,dead=without")
    for rate, few, many in zip(measured, narrow, ablated(stylegan2, "seqabl:lowest=30%")):
        assert torch.equal(many, few | (rate == 0))


def test_of_neurons_with_equal_rates_the_first_are_taken(own_cache: Any) -> None:
    G = dcgan()
    with torch.no_grad():
        G[0].bias.fill_(100)  # every neuron of layer 0 is always active
    (neurons,) = ablated(G, "seqabl:lowest=25%,layers=0")
    assert neurons.flatten().nonzero().flatten().tolist() == list(range(48))


def test_a_set_of_most_of_a_layer_is_warned_about(stylegan2: nn.Module) -> None:
    with pytest.warns(
        UserWarning, match=r"seqabl: \d\d% of the live neurons of layer 0 .*lowest=30%"
    ):
        attach(stylegan2, "seqabl:rate=0.5,layers=0,samples=200").detach()


def test_a_set_of_less_than_half_a_layer_is_not_warned_about(face: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(face, "seqabl:lowest=30%,dead=without,samples=200").detach()


def test_an_empty_set_is_warned_about(face: nn.Module) -> None:
    with pytest.warns(UserWarning, match="no neuron of layer 0 .* is low-rate; nothing changes"):
        attach(face, "seqabl:lowest=0%,dead=without,layers=0,samples=200").detach()


def test_rate_and_rank_together_are_refused(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="rate and lowest are two ways to choose .*; give one"):
        attach(face, "seqabl:rate=0.3,lowest=30%")


@quiet
def test_only_the_chosen_layers_are_measured_and_corrected(own_cache: Any, face: nn.Module) -> None:
    z, layers = latents(face, 2), numbered(face)
    with recorded(face, layers) as before:
        images(face, z)
    with attach(face, "seqabl:layers=8x8,samples=20"), recorded(face, layers) as after:
        images(face, z)
    same = [torch.equal(before[each.name], after[each.name]) for each in layers]
    assert same == [True, False, False, False]
    assert list(ganfix.profile(face, layers="1", samples=20, scores=False).counts) == ["main.5"]


@quiet
def test_an_ablated_image_does_not_depend_on_its_batch_more_than_the_generators_own(
    G: nn.Module,
) -> None:
    z = latents(G, 6)

    def spread() -> float:
        alone = torch.cat([images(G, z[n : n + 1]) for n in range(6)])
        return float((images(G, z) - alone).abs().max())

    own = spread()
    with attach(G, "seqabl:lowest=30%,samples=200"):
        assert spread() <= max(4 * own, 1e-5)
