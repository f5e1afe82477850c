"""What an `Adapter` knows of a family of generators, and which of its layers are chosen.

One file per family. An adapter recognises a generator by its structure, never by module path or
`isinstance`: the classes of a network pickle live in generated modules. It is believed when a trial
call (`find`) runs its layers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import Latent, with_keywords
from ganfix_plugin.hooks.forward import no_latent
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import first_argument, with_first
from ganfix_plugin.spec import LayerChoice


class Adapter:
    """What ganfix must know about a family of generators, with what holds for most of them.

    Attributes:
        name: as after ``--adapter``; ``title`` says what it is.
        marks: the attributes by which G is recognised.
        width: the attribute of G that says how wide a latent is; ``classes``, how many classes.
        entry: the dotted name of the module that scripts really call; "" for G itself.
        image_item: where the image is in what the entry returns; None where it returns the image.
        returns_alike: whether all of the family return the image there; else a trial call shows it.
        first_three: the default layers are the first three, not those at 4x4, 8x8 and 16x16.
        styled: what the entry takes first is a w, or several.
        named: whether the user named the layers.
        quiet: arguments of the entry for constant noise.
        unfused: arguments of the entry for kernels that are not fused with each sample's styles.
        fused: the attribute of modules that says whether their kernels are fused with styles.
        quick: whether `make_quick` has them not fused; not where a trial gave other maps.
    """

    name: str
    title: str
    marks: tuple[str, ...] = ()
    width = ""
    classes = ""
    entry = "synthesis"
    image_item: int | str | None = None
    returns_alike = True
    first_three = False
    styled = True
    named = False
    quiet: Mapping[str, Any] = {}
    unfused: Mapping[str, Any] = {}
    fused = ""
    quick = True

    def matches(self, G: Any) -> bool:
        """Whether G belongs to this family, by structure and class name."""
        return bool(self.marks) and all(hasattr(G, name) for name in self.marks)

    def layers(self, G: Any) -> tuple[Layer, ...]:
        """The numbered layers, in the order in which they run; a trial call shows their sizes."""
        raise NotImplementedError

    def auto(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """The papers' default layers for this family; all where the user named them."""
        if self.named:
            return tuple(layers)
        # 4x4, 8x8 and 16x16 in the papers; maps need not be square, nor begin there.
        lowest = list(dict.fromkeys(layer.resolution for layer in layers))[:3]
        chosen = (self.at_resolution(layers, size) for size in lowest)
        return tuple(layers[:3] if self.first_three else filter(None, chosen))

    def at_resolution(self, layers: Sequence[Layer], size: tuple[int, int]) -> Layer | None:
        """The layer that stands for a resolution (height, width) in the papers' lists."""
        return next((layer for layer in layers if layer.resolution == size), None)

    def latent_shape(self, G: Any) -> tuple[int, ...]:
        """The shape of one latent z."""
        return (getattr(G, self.width),)

    def mean_latent(self, G: Any) -> Tensor | None:
        """What the entry's first argument is on average; None where unknown or normalised away."""
        return None

    def num_classes(self, G: Any) -> int:
        """How many classes G is conditioned on; 0 if none."""
        return int(getattr(G, self.classes)) if self.classes else 0

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] at truncation psi 1 and constant noise."""
        images: Tensor = G(z)
        return images

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """The latent in a call of the entry; raises a GanfixError where something else is there."""
        x = first_argument(entry, args, kwargs)
        if not isinstance(x, Tensor):
            raise no_latent(type(entry).__name__, x)
        return Latent(x, self.styled, lambda new: with_first(entry, args, kwargs, new))

    def quietly(self, entry: Any) -> Mapping[str, Any]:
        """Arguments with which the entry computes with constant noise."""
        return self.quiet

    def unfuse(self, entry: Any) -> Mapping[str, Any]:
        """Arguments with which a view of the entry, which this may change, computes with kernels
        that are not fused with each sample's styles. Those take several times as long on a CPU, and
        gradients through them twice."""
        for module in entry.modules() if self.fused else ():
            if self.fused in vars(module):
                setattr(module, self.fused, False)
        return self.unfused

    def make_quick(self, entry: Any, quiet: bool = False) -> None:
        """Have a view of the entry, which this changes, compute as `unfuse` says in every call, and
        as `quietly` does, if so asked."""
        noise = self.quietly(entry) if quiet else {}
        unfused = self.unfuse(entry) if self.quick else {}
        more, forward = {**unfused, **noise}, entry.forward

        # Attributes of a bound method are its function's, whose signature has a self.
        @functools.wraps(forward, updated=())
        def with_more(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = with_keywords(entry, args, kwargs, more)
            return forward(*args, **kwargs)

        vars(entry)["forward"] = with_more


class Growing(Adapter):
    """Square feature maps from 4×4 up, two layers per resolution.

    Attributes:
        first: how many layers are at 4×4. One, as in StyleGAN2: the papers' lists name the first
            layer of a resolution; or two: they name the second.
        item: see `Layer`; ``modulated`` too.
    """

    first = 1
    item: int | None = None
    modulated = True

    def convolutions(self, G: Any) -> Iterable[tuple[str, int]]:
        """Module names and numbers of units, in the order in which they run."""
        raise NotImplementedError

    def layers(self, G: Any) -> tuple[Layer, ...]:
        sides = (4 * 2 ** ((i + 2 - self.first) // 2) for i in range(100))
        return tuple(
            Layer(i, name, (side, side), units, item=self.item, modulated=self.modulated)
            for i, ((name, units), side) in enumerate(zip(self.convolutions(G), sides))
        )

    def at_resolution(self, layers: Sequence[Layer], size: tuple[int, int]) -> Layer | None:
        return super().at_resolution(layers if self.first == 1 else layers[::-1], size)


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
        height, by, width = item.partition("x")
        size = (int(height), int(width or 0))
        layer = adapter.at_resolution(layers, size) if by else by_number.get(item)
        if layer is None:
            raise GanfixError(f"layers={choice}: no layer {item}; there are {_numbers(layers)}")
        wanted.append(layer)
    return tuple(layer for layer in layers if layer in wanted)


def _numbers(layers: Sequence[Layer]) -> str:
    return ", ".join("{} ({}x{})".format(layer.index, *layer.resolution) for layer in layers)
