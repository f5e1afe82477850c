"""What can be done to a feature map, or to a latent.

An edit is a pure function of the feature map [N, C, H, W]: out of place, the same dtype, strides
and device, no random numbers, no state, each row by itself. It knows neither which units it was
given nor why. Edits compare by identity and are never copied: a deep copy of a generator shares
them with the original. `Cap`, `Scale` and `Truncate` are in `standalone`, since an exported network
pickle carries them.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ganfix_plugin.hooks.standalone import Cap as Cap
from ganfix_plugin.hooks.standalone import Scale as Scale
from ganfix_plugin.hooks.standalone import Shared as Shared
from ganfix_plugin.hooks.standalone import Truncate as Truncate
from ganfix_plugin.hooks.standalone import constant
from ganfix_plugin.ops.dispatch import implementation


class Edit(Protocol):
    """Anything that maps a feature map to one of the same shape."""

    def __call__(self, x: Tensor) -> Tensor: ...


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
