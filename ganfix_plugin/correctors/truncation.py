"""`truncation`: pull the latent towards the mean one, the host's own remedy, as a baseline.

It acts on what scripts hand to the generator: w where there is a mapping network, z elsewhere; on
top of any truncation of the script's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Edit, Truncate
from ganfix_plugin.spec import Options, number, option


@dataclass(frozen=True, kw_only=True)
class TruncationOptions(Options):
    """How far."""

    psi: float = option(0.7, number(0, 1), "truncation psi: 1 changes nothing, 0 is the mean image")


def edits(options: TruncationOptions, context: CorrectorContext) -> dict[Layer, Edit]:
    """A `Truncate` on the entry's first argument.

    Raises:
        GanfixError: for generators that normalise their latent, where it would change nothing.
    """
    if context.mean_latent is None:
        raise GanfixError(
            "truncation: this generator normalises its latent, or keeps no single mean of it, so "
            "that there is nothing to pull towards; choose another corrector"
        )
    place = replace(context.entry, of_input=True)
    return {place: Truncate(context.mean_latent.detach().clone(), options.psi)}


CORRECTOR = Corrector(
    name="truncation",
    help="the truncation trick, as a baseline",
    options=TruncationOptions,
    edits=edits,
)
