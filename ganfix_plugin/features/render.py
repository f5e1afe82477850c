"""Generate the same latents without and with a generator's corrections, and look at both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ganfix_plugin.generators.latents import LatentList
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import bare, device_of, random_state_kept
from ganfix_plugin.workers import Tensors

BATCH = 16
Look = Callable[[Tensor], Tensor]


def both_sides(
    G: nn.Module,
    adapter: Adapter,
    latents: LatentList,
    look: Look,
    *,
    corrected: bool,
    part: int = 0,
    parts: int = 1,
    batch: int = BATCH,
) -> Iterator[Tensors]:
    """What ``look`` makes of images of the same latents, classes and noise, batch by batch.

    Images are made at truncation psi 1, with constant noise where a generator has that, and
    otherwise from the same random state.

    Args:
        G: the generator with its corrections attached.
        look: from images [n, C, H, W] in [-1, 1] to features [n, D].
        corrected: whether there are corrections, and so a second side.
        part: only batches part, part + parts, …; all by default.

    Yields:
        "uncorrected" [n, D] and, if there is that side, "corrected" [n, D], on the CPU.
    """
    where = device_of(G)
    models = {"uncorrected": bare(G), **({"corrected": G} if corrected else {})}
    for start in range(part * batch, len(latents), parts * batch):
        z, c = latents.part(slice(start, start + batch), where)
        sides = {}
        for side, model in models.items():
            with torch.no_grad(), random_state_kept(G, seed=start):
                sides[side] = look(adapter.synthesize(model, z, c)).cpu()
        yield sides
