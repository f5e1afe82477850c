"""`Fade`, an edit of some samples at some pixels. Those of whole units and layers: `standalone`.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ganfix_plugin.hooks.standalone import Shared, constant
from ganfix_plugin.ops.dispatch import implementation


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
