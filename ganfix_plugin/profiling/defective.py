"""Defective scores of units: which units draw where the classifier sees artifacts ([T21], 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.files import save_tensors
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, Latents, latent_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.quantiles import UnitHistogram

TAU = 0.005
MASK_SIDE = 256  # masks of larger images are taken at this size
_CHUNK = 32  # upsampled maps at a time


def thresholds(
    generator: Generator,
    layers: Sequence[Layer],
    latents: Latents,
    samples: int,
    tau: float = TAU,
    batch: int = BATCH,
) -> dict[str, Tensor]:
    """T_u of every unit, P(A_u > T_u) = tau over all pixels of all samples.

    Returns:
        float64 [C] by layer name, within 1/4096 of the unit's range; memory does not grow with
        ``samples``.
    """
    histograms = {layer.name: UnitHistogram(layer.channels) for layer in layers}
    for z, c in latent_batches(generator, latents, samples, batch, "unit thresholds"):
        generator.observe(layers, z, c, lambda layer, x: histograms[layer.name].add(x))
    return {name: histogram.above(tau) for name, histogram in histograms.items()}


class OverlapSums:
    """Running sums of IoU by unit; their mean over artifacts is the defective score.

    Args:
        thresholds: T_u by layer name.
        cam: a mask is where the upsampled Grad-CAM reaches this.
        active: a unit's map is where its upsampled thresholded activation reaches this.
    """

    def __init__(self, thresholds: dict[str, Tensor], cam: float = 0.5, active: float = 0.5):
        self.thresholds, self.cam, self.active = thresholds, cam, active
        self.sums = {name: torch.zeros_like(each) for name, each in thresholds.items()}
        self.artifacts = 0

    def add(self, on: dict[str, Tensor], masks: Tensor) -> None:
        """Add artifacts: their units' thresholded maps by layer name, and their masks."""
        self.artifacts += len(masks)
        for name, each in on.items():
            self.sums[name] += unit_overlap(each, masks, self.active).sum(dim=0)

    def save(self, path: Path) -> None:
        """Keep the sums so far, whole or not at all, for a run that goes on from here."""
        meta = {"artifacts": str(self.artifacts)}
        save_tensors(path, {f"sums/{name}": sums for name, sums in self.sums.items()}, meta)

    def resume(self, path: Path) -> None:
        """Take up sums that were saved; where there are none, or not these, start from zero."""
        try:
            with safe_open(path, framework="pt") as file:
                names = {f"sums/{name}" for name in self.sums}
                if set(file.keys()) == names:
                    self.sums = {name: file.get_tensor(f"sums/{name}") for name in self.sums}
                    self.artifacts = int(file.metadata()["artifacts"])
        except (OSError, SafetensorError):
            return

    def scores(self) -> dict[str, Tensor]:
        """Mean IoU over the artifacts, float64 [C] by layer name (Definition 1, unnormalised)."""
        return {name: total / max(self.artifacts, 1) for name, total in self.sums.items()}


def binary_masks(cams: Tensor, threshold: float, side: int) -> Tensor:
    """Grad-CAMs [N, h, w] upsampled to ``side`` (at most `MASK_SIDE`) and binarised, bool."""
    return _upsampled(cams[:, None], min(side, MASK_SIDE))[:, 0] >= threshold


def exceeding(x: Tensor, threshold: Tensor) -> Tensor:
    """Where units exceed their T_u: bool like the feature map [N, C, H, W]."""
    return x > threshold.to(x.device, x.dtype).view(-1, 1, 1)


def unit_overlap(on: Tensor, masks: Tensor, active: float = 0.5) -> Tensor:
    """|A_u ∩ L| / |A_u ∪ L| of units and masks; 0 where both are empty.

    Args:
        on: the units' thresholded maps, bool [N, C, H, W].
        masks: bool [N, S, S].
        active: where a bilinearly upsampled thresholded map counts as on.

    Returns:
        float64 [N, C], on the CPU.
    """
    mask = masks.to(on.device).flatten(1).float()
    found = []
    # A chunk at a time: the upsampled maps are large, and a few of them stay in the cache.
    for units in on.split(max(_CHUNK // max(len(on), 1), 1), dim=1):
        up = (_upsampled(units, masks.shape[-1]) >= active).flatten(2).float()
        both = torch.einsum("ncp,np->nc", up, mask)
        either = up.sum(dim=2) + mask.sum(dim=1, keepdim=True) - both
        found.append((both.double() / either.double().clamp(min=1)).cpu())
    return torch.cat(found, dim=1)


def normalized(scores: Tensor, rule: str) -> Tensor:
    """Defective scores [C] or [N, C] to [0, 1] per layer.

    Args:
        rule: "max" divides by the largest (the paper's), "rank" spreads the ranks evenly, which
            separates units where the raw scores are all small (findings).
    """
    if rule == "max":
        return scores / scores.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    ranks = scores.argsort(dim=-1, stable=True).argsort(dim=-1).to(scores.dtype)
    return ranks / max(scores.shape[-1] - 1, 1)


def score_artifacts(
    generator: Generator,
    layers: Sequence[Layer],
    classifier: Classifier,
    extractor: Extractor,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    sums: OverlapSums,
    partial: Path | None = None,
) -> None:
    """Add artifact generations (z, c) to running sums, in one pass over them.

    Args:
        batches: the artifacts that the sums do not hold yet.
        partial: where to keep the sums every now and then.
    """
    for number, (z, c) in enumerate(batches, 1):
        on: dict[str, Tensor] = {}

        def visit(layer: Layer, x: Tensor) -> None:
            on[layer.name] = exceeding(x, sums.thresholds[layer.name])

        images = generator.observe(layers, z, c, visit, to_end=True)
        cams = classifier.cam(extractor.maps(images))
        sums.add(on, binary_masks(cams, sums.cam, images.shape[-1]))
        if partial and number % 8 == 0:
            sums.save(partial)


def in_order(parts: Sequence[Mapping[str, Tensor]], sums: OverlapSums) -> None:
    """Add the sums of batches that ranks have made, [batches, C] by layer name, of which part i of
    n holds batches i, i + n, …: in the order of the batches, since sums of floats depend on it."""
    for name in sums.sums:
        rows = [part.get(name, torch.zeros(0)) for part in parts]
        for batch in range(sum(map(len, rows))):
            sums.sums[name] += rows[batch % len(parts)][batch // len(parts)]


def _upsampled(x: Tensor, side: int) -> Tensor:
    return interpolate(x.float(), size=(side, side), mode="bilinear", align_corners=False)
