"""`half`: multiply every unit of the chosen layers by one factor.

All that a corrector needs: its keys, a function from them to edits, and the object that the
entry point in `pyproject.toml` names.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Edit, Scale
from ganfix_plugin.spec import LayerOptions, number, option


@dataclass(frozen=True, kw_only=True)
class HalfOptions(LayerOptions):
    """`layers`, `gate` and `strength` are there already; this adds how much is left."""

    factor: float = option(0.5, number(0, 2), "what every unit is multiplied by")


def edits(options: HalfOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    """A `Scale` per chosen layer. Nothing was measured for it: `needs` below is empty."""
    return {layer: Scale(torch.full((layer.channels,), options.factor)) for layer in context.layers}


CORRECTOR = Corrector(
    name="half",
    help="every unit of the chosen layers times a factor, an example",
    options=HalfOptions,
    edits=edits,
)
