"""Latents and classes: from a seed, a stream or a list to batches that a generator takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import Sample
from ganfix_plugin.workers import progress

BATCH = 32
_CACHE = 4 << 20  # bytes
_PIXELS = 32 * 256**2  # of images that are rendered at once

Batch = tuple[Tensor, Tensor | None]
"""Latents [n, …] and their one-hot classes [n, classes]; None for unconditional generators."""

Part = tuple[int, int]
"""(i, n): batches i, i + n, i + 2n, …"""

ALL: Part = (0, 1)


@dataclass(frozen=True)
class Latents:
    """Inputs of a generator, drawn once by seed and sliced to any batch size.

    The stream is numpy's, because a slice of it does not depend on how the rest was cut.

    Attributes:
        shape: of one latent z.
        classes: number of classes to draw from; 0 if unconditional.
        class_index: the one class to take instead.
    """

    shape: tuple[int, ...]
    seed: int
    classes: int = 0
    class_index: int | None = None

    @classmethod
    def of(cls, generator: Generator, seed: int = 0, class_index: int | None = None) -> Latents:
        """A stream of what a generator takes."""
        return cls(generator.latent_shape, seed, generator.classes, class_index)

    def batches(
        self, samples: int, size: int, device: torch.device, first: int = 0
    ) -> Iterator[Batch]:
        """Yield (z [n, …] float32, one-hot c [n, classes] or None) for ``samples`` latents, from
        the ``first`` on."""
        latents = np.random.RandomState(self.seed)
        classes = np.random.RandomState([self.seed, 1])
        for start in range(0, first, size):
            latents.randn(min(size, first - start), *self.shape)
        if self.classes:
            classes.randint(self.classes, size=first)
        for start in range(0, samples, size):
            n = min(size, samples - start)
            z = torch.from_numpy(latents.randn(n, *self.shape)).float().to(device)
            if not self.classes:
                yield z, None
                continue
            drawn = classes.randint(self.classes, size=n)
            if self.class_index is not None:
                drawn[:] = self.class_index
            yield z, one_hot(torch.from_numpy(drawn), self.classes).float().to(device)


@dataclass(frozen=True)
class LatentList:
    """Latents that somebody hands in: a `Batch` of any length, in the generator's own shape."""

    z: Tensor
    c: Tensor | None

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: slice | Tensor) -> LatentList:
        """Some of them."""
        return LatentList(self.z[rows], None if self.c is None else self.c[rows])

    def batches(self, generator: Generator, size: int, part: Part = ALL) -> Iterator[Batch]:
        """Yield (z, c) as the generator's own tensors are, of all batches or of a part of them."""
        for start in range(part[0] * size, len(self), part[1] * size):
            batch = self[start : start + size]
            yield like_parameters(generator, batch.z, batch.c)


@dataclass(frozen=True)
class SeedList:
    """Seeds in the place of a `LatentList`, whose latents are drawn batch by batch, so that memory
    does not grow with them."""

    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice | Tensor) -> SeedList:
        """Some of them; those of a mask [n], as well."""
        if isinstance(rows, slice):
            return SeedList(self.samples[rows])
        return SeedList([self.samples[place] for place in rows.nonzero()[:, 0].tolist()])

    def batches(self, generator: Generator, size: int, part: Part = ALL) -> Iterator[Batch]:
        """As `LatentList.batches`."""
        return seed_batches(generator, self.samples, size, part=part)


Listed = LatentList | SeedList
"""What a user hands in, in either form."""


