"""`Layer`: which module computes a feature map, and where it is in what the module returns.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn


def plain(x: Any) -> Any:
    """A tensor of a script's own class without what that class adds, which all that is computed of
    it would have and may fail by: latents that draw themselves anew, whose ``to`` wants to know
    how. Whatever else it is stays."""
    return x.as_subclass(Tensor) if _is_own(x) else x


def of_kind(x: Tensor, other: Any) -> Tensor:
    """x [N, …] of the class of another tensor: what `plain` took off."""
    return x.as_subclass(type(other)) if _is_own(other) else x


def _is_own(x: Any) -> bool:
    # Not those that are no memory by themselves, such as fake or distributed tensors.
    kind = type(x)
    if kind is Tensor or not isinstance(x, Tensor) or isinstance(x, nn.Parameter):
        return False
    return kind.__torch_dispatch__ is Tensor.__torch_dispatch__


@dataclass(frozen=True)
class Layer:
    """One convolution with its activation, numbered as in the papers.

    Attributes:
        index: the paper's number.
        name: the module's dotted name in the generator.
        resolution: (height, width) of its feature map.
        channels: the number of units.
        item: where the feature map is in the tuple or dict that the module returns; None where it
            returns the feature map itself. A call may differ: it may return that alone, or more
            after it.
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
        """The feature map [N, C, H, W] in what the module returned, a `plain` one."""
        place = self._place(output)
        return plain(output if place is None else output[place])

    def _place(self, output: Any) -> int | str | None:
        if isinstance(output, Tensor):
            return None
        return 0 if self.item is None and isinstance(output, tuple | list) else self.item

    def write(self, output: Any, feature_map: Tensor) -> Any:
        """What the module should have returned instead."""
        place = self._place(output)
        if place is None:
            return of_kind(feature_map, output)
        feature_map = of_kind(feature_map, output[place])
        if isinstance(output, dict):
            return {**output, place: feature_map}
        items: list[Any] = list(output)
        items[int(place)] = feature_map
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
