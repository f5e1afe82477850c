"""`Corrector`: a method of correction, and `CorrectorContext`: a generator as a method sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.spec import Options

if TYPE_CHECKING:  # specs are parsed at the start of a script, before any of it is needed
    from ganfix_plugin.correctors.gates import ProbeScorer
    from ganfix_plugin.hooks.correction import Move, SecondPass
    from ganfix_plugin.hooks.standalone import Edit
    from ganfix_plugin.profiling.profile import Profile


@dataclass(frozen=True)
class CorrectorContext:
    """The generator as a corrector sees it.

    Attributes:
        layers: the chosen ones where the options have a key ``layers``, all of them otherwise.
        profile: what was measured, as far as the corrector ``needs`` it.
        entry: the place of the argument that scripts hand to the generator: a latent or a w.
        mean_latent: what that argument is on average; None where the generator normalises it.
        discriminator: the one that came with the generator, if any.
        probe: what scores calls by the first layers, if the corrector ``needs`` it.
        classifier: what tells artifacts, if the corrector's `UnitNeeds` say so.
    """

    layers: tuple[Layer, ...]
    profile: Profile | None
    entry: Layer
    mean_latent: Tensor | None
    discriminator: nn.Module | None = None
    probe: ProbeScorer | None = None
    classifier: Classifier | None = None


@dataclass(frozen=True)
class UnitNeeds:
    """What a corrector must know of units.

    Attributes:
        layers: those whose units it corrects.
        scores: whether it needs their defective scores over all artifacts; or else their thresholds
            only, where it scores them by sample.
        classifier: whether it asks the classifier while it corrects.
    """

    layers: Sequence[Layer]
    scores: bool = True
    classifier: bool = False


@dataclass(frozen=True)
class Corrector:
    """A method of correction.

    Attributes:
        name: as after ``--correct``.
        help: one line for people.
        options: a frozen dataclass deriving from `Options`; its fields are the keys.
        edits: called with (options, context) → edits by layer, or, where they differ by sample, a
            `SecondPass` that decides about them when it has seen a first pass, or a `Move` of the
            latents.
        settle: called before that with the same: the options with all decided that depends on the
            generator. Console and records name these.
        needs: what the profile must hold: "rates" (activation rates of the context's layers),
            "probe", "defective" (unit thresholds and defective scores), which are measured on
            first use, or "unit_fid", which `ganfix units` makes. Options of correctors that need a
            probe say which by a property ``probe`` (a `ProbeChoice`).
        units: called with (options, all layers) → what of "defective" is needed; by default
            everything of all layers.
    """

    name: str
    help: str
    options: type[Options]
    edits: Callable[[Any, CorrectorContext], Mapping[Layer, Edit] | SecondPass | Move]
    needs: tuple[str, ...] = ()
    settle: Callable[[Any, CorrectorContext], Any] = lambda options, context: options
    units: Callable[[Any, Sequence[Layer]], UnitNeeds] = lambda options, layers: UnitNeeds(layers)


def load(name: str) -> Corrector:
    """The corrector of that name.

    Raises:
        GanfixError: if there is none, or what stands behind the name is no `Corrector`.
    """
    corrector = registry.load(registry.CORRECTORS, name)
    if not isinstance(corrector, Corrector):
        point = registry.entry(registry.CORRECTORS, name)
        raise GanfixError(
            f"{name}: {point.value} of {registry.origin(point)} is {type(corrector).__name__}, "
            "expected a ganfix_plugin.correctors.corrector.Corrector"
        )
    return corrector
