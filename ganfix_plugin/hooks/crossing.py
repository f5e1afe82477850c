"""Crossing a linear boundary of artifacts in the latent space, in one step.

InterFaceGAN (Shen, Gu, Tang, Zhou, CVPR 2020). As `standalone`, a corrected network pickle carries
this source where it needs it: it imports nothing but torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor

_WAVES = 16  # ups and downs of the wave over a standard deviation of the projection


@dataclass(frozen=True, eq=False)
class Cross:
    """Move latents x [N, …] along a normal, down to a quantile of the generator's own scores.

    The score of a latent is weight · v + bias, where v [d] is its z, or the mean of its ws. z stays
    on its sphere; all ws of a sample get one and the same shift. A row goes where it goes whatever
    its batch; rows that are not flagged, or lie below their quantile, stay bit for bit.

    Args:
        weight: [d], towards artifacts; ``bias`` its scores' own.
        quantiles: [Q], of the scores of the population.
        share: down to this quantile; None spreads samples over those below the gate.
        below: the share of the population that the gate leaves alone.
        signs: [d], of the `wave` that spreads.
        scale: the mean distance of ws from their mean; 0 where x is z.
    """

    weight: Tensor
    bias: float
    quantiles: Tensor
    share: Optional[float]  # noqa: UP045  (what a pickle carries must do for older Pythons)
    below: float
    signs: Tensor
    scale: float

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __call__(self, x: Tensor) -> Tensor:
        v, styled = x.detach().float(), self.scale > 0
        v = v.flatten(1, -2).mean(dim=1) if styled and x.dim() > 2 else v.flatten(1)
        length = self.weight.norm().to(v)
        normal = self.weight.to(v) / length
        score = v @ self.weight.to(v) + self.bias
        if self.share is None:
            shares = self.below * wave(v, self.signs.to(v), self.scale)
        else:
            shares = torch.full_like(score, self.share)
        excess = (score - quantile(self.quantiles, shares)).clamp(min=0) / length
        if styled:
            shift = excess[:, None] * normal
            moved = x - shift.view(len(x), *(1 for _ in x.shape[1:-1]), x.shape[-1])
        else:
            along, radius = v @ normal, v.norm(dim=1)
            beside = v - along[:, None] * normal
            goal = (along - excess).clamp(min=-radius)
            # The circle of the sphere on which the component along the normal is the goal.
            around = (radius.square() - goal.square()).clamp(min=0).sqrt()
            beside = beside * (around / beside.norm(dim=1).clamp(min=1e-12))[:, None]
            moved = (goal[:, None] * normal + beside).view_as(x)
        flagged = (excess > 0).view(-1, *(1 for _ in x.shape[1:]))
        return torch.where(flagged, moved.to(x.dtype), x)

    def mix(self, x: Tensor, y: Tensor, amount: Any) -> Tensor:
        """As `between`."""
        return between(x, y, amount, self.scale > 0)


def between(x: Tensor, y: Tensor, amount: Any, styled: bool) -> Tensor:
    """On the way from latents x [N, …] to y, an amount from 0 to 1 of it; z stays on its sphere."""
    mixed = torch.lerp(x, y, amount)
    if styled:
        return mixed
    norms = [v.float().flatten(1).norm(dim=1) for v in (x, mixed)]
    factor = norms[0] / norms[1].clamp(min=1e-12)
    return mixed * factor.to(x.dtype).view(-1, *(1 for _ in x.shape[1:]))


def quantile(quantiles: Tensor, shares: Tensor) -> Tensor:
    """The values [N] below which shares [N] from 0 to 1 of a population lie, by its quantiles."""
    places = shares.float().clamp(0, 1) * (len(quantiles) - 1)
    low = places.long().clamp(max=len(quantiles) - 2)
    quantiles = quantiles.to(shares.device)
    return quantiles[low].lerp(quantiles[low + 1], places - low)


def wave(vectors: Tensor, signs: Tensor, scale: float) -> Tensor:
    """A number from 0 to 1 for each row of latents' vectors [n, d], spread evenly over rows.

    A triangle wave of a projection. A hash of the bits would do for z, but a w differs in its last
    bits from one size of batch to another, and so would its hash, and all that depends on it.

    Args:
        signs: [d], 1 or -1, of the projection.
        scale: the mean distance of ws from their mean; 0 takes each row's own length instead.
    """
    lengths = scale or vectors.norm(dim=1).clamp(min=1e-12)
    return ((_WAVES * (vectors @ signs) / lengths).remainder(2) - 1).abs()
