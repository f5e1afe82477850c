"""Per-unit quantiles of activations, streaming: T_u of Tousi et al., CVPR 2021, 3.2."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError

BINS = 1 << 13


class UnitHistogram:
    """Histograms of every unit of a layer, over any number of feature maps in bounded memory.

    The range of a unit grows by merging bins in pairs, now on this side and now on that, so that at
    least a quarter of the bins always cover what was seen: a quantile is exact to 1/2048 of the
    unit's range.
    """

    def __init__(self, units: int) -> None:
        self.low = torch.zeros(units, dtype=torch.float64)
        self.width = torch.zeros(units, dtype=torch.float64)  # of one bin; 0: nothing seen yet
        self.counts = torch.zeros(units, BINS, dtype=torch.int64)

    def add(self, x: Tensor) -> None:
        """Count the values of a feature map [N, C, H, W].

        Raises:
            GanfixError: on NaN or infinite values.
        """
        values = x.detach().transpose(0, 1).flatten(1).double().cpu()
        low, high = values.aminmax(dim=1)
        if not torch.isfinite(low + high).all():
            raise GanfixError(
                "activations: found NaN or infinity; check the generator, in single precision if "
                "it runs in half"
            )
        self._cover(low, high)
        place = ((values - self.low[:, None]) / self.width[:, None]).long().clamp(0, BINS - 1)
        rows = torch.arange(len(values))[:, None] * BINS
        self.counts += (
            (place + rows).flatten().bincount(minlength=self.counts.numel()).view_as(self.counts)
        )

    def above(self, share: float) -> Tensor:
        """The value that a share of a unit's activations exceed, float64 [C]; linear in a bin."""
        total = self.counts.sum(dim=1, keepdim=True)
        exceeding = self.counts.flip(1).cumsum(1).flip(1)  # values in this bin or above
        wanted = share * total
        bin = (exceeding >= wanted).sum(dim=1, keepdim=True).clamp(min=1) - 1
        inside = self.counts.gather(1, bin).clamp(min=1)
        rest = exceeding.gather(1, bin) - self.counts.gather(1, bin)
        part = 1 - ((wanted - rest) / inside).clamp(0, 1)
        return self.low + (bin + part).squeeze(1) * self.width

    def _cover(self, low: Tensor, high: Tensor) -> None:
        new = self.width == 0
        span = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
        self.low = torch.where(new, low, self.low)
        self.width = torch.where(new, span / BINS, self.width)
        while True:
            down = low < self.low
            up = ~down & (high > self.low + BINS * self.width)
            # Only the units that need it: one that was off so far takes a hundred rounds.
            units = (down | up).nonzero()[:, 0]
            if not len(units):
                return
            pairs = self.counts[units].view(len(units), -1, 2).sum(dim=2)
            grown = torch.zeros(len(units), 2, BINS // 2, dtype=torch.int64)
            grown[torch.arange(len(units)), down[units].long()] = pairs
            self.counts[units] = grown.flatten(1)
            self.low = torch.where(down, self.low - BINS * self.width, self.low)
            self.width = torch.where(down | up, 2 * self.width, self.width)
