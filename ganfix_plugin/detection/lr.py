"""The LR count as an artifact score ([C22], section 4.1), and as the scorer of a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ganfix_plugin.adapters import Layer
from ganfix_plugin.profiling.profile import GATE_RATE, Profile
from ganfix_plugin.profiling.rates import lr_count


@dataclass(frozen=True)
class LRScorer:
    """Counts the activated LR-neurons of each sample of a call, before it is rendered.

    Attributes:
        low_rate: layers, named relative to the module that is called, with bool [C, H, W] each.
    """

    low_rate: tuple[tuple[Layer, Tensor], ...]

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return lr_count(module, self.low_rate, lambda view: view(*args, **kwargs))


def lr_scorer(profile: Profile, layers: Sequence[Layer], entry: str = "") -> LRScorer:
    """The scorer of a generator's own LR-neurons at rate ≤ 0.1.

    Args:
        profile: holds the layers' activation rates.
        layers: the adapter's default layers.
        entry: dotted name of the module that will be called.
    """
    return LRScorer(
        tuple((layer.within(entry), profile.low_rate(layer, GATE_RATE)) for layer in layers)
    )
