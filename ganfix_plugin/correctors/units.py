"""`units`, `ds` and `fid-units`: zero ablation of whole units, chosen by hand or by a score.

`ds` takes the units of highest defective score in one layer ([T21], the single-layer variant);
`fid-units` those whose top-activating images are farthest from the real ones ([B19]).

- [T21]: Tousi et al., CVPR 2021.
- [B19]: Bau et al., GAN Dissection, ICLR 2019.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext, UnitNeeds
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Edit, Scale
from ganfix_plugin.spec import Options, option, whole


@dataclass(frozen=True)
class UnitList:
    """Units of layers, as ``6:12+40+133`` or, for several layers, ``6:12+40;7:3``."""

    layers: tuple[tuple[int, tuple[int, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> UnitList:
        layers = []
        for part in text.split(";"):
            match = re.fullmatch(r"(\d+):(\d+(?:\+\d+)*)", part.strip())
            if not match:
                raise ValueError("LAYER:UNIT+UNIT, such as 6:12+40+133")
            layers.append((int(match[1]), tuple(int(unit) for unit in match[2].split("+"))))
        return cls(tuple(layers))

    def __str__(self) -> str:
        return ";".join(f"{layer}:{'+'.join(map(str, units))}" for layer, units in self.layers)


@dataclass(frozen=True, kw_only=True)
class UnitsOptions(Options):
    """Which units."""

    units: UnitList | None = option(
        None, UnitList.parse, "the units to zero: LAYER:UNIT+UNIT, several layers by semicolons"
    )

    def __post_init__(self) -> None:
        if self.units is None:
            raise ValueError("units= is missing; write units=LAYER:UNIT+UNIT, as units=6:12+40")


@dataclass(frozen=True, kw_only=True)
class TopUnitsOptions(Options):
    """How many units of which layer."""

    layer: int = option(6, whole(0), "the layer's number")
    units: int = option(20, whole(1), "how many units of highest score to zero")


def highest(scores: Tensor, count: int) -> Tensor:
    """The ones of highest score, bool like ``scores`` [C] or [N, C]; of equal ones the first."""
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, True)


def overlapping(scores: Tensor, count: int) -> Tensor:
    """The units of highest defective score, bool like ``scores`` [C] or [N, C]: at most ``count``,
    and none that does not overlap with any artifact, whose score is 0."""
    return highest(scores, count) & (scores > 0)


def without(units: Tensor) -> Scale:
    """Zero some units, bool [C]."""
    return Scale((~units).float())


def numbered(layers: Sequence[Layer], index: int) -> Layer:
    """The layer of a number.

    Raises:
        GanfixError: if there is none (those that exist are listed).
    """
    for layer in layers:
        if layer.index == index:
            return layer
    numbers = ", ".join(str(layer.index) for layer in layers)
    raise GanfixError(f"layer={index}: no such layer; there are {numbers}")


def _by_hand(options: UnitsOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    assert options.units is not None
    chosen: dict[Layer, Tensor] = {}
    for index, units in options.units.layers:
        layer = numbered(context.layers, index)
        if max(units) >= layer.channels:
            raise GanfixError(f"units: no unit {max(units)} in layer {layer}")
        mask = chosen.setdefault(layer, torch.zeros(layer.channels, dtype=torch.bool))
        mask[list(units)] = True
    return {layer: without(chosen[layer]) for layer in context.layers if layer in chosen}


def _one_layer(options: TopUnitsOptions, layers: Sequence[Layer]) -> UnitNeeds:
    layer = numbered(layers, options.layer)
    if options.units > layer.channels:
        raise GanfixError(
            f"units={options.units}: layer {layer} has {layer.channels}; ask for fewer"
        )
    return UnitNeeds([layer])


def _highest(
    what: str,
    choose: Callable[[Tensor, int], Tensor],
    options: TopUnitsOptions,
    context: CorrectorContext,
) -> dict[Layer, Edit]:
    assert context.profile is not None
    (layer,) = _one_layer(options, context.layers).layers
    units = choose(context.profile.of_units(what, layer), options.units)
    if (number := int(units.sum())) < options.units:
        warnings.warn(
            f"only {number} units of layer {layer} overlap with artifacts; the others stay",
            GanfixWarning,
            stacklevel=3,
        )
    return {layer: without(units)}


UNITS = Corrector(
    name="units", help="zero ablation of units listed by hand", options=UnitsOptions, edits=_by_hand
)
DS = Corrector(
    name="ds",
    help="zero ablation of the units of highest defective score in one layer (CVPR 2021)",
    options=TopUnitsOptions,
    edits=functools.partial(_highest, "defective", overlapping),
    needs=("defective",),
    units=_one_layer,
)
FID_UNITS = Corrector(
    name="fid-units",
    help="zero ablation of the units of highest FID in one layer (GAN Dissection)",
    options=TopUnitsOptions,
    edits=functools.partial(_highest, "unit_fid", highest),
    needs=("unit_fid",),
    units=_one_layer,
)
