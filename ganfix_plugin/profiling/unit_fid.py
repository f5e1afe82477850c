"""FID of a unit: how far its top-activating images are from real ones ([B19])."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganfix_plugin.adapters import Adapter, Latents, Layer
from ganfix_plugin.detection.extractors import Extractor
from ganfix_plugin.metrics.frechet import Gaussian
from ganfix_plugin.passes import observe
from ganfix_plugin.profiling.rates import BATCH, latent_batches


def unit_fids(
    G: nn.Module,
    adapter: Adapter,
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
        float64 [C] by layer name. Memory: the features of ``samples`` images, and a number per
        unit and image.
    """
    features, peaks = [], {layer.name: [] for layer in layers}  # type: ignore[var-annotated]
    for z, c in latent_batches(latents, samples, batch, G, "unit FID"):
        images = observe(
            G,
            layers,
            lambda layer, x: peaks[layer.name].append(x.amax(dim=(2, 3)).cpu()),
            lambda view: adapter.synthesize(view, z, c),
            to_end=True,
        )
        features.append(extractor.features(images).cpu())
    every = torch.cat(features)
    return {name: _distances(torch.cat(each), every, top, real) for name, each in peaks.items()}


def _distances(peaks: Tensor, features: Tensor, top: int, real: Gaussian) -> Tensor:
    chosen = peaks.topk(min(top, len(peaks)), dim=0).indices.T
    found = [real.distance_to_samples(features[images]) for images in chosen]
    return torch.tensor(found, dtype=torch.float64)
