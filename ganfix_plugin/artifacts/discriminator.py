"""What the discriminator that came with a network says of its generations ([T21], D-values).

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import rendering_batch, seed_batches
from ganfix_plugin.generators.replay import tensors
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.labels import Sample
from ganfix_plugin.workers import progress


def discriminator_of(generator: Generator) -> nn.Module:
    """The discriminator that came with a network.

    Raises:
        GanfixError: if there is none.
    """
    if generator.discriminator is None:
        raise GanfixError(
            "discriminator: none was opened; NVIDIA's network pickles have one, and genforce's "
            "checkpoints that were saved with it"
        )
    return generator.discriminator


def d_values(
    generator: Generator,
    samples: Sequence[Sample],
    class_index: int | None = None,
    visit: Callable[[Tensor], None] = lambda images: None,
) -> Tensor:
    """The D-values [n] of [T21]: what the network's own discriminator says of the uncorrected
    generations of seeds or latents; logits, high for what looks real.

    Each image is judged by itself: the minibatch statistics of a discriminator would mix several.
    Of several logits, at several scales or places, the mean counts, as it does in its losses; what
    it draws at random is the same for each image.

    Args:
        visit: is shown the images [n, C, H, W] of each batch.

    Raises:
        GanfixError: if no discriminator came with the network, or it does not take an image and a
            class.
    """
    D = discriminator_of(generator).eval().requires_grad_(False).to(generator.device)
    values = list[float]()
    size = rendering_batch(generator)
    batches = seed_batches(generator, samples, size, class_index)
    for z, c in progress(batches, -(-len(samples) // size), "asking the discriminator"):
        images = render(generator, z, c)
        visit(images)
        classes = images.new_zeros(len(images), 0) if c is None else c
        values += [_judged(D, image[None], c[None]) for image, c in zip(images, classes)]
    return torch.tensor(values)


def cannot_judge(generator: Generator) -> str:
    """Why the discriminator of a network says nothing of its first generation; "" if it does."""
    try:
        d_values(generator, [0])
    except GanfixError as error:
        return str(error)
    return ""


def _judged(D: nn.Module, image: Tensor, c: Tensor) -> float:
    """The D-value of one image [1, C, H, W]."""
    try:
        with torch.no_grad(), random_state_kept(D, seed=0):
            logits = [x.flatten() for _, x in tensors(D(image, c)) if x.is_floating_point()]
    except Exception as error:  # it is somebody else's
        cause = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise GanfixError(
            f"discriminator: {type(D).__name__} does not judge an image {list(image.shape)} and a "
            f"class {list(c.shape)} ({cause}); the LR count can take its place (from=lr)"
        ) from error
    if not logits:
        raise GanfixError(
            f"discriminator: {type(D).__name__} returns no logits of an image; the LR count "
            "can take its place (from=lr)"
        )
    return float(torch.cat(logits).float().mean())
