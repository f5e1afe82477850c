"""What an `Adapter` knows of a family of generators, and which of its layers are chosen.

One file per family. An adapter recognises a generator by its structure and class name, never by
module path or `isinstance`: the classes of a network pickle live in generated modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import first_argument, with_first
from ganfix_plugin.spec import LayerChoice


class Adapter(Protocol):
    """What ganfix must know about a family of generators."""

    name: str
    title: str

    def matches(self, G: Any) -> bool:
        """Whether G belongs to this family, by structure and class name."""

    def layers(self, G: Any) -> tuple[Layer, ...]:
        """The numbered layers, in the order in which they run."""

    def auto(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """The papers' default layers for this family."""

    def at_resolution(self, layers: Sequence[Layer], size: int) -> Layer | None:
        """The layer that stands for a resolution such as 8x8 in the papers' lists."""

    def entry(self, G: Any) -> str:
        """The dotted name of the module that scripts really call ("" for G itself)."""

    def image_item(self, G: Any) -> int | str | None:
        """Where the image is in what the entry returns; None where it returns the image."""

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        """The shape of one latent z."""

    def mean_latent(self, G: Any) -> Tensor | None:
        """What the entry's first argument is on average; None where unknown or normalised away."""

    def num_classes(self, G: Any) -> int:
        """How many classes G is conditioned on; 0 if none."""

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] at truncation psi 1 and constant noise."""

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """The latent in a call of the entry."""

    def quietly(self, entry: Any) -> Mapping[str, Any]:
        """Arguments by which a view of the entry, which this may change, computes its units for
        good: with constant noise, and with kernels that are not fused with each sample's styles,
        since gradients take twice as long through those."""


class Family:
    """Defaults that most families share.

    Attributes:
        styled: what the entry takes first is a w, or several.
        quiet: see `Adapter.quietly`.
        fused: the attribute of modules that says whether their kernels are fused with styles.
    """

    styled = True
    quiet: Mapping[str, Any] = {}
    fused = ""

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        x = first_argument(entry, args, kwargs)
        return Latent(x, self.styled, lambda new: with_first(entry, args, kwargs, new))

    def quietly(self, entry: Any) -> Mapping[str, Any]:
        for module in entry.modules() if self.fused else ():
            if self.fused in vars(module):
                setattr(module, self.fused, False)
        return self.quiet

    def entry(self, G: Any) -> str:
        return "synthesis"

    def image_item(self, G: Any) -> int | str | None:
        return None

    def auto(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        found = (self.at_resolution(layers, size) for size in (4, 8, 16))
        return tuple(layer for layer in found if layer)

    def at_resolution(self, layers: Sequence[Layer], size: int) -> Layer | None:
        return next((layer for layer in layers if layer.resolution == (size, size)), None)


def select(adapter: Adapter, layers: Sequence[Layer], choice: LayerChoice) -> tuple[Layer, ...]:
    """The chosen layers, in the order in which they run.

    Raises:
        GanfixError: if a number or resolution matches no layer (those that exist are listed).
    """
    if not choice.items:
        chosen = adapter.auto(layers)
        if not chosen:
            raise GanfixError(f"layers=auto matches none of the layers {_numbers(layers)}")
        return tuple(chosen)
    by_number = {str(layer.index): layer for layer in layers}
    wanted = []
    for item in choice.items:
        square = item.partition("x")[0]
        found = adapter.at_resolution(layers, int(square)) if "x" in item else by_number.get(item)
        if found is None:
            raise GanfixError(f"layers={choice}: no layer {item}; there are {_numbers(layers)}")
        wanted.append(found)
    return tuple(layer for layer in layers if layer in wanted)


def _numbers(layers: Sequence[Layer]) -> str:
    return ", ".join(f"{each.index} ({each.resolution[0]}x{each.resolution[1]})" for each in layers)