def latent_batches(
    generator: Generator, latents: Latents, samples: int, batch: int, what: str, part: Part = ALL
) -> Iterable[Batch]:
    """(z, c) batches of a stream as the generator's own tensors are, with a progress bar."""
    index, parts = part
    batches = islice(latents.batches(samples, batch, generator.device), index, None, parts)
    total = len(range(index, -(-samples // batch), parts))
    alike = (like_parameters(generator, z, c) for z, c in batches)
    return progress(alike, total, f"measuring {what}")


def seed_batches(
    generator: Generator,
    samples: Sequence[Sample],
    batch: int = BATCH,
    class_index: int | None = None,
    part: Part = ALL,
) -> Iterator[Batch]:
    """Yield (z, one-hot c or None) of seeds and given latents as the generator's own tensors are.

    ``class_index`` is the class of all images; None deals the classes of a conditional generator
    round by seed. All batches, or a part of them.
    """
    for start in range(part[0] * batch, len(samples), part[1] * batch):
        rows = samples[start : start + batch]
        z = latents_of(rows, generator.latent_shape)
        yield like_parameters(generator, z, classes_of(generator, rows, class_index))


def latents_of(samples: Sequence[Sample], shape: Sequence[int]) -> Tensor:
    """Latents [N, …] float32: those that the hosts' scripts draw for a seed, others as they are.

    Raises:
        GanfixError: if a latent has another width.
    """
    width, source = math.prod(shape), np.random.RandomState(0)
    drawn = []
    for sample in samples:
        if isinstance(sample, int):
            source.seed(sample)  # what RandomState(sample) draws, forty times faster
            drawn.append(source.randn(width))
            continue
        if len(sample) != width:
            raise GanfixError(f"labels: found a latent of {len(sample)} values, expected {width}")
        drawn.append(np.array(sample))
    return torch.from_numpy(np.array(drawn).reshape(len(drawn), *shape)).float()


def classes_of(
    generator: Generator, samples: Sequence[Sample], class_index: int | None = None
) -> Tensor | None:
    """One-hot classes [n, classes] of a conditional generator; see `seed_batches`.

    Raises:
        GanfixError: on a latent without a class.
    """
    classes = generator.classes
    if not classes:
        return None
    if class_index is not None:
        dealt = [class_index] * len(samples)
    else:
        dealt = [sample % classes for sample in samples if isinstance(sample, int)]
    if len(dealt) < len(samples):
        raise GanfixError(
            "labels: found latents, expected seeds, since this generator is conditional and a "
            "latent does not say its class"
        )
    return one_hot(torch.tensor(dealt), classes).float()


def check_class(generator: Generator, class_index: int | None, needed: bool = True) -> None:
    """Make sure that a class is there, and that a seed stands for one image, as in the hosts.

    Raises:
        GanfixError: on a missing class, if one is ``needed`` where there are any, or a wrong one.
    """
    name, classes = generator.name, generator.classes
    if needed and classes and class_index is None:
        raise GanfixError(f"{name} has {classes} classes; choose one by --class")
    if class_index is not None and not 0 <= class_index < classes:
        raise GanfixError(f"class={class_index}: {name} has {classes or 'no'} classes")


def like_parameters(generator: Generator, z: Tensor, c: Tensor | None) -> Batch:
    """Latents and classes like a generator's parameters, which may be in half precision."""
    like = next(generator.G.parameters(), z)
    return z.to(like), None if c is None else c.to(like)


def measuring_batch(generator: Generator, layers: Sequence[Layer]) -> int:
    """How many latents to run at once to layers of these sizes: 32 up to 256 pixels, 2 of 1024,
    since the feature maps of a batch would not fit into memory; fewer of an ``exact`` generator."""
    largest = max((max(layer.resolution) for layer in layers), default=1)
    fitting = BATCH if generator.unfuses else fused_batch(layers, generator.device)
    return max(min(_PIXELS // largest**2, fitting) // generator.each, 1)


def rendering_batch(generator: Generator) -> int:
    """How many latents to render at once; see `measuring_batch`, for kernels are fused here."""
    return measuring_batch(generator.measured_exactly(), generator.layers)


def fused_batch(layers: Sequence[Layer], device: torch.device) -> int:
    """How many latents to run at once, where kernels are fused with styles.

    A modulated convolution has kernels of its own for each latent then. On a CPU, moving those of a
    whole batch through memory takes longer than the convolution: the early layers of StyleGAN2,
    512 units each, run 2 to 3 times faster on 2 latents at a time than on 32.
    """
    kernels = [36 * layer.channels**2 for layer in layers if layer.modulated]
    if device.type != "cpu" or not kernels:
        return BATCH
    return min(max(_CACHE // max(kernels), 2), BATCH)
