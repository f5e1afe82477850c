"""`Layer`: which module computes a feature map, and where it is in what the module returns.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One convolution with its activation, numbered as in the papers.

    Attributes:
        index: the paper's number.
        name: the module's dotted name in the generator.
        resolution: (height, width) of its feature map.
        channels: the number of units.
        item: where the feature map is in the tuple or dict that the module returns; None where it
            returns the feature map itself, as it may in any call.
        of_input: edit what the module is called with (its first argument) instead of its output.
        modulated: the convolution's kernels differ from sample to sample.
        conditioned: the normalisation after it does, which is as if its kernels did.
    """

    index: int
    name: str
    resolution: tuple[int, int]
    channels: int
    item: int | str | None = None
    of_input: bool = False
    modulated: bool = False
    conditioned: bool = False

    @property
    def by_sample(self) -> bool:
        """Whether a unit draws another thing in each sample ([T21], 5.4)."""
        return self.modulated or self.conditioned

    def read(self, output: Any) -> Tensor:
        """The feature map [N, C, H, W] in what the module returned."""
        if self.item is None or isinstance(output, Tensor):
            return output
        return output[self.item]

    def write(self, output: Any, feature_map: Tensor) -> Any:
        """What the module should have returned instead."""
        if self.item is None or isinstance(output, Tensor):
            return feature_map
        if isinstance(output, dict):
            return {**output, self.item: feature_map}
        items: list[Any] = list(output)
        items[int(self.item)] = feature_map
        return tuple(items)

    def within(self, module: str) -> Layer:
        """The same layer, named relative to a module that contains it."""
        return replace(self, name=self.name.removeprefix(f"{module}.")) if module else self

    @property
    def number(self) -> str:
        """Its number in the papers, for people."""
        return "latent" if self.of_input else str(self.index)

    def __str__(self) -> str:
        if self.of_input:
            return self.number
        height, width = self.resolution
        return f"{self.index} ({self.name}, {self.channels}×{height}×{width})"
