"""Edits and feature maps that several tests need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import SecondPassCorrection
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap, Edit, Scale

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "rows and units swapped": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "cut out of a wider map": lambda x: torch.nn.functional.pad(x, (1, 2, 3, 4))[..., 3:-4, 1:-2],
}
SHAPES = [(1, 1, 1, 1), (1, 7, 4, 4), (3, 5, 7, 9), (2, 16, 1, 1), (4, 1, 8, 8), (0, 3, 4, 4)]
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def feature_map(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal values with every special one strewn in."""
    chance = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=chance)
    specials = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-42, -1e-42])
    at = torch.randint(0, 20, shape, generator=chance)
    return torch.where(at < len(specials), specials[at.clamp(max=len(specials) - 1)], x).to(dtype)


def some_neurons(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape[1:], generator=torch.Generator().manual_seed(1)) < 0.5


def each_edit(*shape: int) -> pytest.MarkDecorator:
    """A test of both edits of one feature map; named, so that every process collects the same."""
    both = {"cap": Cap(some_neurons(shape)), "scale": Scale(torch.rand(shape[1]))}
    return pytest.mark.parametrize("edit", both.values(), ids=both)


def bits(x: Tensor) -> Tensor:
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.contiguous().view(whole)


@dataclass(frozen=True)
class Bias:
    """An edit whose order of application shows: x ← factor · x + shift."""

    factor: float
    shift: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * x + self.shift


@dataclass(frozen=True)
class Dim:
    """Scales one layer of those samples whose mean activation there is above their batch's."""

    layer: Layer
    factor: float = 0.5

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (self.layer,)

    def keep(self, layer: Layer, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)

    def decide(
        self, images: Tensor, kept: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[Layer, Edit]]:
        means = kept[self.layer.name]
        return means > means.mean(), {self.layer: Scale(torch.tensor([self.factor]))}


def dimmed(G: nn.Module, index: int = 0, factor: float = 0.5) -> Attachment:
    generator = Generator.of(G)
    passes = Dim(generator.layers[index], factor)
    return Attachment(G, [SecondPassCorrection(f"dim:{index}", generator.entry, passes)])
