"""What a unit draws: its top-activating images and its representative generation.

[T21]: Tousi et al., CVPR 2021; section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, fitting_batch, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import bare, random_state_kept
from ganfix_plugin.workers import progress

TOP = 20  # of 20,000 generations, in [T21]


def top_seeds(generator: Generator, layer: Layer, seeds: Sequence[int], top: int = TOP) -> Tensor:
    """For every unit the seeds that maximise the magnitude of its activation.

    The magnitude is the mean of |h_u| over the pixels. Memory holds ``top`` numbers per unit.

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
    size = fitting_batch([layer], generator.device)
    done = 0

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


def representative(generator: Generator, layer: Layer, seeds: Sequence[int]) -> Tensor:
    """The image generated on from the mean feature map of some seeds, [1, 3, H, W] in [-1, 1].

    The whole feature map of the layer, all units of it, is averaged. Style-based generators go on
    with the style of the first seed, their layers need one.
    """
    total: list[Tensor] = []
    for z, c in seed_batches(generator, seeds, BATCH):
        with random_state_kept(generator.G, seed=0):
            generator.observe([layer], z, c, lambda _, x: total.append(x.sum(dim=0, keepdim=True)))
    mean = torch.stack(total).sum(dim=0) / len(seeds)
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
    n = len(features)
    if n < 2:
        return [list(range(n))] if n else []
    centred = (features - features.mean(dim=0)).double()
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    tree = linkage(unit.numpy(), method="average")
    numbers = torch.from_numpy(fcluster(tree, count, criterion="maxclust"))
    groups = [(numbers == number).nonzero()[:, 0].tolist() for number in numbers.unique()]
    return sorted(groups, key=lambda group: (-len(group), group))
