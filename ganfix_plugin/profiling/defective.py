"""Defective scores of units: which units draw where the classifier sees artifacts.

[T21]: Tousi et al., CVPR 2021; section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import Sample
from ganfix_plugin.partial import Partial, rows
from ganfix_plugin.workers import Tensors, in_turn

MASK_SIDE = 256  # masks of larger images are taken at this size
_CHUNK = 32  # upsampled maps at a time


def binary_masks(cams: Tensor, threshold: float, side: int) -> Tensor:
    """Grad-CAMs [N, h, w] upsampled to ``side`` (at most `MASK_SIDE`) and binarised, bool."""
    return upsampled_cams(cams, side) >= threshold


def upsampled_cams(cams: Tensor, side: int) -> Tensor:
    """Grad-CAMs [N, h, w] at ``side``, at most `MASK_SIDE`: float32 [N, S, S]."""
    return _upsampled(cams[:, None], min(side, MASK_SIDE))[:, 0]


def exceeding(x: Tensor, threshold: Tensor) -> Tensor:
    """Where units exceed their T_u: bool like the feature map [N, C, H, W]."""
    return x > threshold.to(x.device, x.dtype).view(-1, 1, 1)


def unit_overlap(on: Tensor, masks: Tensor, active: float = 0.5) -> Tensor:
    """|A_u ∩ L| / |A_u ∪ L| of units and masks, float64 [N, C] on the CPU; 0 where both are empty.

    Args:
        on: the units' thresholded maps, bool [N, C, H, W].
        masks: bool [N, S, S].
        active: where a bilinearly upsampled thresholded map counts as on.
    """
    mask = masks.to(on.device).flatten(1).float()
    overlaps = []
    # A chunk at a time: the upsampled maps are large, and a few of them stay in the cache.
    for units in on.split(max(_CHUNK // max(len(on), 1), 1), dim=1):
        up = (_upsampled(units, masks.shape[-1]) >= active).flatten(2).float()
        both = torch.einsum("ncp,np->nc", up, mask)
        either = up.sum(dim=2) + mask.sum(dim=1, keepdim=True) - both
        overlaps.append((both.double() / either.double().clamp(min=1)).cpu())
    return torch.cat(overlaps, dim=1)


def normalized(scores: Tensor, rule: str) -> Tensor:
    """Defective scores [C] or [N, C] to [0, 1] per layer.

    Args:
        rule: "max" divides by the largest (the paper's), "rank" spreads the ranks evenly, which
            separates units where the raw scores are all small.
    """
    if rule == "max":
        return scores / scores.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    ranks = scores.argsort(dim=-1, stable=True).argsort(dim=-1).to(scores.dtype)
    return ranks / max(scores.shape[-1] - 1, 1)


@dataclass(frozen=True)
class Overlap:
    """What artifacts are scored by.

    Attributes:
        thresholds: T_u by layer name.
        cam: a mask is where the classifier's upsampled Grad-CAM reaches this.
        active: a unit's map is where its upsampled thresholded activation reaches this.
    """

    thresholds: Tensors
    classifier: Classifier
    extractor: Extractor
    cam: float = 0.5
    active: float = 0.5

    def sums(self, generator: Generator, layers: Sequence[Layer], batch: Batch) -> Tensors:
        """The IoU of every unit and mask, summed over a batch: float64 [C] by layer name."""
        on: Tensors = {}

        def visit(layer: Layer, x: Tensor) -> None:
            on[layer.name] = exceeding(x, self.thresholds[layer.name])

        images = generator.observe(layers, *batch, visit, to_end=True)
        cams = self.classifier.cam(self.extractor.maps(images))
        masks = binary_masks(cams, self.cam, images.shape[-1])
        return {name: unit_overlap(x, masks, self.active).sum(dim=0) for name, x in on.items()}


def artifact_sums(
    generator: Generator,
    layers: Sequence[Layer],
    overlap: Overlap,
    batches: Sequence[Sequence[Sample]],
    file: Path,
) -> Tensors:
    """`Overlap.sums` of batches of artifacts: [batches, C] by layer name.

    They are kept in a file every now and then, and taken up again.
    """
    if not batches:
        return {}

    def sums(samples: Sequence[Sample]) -> Tensor:
        (batch,) = seed_batches(generator, samples, len(samples))
        by_layer = overlap.sums(generator, layers, batch)
        return torch.cat([by_layer[layer.name] for layer in layers])[None]

    partial = Partial(file)
    done = rows(batches, sums, partial).split([layer.channels for layer in layers], dim=1)
    partial.remove()
    return {layer.name: of_layer.contiguous() for layer, of_layer in zip(layers, done)}


def mean_overlaps(parts: Sequence[Tensors], layers: Sequence[Layer], artifacts: int) -> Tensors:
    """Mean IoU over the artifacts, float64 [C] by layer name (Definition 1, unnormalised).

    Args:
        parts: sums of batches [batches, C] by layer name; part i of n holds batches i, i + n, ….
            They are added in the order of the batches, since sums of floats depend on it.
    """
    scores: Tensors = {}
    for layer in layers:
        sums = in_turn([part[layer.name] for part in parts if part], 1)
        total = sum(sums, start=torch.zeros(layer.channels, dtype=torch.float64))
        scores[layer.name] = total / artifacts
    return scores


def _upsampled(x: Tensor, side: int) -> Tensor:
    return interpolate(x.float(), size=(side, side), mode="bilinear", align_corners=False)
