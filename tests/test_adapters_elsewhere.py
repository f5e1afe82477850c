"""Generators of code outside the three hosts: `scripts/check_generators.py` runs the real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from generators import (
    BigGANShaped,
    ProGANShaped,
    RosinalityShaped,
    StyleGAN2TorchShaped,
    hooks,
    numbered,
    recorded,
)
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.hooks.standalone import Cap, Scale

SHAPES: dict[str, Callable[[], nn.Module]] = {
    "biggan": BigGANShaped,
    "rosinality-stylegan2": RosinalityShaped,
    "stylegan2-torch": StyleGAN2TorchShaped,
    "pro-gan-pth": ProGANShaped,
}
every = pytest.mark.parametrize("name", SHAPES)
SPEC = "seqabl:samples=64,lowest=40%"


def drawn(G: nn.Module, seed: int = 1) -> Tensor:
    """Six images of the adapter's own call."""
    adapter = Generator.of(G).adapter
    latents = Latents(adapter.latent_shape(G), seed, adapter.num_classes(G))
    ((z, c),) = latents.batches(6, 6, torch.device("cpu"))
    with torch.no_grad():
        return adapter.synthesize(G, z, c)


@every
def test_a_generator_is_recognised_and_its_layers_are_of_the_sizes_told(name: str) -> None:
    G = SHAPES[name]()
    layers = numbered(G)
    assert Generator.of(G).adapter.name == name
    with recorded(G, layers) as found:
        drawn(G)
    shapes = [tuple(found[layer.name].shape[1:]) for layer in layers]
    assert shapes == [(layer.channels, *layer.resolution) for layer in layers]


def test_layers_are_numbered_as_in_the_papers() -> None:
    names = {name: [layer.name for layer in numbered(build())] for name, build in SHAPES.items()}
    assert names == {
        "biggan": [f"blocks.{i}.0" for i in range(4)],
        "rosinality-stylegan2": ["conv1", "convs.0", "convs.1", "convs.2", "convs.3"],
        "stylegan2-torch": ["convs.0", "up_convs.0", "convs.1", "up_convs.1", "convs.2"],
        "pro-gan-pth": [f"layers.{k}.conv_{i}" for k in range(3) for i in (1, 2)],
    }


def test_units_of_style_based_and_conditioned_generators_differ_from_sample_to_sample() -> None:
    differ = {
        name: {layer.by_sample for layer in numbered(build())} for name, build in SHAPES.items()
    }
    assert differ == {
        "biggan": {True},
        "rosinality-stylegan2": {True},
        "stylegan2-torch": {True},
        "pro-gan-pth": {False},
    }


def test_default_layers_are_the_papers_or_the_first_three() -> None:
    auto = {}
    for name, build in SHAPES.items():
        G = build()
        auto[name] = [layer.index for layer in Generator.of(G).auto]
    assert auto == {
        "biggan": [0, 1, 2],
        "rosinality-stylegan2": [0, 1, 3],
        "stylegan2-torch": [0, 1, 3],
        "pro-gan-pth": [1, 3, 5],
    }


@every
def test_a_generator_is_corrected_and_left_as_it_was(own_cache: Any, name: str) -> None:
    G = SHAPES[name]()
    plain = drawn(G)
    with ganfix.attach(G, SPEC) as attached:
        corrected = drawn(G)
        assert attached.counts[0].corrected == 6
    assert not torch.equal(corrected, plain)
    assert torch.equal(drawn(G), plain) and not hooks(G)


@every
def test_a_gate_leaves_the_others_bit_for_bit(own_cache: Any, name: str) -> None:
    G = SHAPES[name]()
    plain = drawn(G)
    with ganfix.attach(G, f"{SPEC},gate=lr:50%") as attached:
        gated = drawn(G)
    same = (gated == plain).flatten(1).all(1)
    assert 6 - int(same.sum()) <= attached.counts[0].corrected < 6


@every
def test_measuring_is_the_same_whatever_noise_was_drawn_before(own_cache: Any, name: str) -> None:
    G = SHAPES[name]()
    first = drawn(G)
    torch.manual_seed(7)
    assert torch.equal(drawn(G), first)


def test_capping_before_a_shared_leaky_relu_is_capping_after_it() -> None:
    """pro-gan-pth's convolutions are edited where they return, as one LeakyReLU serves both."""
    x, neurons = torch.randn(3, 4, 5, 5), torch.rand(4, 5, 5) < 0.5
    for edit in (Cap(neurons), Scale(torch.rand(4))):
        before = nn.functional.leaky_relu(edit(x), 0.2)
        torch.testing.assert_close(before, edit(nn.functional.leaky_relu(x, 0.2)))


class OfEachResolution(ProGANShaped):
    def forward(self, x: Tensor) -> Any:
        images, y = [], x[:, :, None, None]
        for k, (layer, to_rgb) in enumerate(zip(self.layers, self.rgb_converters, strict=True)):
            y = layer(y if k == 0 else nn.functional.interpolate(y, scale_factor=2))
            images.append(to_rgb(y))
        return images


def test_of_images_of_each_resolution_the_last_one_is_measured_and_looked_at() -> None:
    generator, z = Generator.of(OfEachResolution()), torch.randn(5, 8)
    assert generator.adapter.name == "pro-gan-pth" and generator.image_item == 2
    assert torch.equal(generator.synthesize(z, None), ProGANShaped()(z))


def test_an_unconditional_unet_gan_draws_no_labels() -> None:
    assert Generator.of(BigGANShaped()).classes == 3
    G = BigGANShaped(unconditional=True)
    assert Generator.of(G).classes == 0
    assert drawn(G).shape == (6, 3, 64, 64)


def test_an_unknown_generator_gets_the_line_that_would_do() -> None:
    G = nn.Sequential(nn.Conv2d(3, 8, 4, stride=2), nn.ReLU(), nn.Flatten()).eval()
    with pytest.raises(GanfixError) as error:
        Generator.of(G)
    text = str(error.value)
    assert "its modules: 0, 1, 2" in text
    assert 'ganfix.attach(G, "seqabl", layers=["0"])' in text
    assert "--adapter NAME, of biggan, dcgan, " in text
