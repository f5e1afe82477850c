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

    Args:
        visit: is shown the images [n, C, H, W] of each batch.

    Raises:
        GanfixError: if no discriminator came with the network.
    """
    D = discriminator_of(generator).eval().requires_grad_(False).to(generator.device)
    values = [torch.zeros(0)]
    size = rendering_batch(generator)
    batches = seed_batches(generator, samples, size, class_index)
    for z, c in progress(batches, -(-len(samples) // size), "asking the discriminator"):
        images = render(generator, z, c)
        visit(images)
        classes = images.new_zeros(len(images), 0) if c is None else c
        with torch.no_grad():
            alone = [D(images[n : n + 1], classes[n : n + 1]) for n in range(len(images))]
        values.append(torch.cat(alone).flatten().cpu())
    return torch.cat(values)
