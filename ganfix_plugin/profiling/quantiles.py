"""Quantiles of units over any number of feature maps, in bounded memory, where the maps are."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.workers import Tensors

BINS = 10_240
_MANTISSA = 23  # bits: finer bins than floats are apart would be of no use
_FINEST = -126  # 2 to minus this is the largest power that a float holds


class UnitHistogram:
    """Histograms of every unit of a layer.

    A unit's bins are the multiples of a power of two, the smallest one by which `BINS` of them
    cover what was seen, so that bins merge in pairs when the range grows. What is in them depends
    on the values alone, not on their order or on how they were cut into batches, and histograms
    can be added. A bin is less than 2 / (BINS - 1) of the unit's range: its middle is off by less
    than 1e-4 of that.

    Args:
        units: how many, C.
        most: how many values a unit may get to see.
    """

    def __init__(self, units: int, most: int = 2**31 - 1) -> None:
        kind = torch.int32 if most < 2**31 else torch.int64
        self.counts = torch.zeros(units, BINS, dtype=kind)
        self.low = torch.full((units,), torch.inf)  # the smallest value seen
        self.high = torch.full((units,), -torch.inf)
        self.exponent = torch.full((units,), _FINEST)  # a bin is as wide as 2 to this
        self.first = torch.zeros(units, dtype=torch.int64)  # of which multiple the first bin begins

    def add(self, x: Tensor) -> None:
        """Count the values of a feature map [N, C, H, W].

        Raises:
            GanfixError: on NaN or infinite values.
        """
        x = x.detach().float()
        extremes = torch.stack([x.amin(dim=(0, 2, 3)), x.amax(dim=(0, 2, 3))]).cpu()
        if not torch.isfinite(extremes).all():
            raise GanfixError(
                "activations: found NaN or infinity; check the generator, in single precision if "
                "it runs in half"
            )
        self.counts = self.counts.to(x.device)
        self._cover(*extremes)
        values = x.transpose(0, 1).flatten(1)
        per_bin = torch.exp2(-self.exponent.float()).to(x.device)
        start = (torch.arange(len(self.first)) * BINS - self.first).to(x.device)
        places = (values * per_bin[:, None]).floor_().long().add_(start[:, None]).flatten()
        one = torch.ones((), dtype=self.counts.dtype, device=x.device)
        self.counts.view(-1).scatter_add_(0, places, one.expand(places.shape))

    def merge(self, other: UnitHistogram) -> None:
        """Add what another one has counted, of the same units; the other one may change its bins,
        not what is in them."""
        if other.low.isinf().all():
            return
        self._cover(other.low, other.high)
        other._place(self.exponent, self.first)
        self.counts = self.counts.to(other.counts.device) + other.counts

    def above(self, share: float) -> Tensor:
        """The value that a share of a unit's activations exceed, float64 [C] on the CPU."""
        reached = self.counts.cumsum(dim=1)
        last = reached[:, -1].cpu().double() - 1  # no double precision on every device
        rank = ((1 - share) * last).long().clamp(min=0).to(reached.device)
        bin = (reached <= rank[:, None]).sum(dim=1).cpu()
        width = torch.exp2(self.exponent.double())
        middle = (self.first + bin + 0.5) * width
        return middle.clamp(self.low.double(), self.high.double())

    def tensors(self) -> Tensors:
        """All that it holds, for a file."""
        return {name: tensor.cpu() for name, tensor in vars(self).items()}

    @classmethod
    def of(cls, tensors: Tensors) -> UnitHistogram:
        """The one whose `tensors` these are."""
        histogram = cls(0)
        vars(histogram).update(tensors)
        return histogram

    def _cover(self, low: Tensor, high: Tensor) -> None:
        """Make the bins reach from low to high as well, both float32 [C]."""
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        span = (self.high.double() - self.low.double()) / (BINS - 1)
        size = torch.maximum(self.low.abs(), self.high.abs()).double()
        exponent = torch.maximum(_exponent(span), _exponent(size) - _MANTISSA).clamp(min=_FINEST)
        width = torch.exp2(exponent.double())
        lowest, highest = ((x.double() / width).floor().long() for x in (self.low, self.high))
        first = self.first >> (exponent - self.exponent).clamp(max=63)
        inside = (lowest >= first) & (highest < first + BINS)
        # Room on both sides, for what is yet to come.
        self._place(
            exponent, torch.where(inside, first, lowest - (BINS - 1 - highest + lowest) // 2)
        )

    def _place(self, exponent: Tensor, first: Tensor) -> None:
        """Count in other bins, which are as wide or wider, and cover all that was seen."""
        units = ((exponent != self.exponent) | (first != self.first)).nonzero()[:, 0]
        if len(units):
            bins = self.first[units, None] + torch.arange(BINS)
            wider = (exponent - self.exponent).clamp(max=63)  # no shift goes further
            places = (bins >> wider[units, None]) - first[units, None]
            # Bins that fall outside are empty.
            places = places.clamp(0, BINS - 1).to(self.counts.device)
            units = units.to(self.counts.device)
            before = self.counts[units]
            self.counts[units] = torch.zeros_like(before).scatter_add_(1, places, before)
        self.exponent, self.first = exponent, first


def _exponent(x: Tensor) -> Tensor:
    """Of the next power of two above numbers from 0 on, int64."""
    return torch.where(x > 0, x.frexp().exponent.long(), _FINEST)
