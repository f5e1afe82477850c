"""What can be done to a feature map.

An edit is a pure function of the feature map [N, C, H, W]: out of place, the same dtype, strides
and device, no random numbers, no state, each row by itself. It knows neither which units it was
given nor why. Edits compare by identity and are never copied: a deep copy of a generator shares
them with the original.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ganfix_plugin.ops.dispatch import implementation


class Edit(Protocol):
    """Anything that maps a feature map to one of the same shape."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Shared:
    """Copying an edit gives the edit itself: its tensors never change."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


@dataclass(frozen=True, eq=False)
class Cap(Shared):
    """Zero the *activated* ones among some neurons: x ← min(x, 0) there ([C22], Algorithm 1).

    Negative values stay (a negative zero may lose its sign), NaN stays NaN, and all other neurons
    stay bit for bit.

    Args:
        neurons: bool [C, H, W], true at the neurons to ablate.
    """

    neurons: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(max=_constant(self, x, _cap))


@dataclass(frozen=True, eq=False)
class Scale(Shared):
    """Multiply units by a factor: x_u ← factor_u · x_u ([T21], Algorithm 1; 0 ablates a unit).

    Args:
        factor: float [C], one per unit, or [N, C], one per sample and unit; 1 leaves a unit bit
            for bit as it is.
    """

    factor: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x * _constant(self, x, _factor)


@dataclass(frozen=True, eq=False)
class Fade(Shared):
    """Fade some units of a sample where its mask is: x_u ← (1 − mask) · x_u ([T21], 4.2).

    Args:
        units: bool [N, C], by sample.
        mask: float [N, H, W] in [0, 1]; where it is 0, everything stays bit for bit.
    """

    units: Tensor
    mask: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        faded, keep = _constant(self, x, _faded), _constant(self, x, _keep)
        y: Tensor = implementation(x).correct(x, None, None, faded, keep)
        return y


@dataclass(frozen=True, eq=False)
class Towards(Shared):
    """Truncation: pull a latent towards the mean one, x ← mean + psi · (x − mean)."""

    mean: Tensor
    psi: float

    def __call__(self, x: Tensor) -> Tensor:
        return _constant(self, x, _mean).lerp(x, self.psi)


def _cap(edit: Cap, x: Tensor) -> Tensor:
    cap = torch.full(edit.neurons.shape, torch.inf).masked_fill_(edit.neurons, 0)
    cap = cap.to(x.device, x.dtype)
    # A cap in the feature map's own memory order keeps the elementwise kernel vectorised.
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return cap[None].contiguous(memory_format=torch.channels_last)
    return cap


def _factor(edit: Scale, x: Tensor) -> Tensor:
    # A copy, because a factor made under inference_mode could not be used by autograd.
    return edit.factor.to(x.device, x.dtype, copy=True)[..., None, None]


def _faded(edit: Fade, x: Tensor) -> Tensor:
    return edit.units.to(x.device, copy=True)


def _keep(edit: Fade, x: Tensor) -> Tensor:
    return (1 - edit.mask).to(x.device, x.dtype)


def _mean(edit: Towards, x: Tensor) -> Tensor:
    return edit.mean.to(x.device, x.dtype, copy=True)


# What an edit needs on a device is derived once and dropped with the edit; keeping it here leaves
# the edits themselves free of state, so that they pickle to their definition and no more.
_CONSTANTS: weakref.WeakKeyDictionary[Any, dict[Any, Tensor]] = weakref.WeakKeyDictionary()


def _constant(edit: Any, x: Tensor, build: Callable[[Any, Tensor], Tensor]) -> Tensor:
    if torch.compiler.is_compiling():
        return build(edit, x)  # a graph must not depend on what happens to be kept
    key = (build, x.device, x.dtype, x.is_contiguous(memory_format=torch.channels_last))
    kept = _CONSTANTS.setdefault(edit, {})
    if key not in kept:
        # A constant first built under inference_mode could not be used by autograd later.
        with torch.inference_mode(False), torch.no_grad():
            kept[key] = build(edit, x)
    return kept[key]
