"""What units draw: one unit with its top-activating images, and units by shared concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.pictures.sheet import Band, Row, pictured, sheet
from ganfix_plugin.profiling.unit_images import clusters, representative

Tops = Mapping[int, Sequence[int]]  # by unit, the seeds that activate it most, the strongest first


def unit_sheet(
    generator: Generator, layer: Layer, tops: Tops, title: str, note: str, scores: Tensor | None
) -> Image.Image:
    """Units, each with its representative generation, top-activating images and, if there are
    ``scores`` [C], its defective score."""
    bands = []
    for unit, seeds in tops.items():
        first = pictured(representative(generator, layer, seeds))
        batches = (pictured(render(generator, z, c)) for z, c in seed_batches(generator, seeds))
        images = [image for batch in batches for image in batch]
        half = -(-len(images) // 2) if len(images) > 10 else len(images)
        name = f"Unit {unit}" + ("" if scores is None else f", DS {float(scores[unit]):.3f}")
        rows = [Row("representative", "of the mean map", first)]
        for start in range(0, len(images), half):
            part = slice(start, start + half)
            captions = [str(seed) for seed in seeds[part]]
            rows.append(Row("top-activating", f"seeds {start + 1} on", images[part], captions))
        bands.append(Band(name, (), rows))
    return sheet(title, note, bands)


def concept_sheet(
    generator: Generator, layer: Layer, tops: Tops, extractor: Extractor, count: int, note: str
) -> tuple[Image.Image, list[list[int]]]:
    """Units grouped by what their representative generations look like, and the groups."""
    units, columns = list(tops), 12
    images = [representative(generator, layer, seeds) for seeds in tops.values()]
    extractor.to(generator.device)
    features = [extractor.features(image).cpu() for image in images]
    groups = clusters(torch.cat(features), count) if features else []
    bands = []
    for number, group in enumerate(groups, 1):
        rows = []
        for start in range(0, len(group), columns):
            places = group[start : start + columns]
            shown = pictured(torch.cat([images[place] for place in places]))
            rows.append(Row("", "", shown, [f"unit {units[place]}" for place in places]))
        noun = "unit" if len(group) == 1 else "units"
        bands.append(Band(f"Concept {number}: {len(group)} {noun}", (), rows))
    members = [[units[place] for place in group] for group in groups]
    return sheet("Units by shared concept", note, bands), members
