"""How many latents are run at once where nobody says."""

from __future__ import annotations

import torch
from generators import StyleGAN2Generator
from torch import nn

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    BATCH,
    Latents,
    fused_batch,
    measuring_batch,
    rendering_batch,
)
from ganfix_plugin.generators.nvidia import StyleGAN2 as NvidiaStyleGAN2
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.rates import count_active

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def layer(channels: int, modulated: bool = True) -> Layer:
    return Layer(0, "conv", (4, 4), channels, modulated=modulated)


def test_large_modulated_layers_run_few_latents_at_once_on_a_cpu() -> None:
    assert fused_batch([layer(512)], CPU) == 2
    assert fused_batch([layer(128)], CPU) == 7


def test_small_or_unmodulated_layers_and_other_devices_run_whole_batches() -> None:
    assert fused_batch([layer(32)], CPU) == BATCH
    assert fused_batch([layer(512, modulated=False)], CPU) == BATCH
    assert fused_batch([layer(512)], CUDA) == BATCH


def test_the_largest_layer_decides() -> None:
    assert fused_batch([layer(32), layer(512), layer(1024, modulated=False)], CPU) == 2


def test_it_is_what_measuring_takes_unless_told() -> None:
    sizes: list[int] = []

    class Told(Latents):
        def batches(self, samples, size, device):  # type: ignore[no-untyped-def]
            sizes.append(size)
            return super().batches(samples, size, device)

    generator, latents = Generator.of(StyleGAN2Generator()), Told((8,), 0)
    layers = generator.layers
    count_active(generator, layers, latents, 3)
    count_active(generator, layers, latents, 3, batch=2)
    assert sizes == [BATCH, 2]


def test_a_cpu_renders_few_at_once_and_measures_many_unless_exactly() -> None:
    generator = Generator(nn.Linear(1, 1), NvidiaStyleGAN2(), (layer(512),))
    assert rendering_batch(generator) == 2
    assert measuring_batch(generator, generator.layers) == BATCH
    assert measuring_batch(generator.measured_exactly(), generator.layers) == 2


def test_images_of_1024_pixels_are_rendered_two_at_a_time_everywhere() -> None:
    large = Layer(0, "conv", (1024, 1024), 32, modulated=True)
    assert rendering_batch(Generator(nn.Linear(1, 1), NvidiaStyleGAN2(), (large,))) == 2
