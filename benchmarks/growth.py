"""How the times grow: with resolution, latents, units, images and batch."""

from __future__ import annotations

from typing import Any

import torch
from core import Curve, Results, Setup, Turns, Work, side_by_side
from frechet import by_sqrtm, drawing, moments
from hooks import ablated
from maps import random_maps
from networks import WIDEST, FixedLatents, render, stylegan2
from torch import Tensor

from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.profiling.defective import exceeding, unit_overlap
from ganfix_plugin.profiling.rates import count_active

Points = dict[float, Turns]


def measure(setup: Setup) -> Results:
    """A curve or two each."""
    yield from _resolution(setup)
    yield from _latents(setup)
    yield from _units(setup)
    yield from _images(setup)
    yield from _batch(setup)


def _curves(panel: str, points: Points, names: dict[str, str]) -> Results:
    for key, name in names.items():
        yield Curve(panel, name, {x: turns.median(key) for x, turns in points.items()})


def _profiled(G: Any, z: Tensor) -> Work:
    generator, latents = Generator.of(G), FixedLatents(z)
    layers = generator.auto
    return lambda: count_active(generator, layers, latents, len(z))  # type: ignore[arg-type]


def _resolution(setup: Setup) -> Results:
    """Profiling ends after the 16×16 layer, wherever the image ends; of one width, 32768."""
    points: Points = {}
    z = torch.randn(2, 512)
    for side in (16, 32) if setup.quick else (64, 128, 256, 512, 1024):
        G = stylegan2(side, setup.ada, WIDEST)
        works = {"ours": _profiled(G, z), "whole": lambda: render(G, z)}
        points[side] = side_by_side(works, 2) if side < 512 else side_by_side(works, 1, warm=0)
    names = {"ours": "profiling", "whole": "whole passes"}
    yield from _curves("pixels of the image; 2 latents", points, names)


def _latents(setup: Setup) -> Results:
    G = stylegan2(setup.size(256, 16), setup.ada)
    points: Points = {}
    for n in (2, 4) if setup.quick else (4, 8, 16, 32, 64):
        points[n] = side_by_side({"ours": _profiled(G, torch.randn(n, 512))}, 2)
    yield from _curves("latents profiled, StyleGAN2 256", points, {"ours": "profiling"})


def _units(setup: Setup) -> Results:
    points: Points = {}
    side = setup.size(256, 32)
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[:, : side // 2] = True
    for units in (64, 128) if setup.quick else (64, 128, 256, 512, 1024):
        (x,) = random_maps(1, ((units, 16, 16),))
        level = torch.full((units,), 2.5)

        def score() -> None:
            unit_overlap(exceeding(x, level), mask).sum(dim=0)

        points[units] = side_by_side({"ours": score}, 5)
    yield from _curves("units scored on an artifact (DS), mask 256×256", points, {"ours": "IoU"})


def _images(setup: Setup) -> Results:
    """Of a unit's FID: below the number of features a Gram matrix of the images is enough."""
    width = setup.size(1024, 32)
    draw = drawing(width)
    real, features = Gaussian.of(draw(2 * width)), draw(5 * width)
    distance = real.resampled(features)
    points: Points = {}
    for n in (16, 64) if setup.quick else (128, 256, 512, 1024, 2048, 4096):
        chosen = torch.zeros(len(features))
        chosen[:n] = 1
        works = {
            "ours": lambda: distance(chosen),
            "scipy": lambda: by_sqrtm(real, *moments(features[:n])),
        }
        points[n] = side_by_side(works, 1)
    names = {"ours": "ganfix", "scipy": "scipy's sqrtm"}
    yield from _curves(f"images of a unit, FID of {width} features", points, names)


def _batch(setup: Setup) -> Results:
    sizes = (1, 2) if setup.quick else (1, 2, 4, 8, 16, 32, 64)
    points = {n: ablated(n, setup.size(15, 1)) for n in sizes}
    names = {"ours": "attached correction", "theirs": "torch.where in a hook"}
    yield from _curves("samples in a corrected batch, 3 layers", points, names)  # type: ignore[arg-type]
