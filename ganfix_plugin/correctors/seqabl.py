"""`seqabl`: sequential ablation of low-rate neurons ([C22], Algorithm 1).

Each chosen layer is computed from the corrected layer before it, and its activated LR-neurons are
set to zero. Negative values stay.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.correctors.units import highest
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap, Edit
from ganfix_plugin.profiling.profile import Profile
from ganfix_plugin.spec import LayerOptions, Numbers, Portion, choice, option, portion

PAPER_RATE, AUTO = 0.3, "auto"
# What rate=auto takes instead where the paper's rate takes more than half of a layer.
LOWEST = Portion(0.3)
MOST = 0.5

log = logging.getLogger("ganfix")


@dataclass(frozen=True, kw_only=True)
class SeqablOptions(LayerOptions):
    """Which neurons: by rate (the paper's rule), or by rank (carries over between models)."""

    rate: float | str | None = option(
        None,
        Numbers(0, 1, word=AUTO),
        "ablate neurons of activation rate ≤ this, 0.3 in the paper [default: auto, which is 0.3 "
        "where that takes at most half of the live neurons of every layer, else lowest=30%]",
        tune=("0.05", "0.1", "0.15", "0.2", "0.3", "0.5"),
    )
    lowest: Portion | None = option(
        None,
        portion,
        "instead of rate: this share of a layer's live neurons, lowest rates first",
        tune=("5%", "10%", "20%", "30%", "40%"),
    )
    side: str = option(
        "low", choice("low", "high"), "low ablates those neurons, high all the others"
    )
    dead: str = option(
        "with",
        choice("with", "without"),
        "whether neurons never seen active count as low-rate (the authors' code: without)",
    )

    def __post_init__(self) -> None:
        if self.rate == AUTO and self.lowest is not None:
            object.__setattr__(self, "rate", None)
        if self.rate is not None and self.lowest is not None:
            raise ValueError("rate and lowest are two ways to choose the neurons; give one")
        if self.rate is None and self.lowest is None:
            object.__setattr__(self, "rate", AUTO)


def settle(options: SeqablOptions, context: CorrectorContext) -> SeqablOptions:
    """The rule that ``rate=auto`` chooses: the paper's in all layers, or in none of them."""
    if options.rate != AUTO:
        return options
    assert context.profile is not None
    for layer in context.layers:
        rates = context.profile.rates(layer)
        if (share := _share_of_live(rates <= PAPER_RATE, rates)) > MOST:
            log.info(
                "seqabl: the paper's rate=0.3 takes %.0f%% of the live neurons of layer %s, more "
                "than half; so lowest=30%% in all layers (write rate=0.3 to have it nevertheless)",
                100 * share,
                layer,
            )
            return replace(options, rate=None, lowest=LOWEST)
    return replace(options, rate=PAPER_RATE)


def low_rate_neurons(options: SeqablOptions, layer: Layer, profile: Profile) -> Tensor:
    """The LR-neurons of a layer, bool [C, H, W]."""
    if options.lowest is None:
        assert isinstance(options.rate, float)
        return profile.low_rate(layer, options.rate, dead=options.dead == "with")
    rates = profile.rates(layer)
    live = rates > 0
    ranks = -rates.masked_fill(~live, torch.inf).flatten()
    chosen = highest(ranks, round(options.lowest * int(live.sum()))).view_as(rates)
    return chosen | ~live if options.dead == "with" else chosen


def edits(options: SeqablOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    """A `Cap` per layer."""
    assert context.profile is not None
    caps: dict[Layer, Edit] = {}
    for layer in context.layers:
        neurons = low_rate_neurons(options, layer, context.profile)
        if options.side == "high":
            neurons = ~neurons
        share = _share_of_live(neurons, context.profile.rates(layer))
        if share > MOST:
            _warn(
                f"{share:.0%} of the live neurons of layer {layer} are ablated, most of what it "
                "computes; where images drift to a mean image, use lowest=30% or a smaller rate"
            )
        if not neurons.any():
            _warn(f"no neuron of layer {layer} is low-rate; nothing changes there")
        caps[layer] = Cap(neurons)
    return caps


def _share_of_live(neurons: Tensor, rates: Tensor) -> float:
    """The share of some neurons among those that were seen active; 0 where none were."""
    live = rates > 0
    return float((neurons & live).sum() / live.sum().clamp(min=1))


def _warn(text: str) -> None:
    warnings.warn(f"seqabl: {text}", GanfixWarning, stacklevel=3)


CORRECTOR = Corrector(
    name="seqabl",
    help="sequential ablation of neurons that rarely activate (IJCAI 2022)",
    options=SeqablOptions,
    edits=edits,
    needs=("rates",),
    settle=settle,
)
