"""What a unit draws: its top-activating images, their FID, and its representative generation.

[B19]: Bau et al., ICLR 2019. [T21]: Tousi et al., CVPR 2021; section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    Latents,
    latent_batches,
    measuring_batch,
    rendering_batch,
    seed_batches,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import bare, random_state_kept
from ganfix_plugin.workers import progress


def top_seeds(generator: Generator, layer: Layer, seeds: Sequence[int], top: int) -> Tensor:
    """For every unit the seeds that maximise the magnitude of its activation.

    The magnitude is the mean of |h_u| over the pixels; [T21] takes the top 20 of 20,000
    generations. Memory holds ``top`` numbers per unit.

    Returns:
        int64 [C, top], the strongest first.

    Raises:
        GanfixError: if there are fewer seeds than ``top``.
    """
    if not 1 <= top <= len(seeds):
        raise GanfixError(
            f"top-activating images: found {len(seeds)} seeds, expected {top} or more"
        )
    best = torch.full((layer.channels, top), -torch.inf)
    which = torch.zeros(layer.channels, top, dtype=torch.long)
    size, done = measuring_batch(generator, [layer]), 0

    def visit(_: Layer, x: Tensor) -> None:
        nonlocal best, which
        magnitudes = x.abs().mean(dim=(2, 3)).T.cpu()
        here = torch.tensor(seeds[done : done + len(x)]).expand(layer.channels, -1)
        best, places = torch.cat([best, magnitudes], dim=1).topk(top, dim=1)
        which = torch.cat([which, here], dim=1).gather(1, places)

    batches = seed_batches(generator, seeds, size)
    for z, c in progress(batches, -(-len(seeds) // size), "looking for what activates the units"):
        with random_state_kept(generator.G, seed=0):
            generator.observe([layer], z, c, visit)
        done += len(z)
    return which


def unit_fids(
    generator: Generator,
    layers: Sequence[Layer],
    samples: int,
    top: int,
    extractor: Extractor,
    real: Gaussian,
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
    features, peaks = [], {layer.name: list[Tensor]() for layer in layers}

    def visit(layer: Layer, x: Tensor) -> None:
        peaks[layer.name].append(x.amax(dim=(2, 3)).cpu())

    size, latents = rendering_batch(generator), Latents.of(generator)
    for z, c in latent_batches(generator, latents, samples, size, "unit FID"):
        images = generator.observe(layers, z, c, visit, to_end=True)
        features.append(extractor.features(images).cpu())
    distance = real.resampled(torch.cat(features))
    fids = {}
    for name, maxima in peaks.items():
        activations = torch.cat(maxima)
        highest = activations.topk(min(top, len(activations)), dim=0).indices
        chosen = torch.zeros(activations.shape).scatter_(0, highest, 1).T
        units = progress(chosen, len(chosen), f"FID of the units of {name}")
        fids[name] = torch.tensor([distance(unit) for unit in units], dtype=torch.float64)
    return fids


def representative(generator: Generator, layer: Layer, seeds: Sequence[int]) -> Tensor:
    """The image generated on from the mean feature map of some seeds, [1, 3, H, W] in [-1, 1].

    The whole feature map of the layer, all units of it, is averaged. Style-based generators go on
    with the style of the first seed, their layers need one.
    """
    sums: list[Tensor] = []
    for z, c in seed_batches(generator, seeds):
        with random_state_kept(generator.G, seed=0):
            generator.observe([layer], z, c, lambda _, x: sums.append(x.sum(dim=0, keepdim=True)))
    mean = torch.stack(sums).sum(dim=0) / len(seeds)
    view = bare(generator.G)
    view.get_submodule(layer.name).register_forward_hook(
        lambda module, args, output: layer.write(output, mean.to(layer.read(output)))
    )
    z, c = next(seed_batches(generator, seeds[:1]))
    return render(replace(generator, G=view), z, c, corrected=True)


def clusters(features: Tensor, count: int) -> list[list[int]]:
    """Group rows of features [n, D] into at most ``count`` clusters, the largest first.

    Average linkage of cosine distances of the centred features; a single row is a cluster.
    """
    # It takes longer to import than a command to start.
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(features) < 2:
        return [[0]] * len(features)
    centred = (features - features.mean(dim=0)).double()
    tree = linkage(normalize(centred, eps=1e-12).numpy(), method="average")
    numbers = torch.from_numpy(fcluster(tree, count, criterion="maxclust"))
    groups = [(numbers == number).nonzero()[:, 0].tolist() for number in numbers.unique()]
    return sorted(groups, key=lambda group: (-len(group), group))
