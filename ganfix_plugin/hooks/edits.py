"""What can be done to a feature map, or to a latent.

An edit is a pure function of the feature map [N, C, H, W]: out of place, the same dtype, strides
and device, no random numbers, no state, each row by itself. It knows neither which units it was
given nor why. Edits compare by identity and are never copied: a deep copy of a generator shares
them with the original.

- [C22]: Choi, Chang, Choi, IJCAI 2022.
- [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from ganfix_plugin.hooks import standalone
from ganfix_plugin.hooks.standalone import constant
from ganfix_plugin.ops.dispatch import implementation


class Edit(Protocol):
    """Anything that maps a feature map to one of the same shape."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Shared:
    """Copying it gives itself, since nothing in it ever changes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


@dataclass(frozen=True, eq=False)
class Cap(Shared, standalone.Cap):
    """Zero the *activated* ones among some neurons: x ← min(x, 0) there ([C22], Algorithm 1).

    Negative values stay (a negative zero may lose its sign), NaN stays NaN, and all other neurons
    stay bit for bit.

    Args:
        neurons: bool [C, H, W], true at the neurons to ablate.
    """

    neurons: Tensor


@dataclass(frozen=True, eq=False)
class Scale(Shared, standalone.Scale):
    """Multiply units by a factor: x_u ← factor_u · x_u ([T21], Algorithm 1; 0 ablates a unit).

    Args:
        factor: float [C], one per unit, or [N, C], one per sample and unit; 1 leaves a unit bit
            for bit as it is.
    """

    factor: Tensor


@dataclass(frozen=True, eq=False)
class Truncate(Shared, standalone.Truncate):
    """Truncation: pull a latent towards the mean one, x ← mean + psi · (x − mean).

    Args:
        mean: like one latent, or one that broadcasts.
        psi: 1 leaves a latent as it is, 0 makes it the mean.
    """

    mean: Tensor
    psi: float


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
        faded, keep = constant(self, x, _faded), constant(self, x, _keep)
        y: Tensor = implementation(x).fade(x, faded, keep)
        return y


def _faded(edit: Fade, x: Tensor) -> Tensor:
    return edit.units.to(x.device, copy=True)


def _keep(edit: Fade, x: Tensor) -> Tensor:
    return (1 - edit.mask).to(x.device, x.dtype)
