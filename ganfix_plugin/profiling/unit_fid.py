"""FID of a unit: how far its top-activating images are from real ones.

[B19]: Bau et al., ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, latent_batches
from ganfix_plugin.hooks.layer import Layer


def unit_fids(
    generator: Generator,
    layers: Sequence[Layer],
    latents: Latents,
    samples: int,
    top: int,
    extractor: Extractor,
    real: Gaussian,
    batch: int = BATCH,
) -> dict[str, Tensor]:
    """For each unit the Fréchet distance between real images and its top-activating generations.

    Args:
        samples: generations to choose from; 200,000 in [B19].
        top: how many a unit keeps, by its highest activation; 10,000 in [B19].
        real: the real images' features.

    Returns:
        float64 [C] by layer name. Memory: the features of ``samples`` images, in single and in
        double precision, and a number per unit and image.

    Raises:
        GanfixError: if ``top`` or ``samples`` is less than two, or features are no numbers.
    """
    if top < 2:
        raise GanfixError(f"unit FID: found top {top}, expected at least 2 images of a unit")
    features, peaks = [], {layer.name: [] for layer in layers}  # type: ignore[var-annotated]
    for z, c in latent_batches(generator, latents, samples, batch, "unit FID"):

        def visit(layer: Layer, x: Tensor) -> None:
            peaks[layer.name].append(x.amax(dim=(2, 3)).cpu())

        images = generator.observe(layers, z, c, visit, to_end=True)
        features.append(extractor.features(images).cpu())
    distance = real.resampled(torch.cat(features))
    return {name: _distances(torch.cat(maxima), top, distance) for name, maxima in peaks.items()}


def _distances(peaks: Tensor, top: int, distance: Callable[[Tensor], float]) -> Tensor:
    highest = peaks.topk(min(top, len(peaks)), dim=0).indices
    chosen = torch.zeros(peaks.shape).scatter_(0, highest, 1)
    return torch.tensor([distance(unit) for unit in chosen.T], dtype=torch.float64)
