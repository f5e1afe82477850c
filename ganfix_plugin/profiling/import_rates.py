"""Import of the activation rates that the authors of [C22] publish beside their code.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import Profile, Settings

SAMPLES = 30_000


def import_rates(
    generator: Generator, folder: Path, dataset: str, model: str, samples: int = SAMPLES
) -> Profile:
    """A profile from the files ``rate_layer{i}_{dataset}_{model}.npy`` of a folder.

    The files name no network: whether they were measured on this generator, only the user
    knows.

    Args:
        generator: its adapter numbers the layers.
        folder: holds one file per measured layer, floats in C·H·W order.
        dataset: as in the files' names, for example ``ffhq``.
        model: as in the files' names, for example ``stylegan2``.
        samples: the number of latents that the rates are multiples of; 30,000 for the authors'.

    Raises:
        GanfixError: if there are no such files, or one fits no layer of the generator or holds
            no rates over ``samples`` latents.
    """
    layers = generator.layers
    counts: dict[str, Tensor] = {}
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
    return Profile.of(generator, settings, counts)


def _counts(path: Path, layer: Layer, samples: int) -> Tensor:
    """The activation counts of one file, int32 [C, H, W]."""
    try:
        with path.open("rb") as file:
            rates = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise GanfixError(f"{path}: no array of numbers (.npy): {error}") from error
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
