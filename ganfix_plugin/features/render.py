"""Generate the same latents without and with a generator's corrections, and look at both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ganfix_plugin.artifacts.latent_files import LatentList
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import bare, device_of, random_state_kept
from ganfix_plugin.workers import Ranks

BATCH = 16
Look = Callable[[Tensor], Tensor]


def both_sides(
    G: nn.Module,
    adapter: Adapter,
    latents: LatentList,
    look: Look,
    *,
    corrected: bool,
    share: Ranks | None = None,
    batch: int = BATCH,
) -> Iterator[tuple[Tensor, ...]]:
    """What ``look`` makes of images of the same latents, classes and noise, batch by batch.

    Images are made at truncation psi 1, with constant noise where a generator has that, and
    otherwise from the same random state.

    Args:
        G: the generator with its corrections attached.
        look: from images [n, C, H, W] in [-1, 1] to features [n, D].
        corrected: whether there are corrections, and so a second side.
        share: only this rank's batches; all by default.

    Yields:
        (uncorrected [n, D],) or (uncorrected [n, D], corrected [n, D]), on the CPU.
    """
    where, share = device_of(G), share or Ranks()
    models = [bare(G), G] if corrected else [bare(G)]
    for start in range(share.rank * batch, len(latents), share.size * batch):
        z, c = latents.part(slice(start, start + batch), where)
        sides = []
        for model in models:
            with torch.no_grad(), random_state_kept(G, seed=start):
                sides.append(look(adapter.synthesize(model, z, c)).cpu())
        yield tuple(sides)


def joined(batches: list[tuple[Tensor, ...]]) -> list[Tensor]:
    """The features [N, D] of each side."""
    return [torch.cat(side) for side in zip(*batches)]
