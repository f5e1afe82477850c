"""`random`: ablation of neurons or units chosen by chance, the baseline of both papers.

The choice is fixed by the seed: every image and every run loses the same ones, or, of activated
neurons ([C22], Table 1), each image its own, and the same in every run.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.correctors.units import without
from ganfix_plugin.hooks.drop import Drop
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap, Edit
from ganfix_plugin.spec import LayerOptions, Portion, choice, option, some, whole


@dataclass(frozen=True, kw_only=True)
class RandomOptions(LayerOptions):
    """How many of what to ablate."""

    of: str = option(
        "neurons",
        choice("neurons", "activated", "units"),
        "neurons: zero their activations; activated: the same, chosen anew for each image of those "
        "that it activates (the IJCAI paper's); units: zero whole channels",
    )
    portion: Portion = option(Portion(0.3), some, "the share of each layer to ablate")
    seed: int = option(0, whole(0), "of the choice")


def edits(options: RandomOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    """A `Cap` on neurons, a `Scale` of units or a `Drop` of activated neurons per layer."""
    chance = torch.Generator().manual_seed(options.seed)
    edits: dict[Layer, Edit] = {}
    for layer in context.layers:
        of_units = options.of == "units"
        shape = (layer.channels,) if of_units else (layer.channels, *layer.resolution)
        total = torch.Size(shape).numel()
        places = torch.randperm(total, generator=chance).argsort()
        if options.of == "activated":
            edits[layer] = Drop(places, options.portion)
            continue
        chosen = places < round(options.portion * total)
        edits[layer] = without(chosen) if of_units else Cap(chosen.view(shape))
    return edits


CORRECTOR = Corrector(
    name="random",
    help="ablation of random neurons or units, a baseline",
    options=RandomOptions,
    edits=edits,
)
