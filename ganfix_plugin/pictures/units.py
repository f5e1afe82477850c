"""What units draw: one unit with its top-activating images, and units by shared concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import bare, device_of, random_state_kept
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.pictures.sheet import Band, Row, pictured, sheet
from ganfix_plugin.profiling.unit_images import clusters, representative


def unit_sheet(
    G: nn.Module,
    adapter: Adapter,
    layer: Layer,
    tops: Mapping[int, Sequence[int]],
    title: str,
    note: str,
    scores: Tensor | None = None,
) -> Image.Image:
    """Units, each with its representative generation and its top-activating images.

    Args:
        tops: by unit, the seeds that activate it most, the strongest first.
        scores: defective scores [C], for the captions.
    """
    bands = []
    for unit, seeds in tops.items():
        first = pictured(representative(Generator(G, adapter), layer, seeds))
        images: list[Image.Image] = []
        view = bare(G)
        for z, c in seed_batches(Generator(G, adapter), seeds):
            with torch.no_grad(), random_state_kept(G, seed=0):
                images += pictured(adapter.synthesize(view, z, c))
        half = -(-len(images) // 2) if len(images) > 10 else len(images)
        name = f"Unit {unit}" + ("" if scores is None else f", DS {float(scores[unit]):.3f}")
        captions = [str(seed) for seed in seeds]
        rows = [Row("representative", "of the mean map", first)]
        rows += [
            Row("top-activating", f"seeds {place + 1} on", images[some], captions[some])
            for place in range(0, len(images), half)
            for some in [slice(place, place + half)]
        ]
        bands.append(Band(name, (), rows))
    return sheet(title, note, bands)


def concept_sheet(
    G: nn.Module,
    adapter: Adapter,
    layer: Layer,
    tops: Mapping[int, Sequence[int]],
    extractor: Extractor,
    count: int,
    title: str,
    note: str,
    columns: int = 12,
) -> tuple[Image.Image, list[list[int]]]:
    """Units grouped by what their representative generations look like, and the groups."""
    units = list(tops)
    found = [representative(Generator(G, adapter), layer, seeds) for seeds in tops.values()]
    features = [extractor.to(device_of(G)).features(image).cpu() for image in found]
    groups = clusters(torch.cat(features), count) if features else []
    bands = []
    for number, group in enumerate(groups, 1):
        images = pictured(torch.cat([found[place] for place in group]))
        names = [f"unit {units[place]}" for place in group]
        rows = [
            Row("", "", images[start : start + columns], names[start : start + columns])
            for start in range(0, len(group), columns)
        ]
        noun = "unit" if len(group) == 1 else "units"
        bands.append(Band(f"Concept {number}: {len(group)} {noun}", (), rows))
    return sheet(title, note, bands), [[units[place] for place in group] for group in groups]
