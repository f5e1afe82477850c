"""Generations as images and as features, and the features of real images beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.images import count_images, read_images
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import ALL, Batch, Part, rendering_batch, seed_batches
from ganfix_plugin.generators.traced import is_image
from ganfix_plugin.hooks.forward import what_is
from ganfix_plugin.hooks.standalone import bare, random_state_kept
from ganfix_plugin.labels import Sample
from ganfix_plugin.partial import Partial, rows
from ganfix_plugin.workers import Tensors, progress

PAIR_BATCH = 16  # latents that are rendered at once where both sides are
Look = Callable[[Tensor], Tensor]
"""From images [n, C, H, W] in [-1, 1] to features [n, D]."""


def render(generator: Generator, z: Tensor, c: Tensor | None, corrected: bool = False) -> Tensor:
    """Images [n, C, H, W] in [-1, 1] of one batch of latents, without gradients.

    At truncation psi 1, with constant noise where a generator has that. A generator that draws
    noise of its own draws it from seed 0 in every batch: an image is the same whenever its batch
    is rendered, uncorrected or corrected, and images of different batches share their noise by
    place. The caller's random state is left as it was.

    Of latents z [n, …] like the generator's parameters and one-hot classes c [n, classes]; with
    what is attached to the generator, or by default past everybody's hooks.
    """
    view = generator.G if corrected else bare(generator.G)
    with torch.no_grad(), random_state_kept(generator.G, seed=0):
        images = generator.synthesize(z, c, view)
    if not is_image(images):
        raise GanfixError(
            f"{generator.name} returns {what_is(images)}, no images; of what is inside another "
            "network only activations can be measured: use seqabl, or steer:from=lr"
        )
    return images


def image_side(generator: Generator) -> int:
    """The width of a generator's images in pixels."""
    z, c = next(seed_batches(generator, [0], 1))
    return render(generator, z, c).shape[-1]


def both_sides(
    generator: Generator, batches: Iterable[Batch], looks: Mapping[str, Look], corrected: bool
) -> Iterator[Tensors]:
    """What networks see in images of the same latents, classes and noise without and with
    corrections.

    Yields of each batch, on the CPU, "uncorrected" [n, D] and, if corrections are attached,
    "corrected" [n, D], each name followed by that of the look, and "changes" [n], their
    `pixel_changes`.
    """
    names = ("uncorrected", "corrected") if corrected else ("uncorrected",)
    for z, c in batches:
        images = {name: render(generator, z, c, name == "corrected") for name in names}
        sides = {
            f"{name}{ending}": look(images[name]).cpu()
            for name in names
            for ending, look in looks.items()
        }
        if corrected:
            sides["changes"] = pixel_changes(*images.values()).cpu()
        yield sides


def pixel_changes(before: Tensor, after: Tensor) -> Tensor:
    """Mean absolute change of each image's pixels, of 255, for images [n, …] in [-1, 1]: float32
    [n], 0 only where not one bit differs."""
    differ = (before != after).flatten(1).any(dim=1)
    change = 127.5 * (after.float() - before.float()).abs().flatten(1).mean(dim=1)
    return torch.where(differ, change.clamp(min=torch.finfo(torch.float32).tiny), 0.0)


def seed_features(
    generator: Generator,
    extractor: Extractor,
    samples: Sequence[Sample],
    corrected: bool = False,
    partial: Partial | None = None,
) -> Tensor:
    """Features [n, D] of the generations of seeds or latents, uncorrected by default; those that
    are in a ``partial`` file are taken up from there."""
    extractor.to(generator.device)
    size = rendering_batch(generator)
    steps = progress(seed_batches(generator, samples, size), -(-len(samples) // size), "rendering")

    def features(batch: Batch) -> Tensor:
        return extractor.features(render(generator, *batch, corrected))

    return rows(steps, features, partial or Partial(None))


def real_features(
    generator: Generator,
    path: Path,
    extractor: Extractor,
    num: int | None = None,
    most: int | None = None,
) -> Tensor:
    """Features [n, D] of all real images, or of ``num`` of them, or of at ``most`` so many; see
    `real_batches`."""
    if most is not None and count_images(path) > most:
        num = most
    return torch.cat(list(real_batches(generator, path, extractor, num)))


def real_batches(
    generator: Generator,
    path: Path,
    extractor: Extractor,
    num: int | None = None,
    seed: int = 0,
    part: Part = ALL,
) -> Iterator[Tensor]:
    """Yield features [n, D] of batches of real images, which must be of the generator's size.

    Of ``num`` images, chosen by the seed, or all; only a part of the batches, or all. The path and
    the errors are those of `read_images`.
    """
    extractor.to(generator.device)
    images = read_images(path, image_side(generator), num=num, seed=seed)
    for batch in islice(images, part[0], None, part[1]):
        yield extractor.features(batch.to(generator.device)).cpu()
