"""`Drop`, an edit that zeroes a share of the neurons that each sample activates, by chance.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganfix_plugin.hooks.standalone import Shared, constant

STRONGEST = 8


@dataclass(frozen=True, eq=False)
class Drop(Shared):
    """Zero a share of a sample's activated neurons, x > 0 ([C22], Table 1, "random").

    An edit draws no random numbers: all samples share one shuffled order, and each shifts it by the
    sum of the places of its strongest neurons, which noise in the last digits hardly ever moves.

    Args:
        order: int64 [C·H·W], the numbers from 0 shuffled; neurons go by theirs, the lowest first.
        portion: the share of each sample's activated neurons.
    """

    order: Tensor
    portion: float

    def __call__(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        order, size = constant(self, x, _order), values.shape[1]
        shift = values.topk(min(STRONGEST, size), dim=1).indices.sum(dim=1, keepdim=True)
        places = order[(torch.arange(size, device=x.device) + shift) % size]
        activated = values > 0
        number = (self.portion * activated.sum(dim=1, keepdim=True)).round().long()
        # Neurons that are not activated come after all others.
        ordered = places.masked_fill(~activated, size).sort(dim=1).values
        first_kept = ordered.gather(1, number.clamp(max=size - 1))
        dropped = activated & ((places < first_kept) | (number == size))
        return x.masked_fill(dropped.view(x.shape), 0)


def _order(edit: Drop, x: Tensor) -> Tensor:
    return edit.order.to(x.device, copy=True)
