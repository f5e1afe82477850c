"""Activation rates, how often each neuron is positive, and LR counts, how many rare ones are.

[C22]: Choi, Chang, Choi, IJCAI 2022; section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    ALL,
    Batch,
    Latents,
    Part,
    fitting_batch,
    latent_batches,
)
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.ops.dispatch import implementation

LowRate = Sequence[tuple[Layer, Tensor]]
"""Layers, each with bool [C, H, W] at its low-rate neurons."""


def count_active(
    generator: Generator,
    layers: Sequence[Layer],
    latents: Latents,
    samples: int,
    batch: int | None = None,
    part: Part = ALL,
) -> dict[str, Tensor]:
    """Count over latents how often each neuron of some layers is activated, f_n(z) > 0.

    Passes end after the deepest of the layers, and counting is in integers, so that memory does
    not grow with ``samples``.

    Args:
        generator: at truncation psi 1 and constant noise.
        latents: the stream of inputs; its first ``samples`` are used.
        batch: latents per pass, by default `fitting_batch`; the counts depend on it no more than
            the generator itself does.
        part: only these of the batches; the counts of all parts sum up to those of ``ALL``.

    Returns:
        int32 [C, H, W] by layer name, on the CPU.
    """
    counts: dict[str, Tensor] = {}
    batch = batch or fitting_batch(layers, generator.device)

    def visit(layer: Layer, x: Tensor) -> None:
        if layer.name not in counts:
            # In the feature map's own memory order.
            counts[layer.name] = torch.zeros_like(x[0], dtype=torch.int32)
        implementation(x).count_active_(x, counts[layer.name])

    for z, c in latent_batches(generator, latents, samples, batch, "rates", part):
        generator.observe(layers, z, c, visit)
    return {name: count.cpu().contiguous() for name, count in counts.items()}


def lr_counts(
    generator: Generator,
    low_rate: LowRate,
    batches: Iterable[Batch],
    call: Callable[[nn.Module, Tensor, Tensor | None], Any] | None = None,
) -> Tensor:
    """The LR count of each latent ([C22], section 4.1), which is not rendered.

    Args:
        low_rate: layers with bool [C, H, W] at their LR-neurons, as of `Profile.low_rates`.
        batches: (z, one-hot c or None) as the generator's own tensors are.
        call: runs a view of the generator on a batch; by default at psi 1 and constant noise.

    Returns:
        int32 [n], on the CPU; higher is more artifact-like.
    """
    call = call or (lambda view, z, c: generator.synthesize(z, c, view))
    counts = [torch.zeros(0, dtype=torch.int32)]
    for z, c in batches:
        counts.append(lr_count(generator.G, low_rate, lambda view: call(view, z, c)).cpu())
    return torch.cat(counts)


def lr_count(root: nn.Module, low_rate: LowRate, call: Callable[[nn.Module], Any]) -> Tensor:
    """How many low-rate neurons are activated in each sample of one pass.

    Args:
        root: the module that ``call`` runs, for example ``lambda G: G(z)``.
        low_rate: layers, named relative to root, with bool [C, H, W] at their LR-neurons.

    Returns:
        int32 [N], on the generator's device; higher is more artifact-like.
    """
    scores: list[Tensor] = []
    neurons = {layer.name: mask for layer, mask in low_rate}

    def visit(layer: Layer, x: Tensor) -> None:
        if not scores:
            scores.append(torch.zeros(len(x), dtype=torch.int32, device=x.device))
        mask = neurons[layer.name].to(x.device)
        implementation(x).count_low_rate_(x, mask, scores[0])

    observe(root, [layer for layer, _ in low_rate], visit, call)
    return scores[0]
