"""`random`: ablation of neurons or units chosen by chance, the baseline of both papers.

The choice is fixed by the seed: every image and every run loses the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.correctors.units import without
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap, Edit
from ganfix_plugin.spec import LayerOptions, Portion, choice, option, some, whole


@dataclass(frozen=True, kw_only=True)
class RandomOptions(LayerOptions):
    """How many of what to ablate."""

    of: str = option(
        "neurons",
        choice("neurons", "units"),
        "neurons: zero their activations; units: zero whole channels",
    )
    portion: Portion = option(Portion(0.3), some, "the share of each layer to ablate")
    seed: int = option(0, whole(0), "of the choice")


def edits(options: RandomOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    """A `Cap` on neurons or a `Scale` of units per layer."""
    chance = torch.Generator().manual_seed(options.seed)
    edits: dict[Layer, Edit] = {}
    for layer in context.layers:
        of_neurons = options.of == "neurons"
        shape = (layer.channels, *layer.resolution) if of_neurons else (layer.channels,)
        total = torch.Size(shape).numel()
        places = torch.randperm(total, generator=chance).argsort()
        chosen = places < round(options.portion * total)
        edits[layer] = Cap(chosen.view(shape)) if of_neurons else without(chosen)
    return edits


CORRECTOR = Corrector(
    name="random",
    help="ablation of random neurons or units, a baseline",
    options=RandomOptions,
    edits=edits,
)
