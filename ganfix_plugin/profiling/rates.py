"""Activation rates, how often each neuron is positive, and LR counts, how many rare ones are.

Rates are counted, or imported from the files that the authors of [C22] publish beside their code.
[C22]: Choi, Chang, Choi, IJCAI 2022; section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import read_array
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import ALL, BATCH, Batch, Latents, Part, latent_batches
from ganfix_plugin.generators.replay import one_each
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.ops.dispatch import implementation
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.rows import Rows

LowRate = Sequence[tuple[Layer, Tensor]]
"""Layers, each with bool [C, H, W] at its low-rate neurons, as of `Profile.low_rates`."""


def count_active(
    generator: Generator,
    layers: Sequence[Layer],
    latents: Latents,
    samples: int,
    batch: int = BATCH,
    part: Part = ALL,
) -> dict[str, Tensor]:
    """Count over latents how often each neuron of some layers is activated, f_n(z) > 0.

    At psi 1 and constant noise. Passes end after the deepest of the layers, and counting is in
    integers, so that memory does not grow with ``samples``.

    Args:
        batch: latents per pass; counts depend on it no more than the generator itself does.
        part: only these of the batches; the counts of all parts sum up to those of ``ALL``.

    Returns:
        int32 [C, H, W] by layer name, on the CPU.
    """
    counts: dict[str, Tensor] = {}

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
) -> Tensor:
    """The LR count of each latent ([C22], 4.1), at psi 1 and constant noise; nothing is rendered.

    Args:
        batches: (z, one-hot c or None) as the generator's own tensors are.

    Returns:
        int32 [n], on the CPU; higher is more artifact-like.
    """

    def quick(view: nn.Module, z: Tensor, c: Tensor | None) -> Tensor:
        generator.unfuse(view)
        return generator.synthesize(z, c, view)

    counts = Rows()
    counts.add(torch.zeros(0, dtype=torch.int32))
    for z, c in batches:
        of_rows = lr_count(generator.G, low_rate, lambda view: quick(view, z, c))
        counts.add(one_each(of_rows, z))
    return counts.whole()


def lr_count(root: nn.Module, low_rate: LowRate, call: Callable[[nn.Module], Any]) -> Tensor:
    """How many low-rate neurons are activated in each sample of one pass: int32 [N], on its device.

    The layers are named relative to ``root``, which ``call`` runs, for example ``lambda G: G(z)``.
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


def import_rates(
    generator: Generator, folder: Path, dataset: str, model: str, samples: int = 30_000
) -> Profile:
    """A profile from the files ``rate_layer{i}_{dataset}_{model}.npy`` of a folder, one per layer.

    The files name no network: only the user knows whether they were measured on this generator.

    Args:
        dataset, model: as in the files' names, for example ``ffhq`` and ``stylegan2``.
        samples: the number of latents that the rates are multiples of; 30,000 for the authors'.

    Raises:
        GanfixError: if there are no such files, or one fits no layer of the generator or holds
            no rates over ``samples`` latents.
    """
    layers, counts = generator.layers, dict[str, Tensor]()
    for layer in layers:
        path = folder / f"rate_layer{layer.index}_{dataset}_{model}.npy"
        if path.exists():
            counts[layer.name] = _counts(path, layer, samples)
    if not counts:
        raise GanfixError(
            f"{folder}: holds no rate_layer{{i}}_{dataset}_{model}.npy of the layers "
            f"{layers[0].index} to {layers[-1].index} of {generator.name}"
        )
    settings = Settings(samples, source=f"imported from {folder}")
    return replace(Profile.of(generator, settings), counts=counts)


def _counts(path: Path, layer: Layer, samples: int) -> Tensor:
    """The activation counts of one file of floats in C·H·W order, int32 [C, H, W]."""
    rates = read_array(path, "rates").numpy()
    if not np.issubdtype(rates.dtype, np.floating):
        raise GanfixError(f"{path}: found {rates.dtype}, expected activation rates (floats)")
    shape = (layer.channels, *layer.resolution)
    if rates.size != np.prod(shape):
        raise GanfixError(f"{path}: found {rates.size} rates, layer {layer} has {np.prod(shape)}")
    if not ((rates >= 0) & (rates <= 1)).all():
        raise GanfixError(f"{path}: found rates outside 0 to 1")
    times = rates.astype(np.float64) * samples
    counts = np.rint(times)
    # A float32 holds k/samples to 6e-8 of its value, so a count is missed by far less than this.
    if np.abs(times - counts).max() > 0.1:
        raise GanfixError(
            f"{path}: the rates are no multiples of 1/{samples}; give the number of samples that "
            "they were measured on"
        )
    return torch.from_numpy(counts.astype(np.int32)).view(shape)
