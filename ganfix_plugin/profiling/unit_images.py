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
    BATCH,
    Latents,
    latent_batches,
    measuring_batch,
    rendering_batch,
    seed_batches,
)
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import bare, random_state_kept
from ganfix_plugin.rows import RowFile
from ganfix_plugin.workers import progress


def top_seeds(generator: Generator, layer: Layer, seeds: Sequence[int], top: int) -> Tensor:
    """For every unit the seeds that maximise the magnitude of its activation.

    The magnitude is the mean of |h_u| over the pixels; [T21] takes the top 20 of 20,000
    generations.

    Returns:
        int64 [C, top], the strongest first.

    Raises:
        GanfixError: if there are fewer seeds than ``top``.
    """
    if not 1 <= top <= len(seeds):
        raise GanfixError(
            f"top-activating images: found {len(seeds)} seeds, expected {top} or more"
        )
    highest, size = _Highest(layer.channels, top), measuring_batch(generator, [layer])

    def visit(_: Layer, x: Tensor) -> None:
        highest.add(x.abs().mean(dim=(2, 3)))

    batches = seed_batches(generator, seeds, size)
    for z, c in progress(batches, -(-len(seeds) // size), "looking for what activates the units"):
        with random_state_kept(generator.G, seed=0):
            generator.observe([layer], z, c, visit)
    places = highest.places()
    return torch.tensor([seeds[place] for place in places.flatten().tolist()]).view_as(places)


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
        float64 [C] by layer name. Memory: about 20 bytes for each unit and image that it keeps. The
        features of all images are in a file in the cache folder meanwhile, 4 bytes a number.

    Raises:
        GanfixError: if ``top`` or ``samples`` is less than two, features are no numbers, or there
            is no room for them.
    """
    top = min(top, samples)
    if top < 2:
        raise GanfixError(f"unit FID: found top {top}, expected at least 2 images of a unit")
    features, highest = RowFile(), {layer.name: _Highest(layer.channels, top) for layer in layers}

    def visit(layer: Layer, x: Tensor) -> None:
        highest[layer.name].add(x.amax(dim=(2, 3)))

    size, latents = rendering_batch(generator), Latents.of(generator)
    for z, c in latent_batches(generator, latents, samples, size, "unit FID"):
        images = generator.observe(layers, z, c, visit, to_end=True)
        features.add(real.turned(extractor.features(images).cpu()).float())
    fids, once = {}, torch.ones(top, dtype=torch.float64)
    for name, of_layer in highest.items():
        chosen = of_layer.places().sort().values
        units = progress(chosen, len(chosen), f"FID of the units of {name}")
        distances = [real.distance_to_turned(features[places], once) for places in units]
        fids[name] = torch.tensor(distances, dtype=torch.float64)
    return fids


class _Highest:
    """Of values that come a few generations at a time, where the highest of each unit are."""

    def __init__(self, units: int, top: int) -> None:
        # Room for as many again, since to sort out takes longer than to add.
        self._values = torch.empty(units, top + max(top, BATCH))
        self._places = torch.empty(units, 0, dtype=torch.int32)
        self._top, self._used, self._seen = top, 0, 0

    def add(self, values: Tensor) -> None:
        """Those of the next generations, [n, C] on any device."""
        for batch in values.split(BATCH):
            if self._used + len(batch) > self._values.shape[1]:
                self._sort_out()
            self._values[:, self._used : self._used + len(batch)] = batch.T
            self._used, self._seen = self._used + len(batch), self._seen + len(batch)

    def places(self) -> Tensor:
        """How many generations came before each of them, int64 [C, top], the highest first."""
        self._sort_out()
        return self._places.long()

    def _sort_out(self) -> None:
        fresh = self._used - self._places.shape[1]
        places = torch.arange(self._seen - fresh, self._seen, dtype=torch.int32)
        places = torch.cat([self._places, places.expand(len(self._places), -1)], dim=1)
        best, order = self._values[:, : self._used].topk(self._top, dim=1)
        self._values[:, : self._top], self._used = best, self._top
        self._places = places.gather(1, order)


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
