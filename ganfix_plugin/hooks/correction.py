"""What corrections do at each moment of a call of a generator.

A `Correction` is what a bound spec is on one generator. Its hooks (`attachment`) call it before the
entry runs, at each of its layers, and after the entry, with the `CallState` of that call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.counts import count, uncounted
from ganfix_plugin.hooks.forward import Args, Call, Kwargs, check_size, no_latent
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import (
    CallState,
    Edit,
    Gated,
    Shared,
    edited,
    random_state,
    restore,
    spread,
    where,
)


class SecondPass(Protocol):
    """Looks at a first, uncorrected pass and decides how to correct each sample in a second one; a
    frozen, picklable object."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers whose feature maps it looks at, and which it may edit."""

    def keep(self, layer: Layer, x: Tensor) -> Tensor:
        """What must be kept of a feature map [N, C, H, W]; a tensor [N, …] that nobody else
        changes."""

    def decide(
        self, images: Tensor, kept: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[Layer, Edit]]:
        """From images [N, C, H, W] and what was kept, by layer name: the rows to correct, bool [N],
        and the edits of the second pass, which must leave all other rows as they are."""


class Move(Protocol):
    """Moves the latents of a call before anything is rendered; a frozen, picklable object."""

    def latent(self, entry: nn.Module, args: Args, kwargs: Kwargs) -> Tensor:
        """The latents [N, …] that the entry is called with."""

    def __call__(self, entry: nn.Module, args: Args, kwargs: Kwargs, amounts: Tensor) -> Call:
        """The arguments of the same call with latents moved by amounts [N], on the CPU: all of the
        way at 1; at 0 rows stay as they are, and so does the module."""


@dataclass(frozen=True, eq=False)
class Correction(Shared):
    """What one ``--correct`` is on one generator; copies of the generator share it.

    This one holds edits that are known beforehand, by layer, the same for every sample.

    Attributes:
        text: its canonical spec.
        entry: the module that scripts really call, and where the image is in what it returns.
        edits: what the corrector made of its options.
        gate: None corrects every sample.
        strength: how much of the edits, from 0 to 1.
        profile: which measurements it was made from; empty if from none.
        inside: the generator's layers inside the entry. What is corrected at the entry is missed
            where they are run by themselves, which is refused.
    """

    text: str
    entry: Layer
    edits: Any
    gate: Gated | None = None
    strength: float = 1.0
    profile: str = ""
    inside: tuple[str, ...] = ()

    one_pass: ClassVar[bool] = True
    moves: ClassVar[bool] = False  # what is edited is the latent, before the entry runs

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are edited."""
        return tuple(self.edits)

    def check(self, module: nn.Module) -> None:
        """Refuse to run where it would go wrong."""
        refused = "traced" if torch.jit.is_tracing() else "trained" if module.training else ""
        if refused:
            raise GanfixError(
                f"{self.text}: a corrected generator cannot be {refused}; detach first"
            )

    def missed(self, name: str) -> GanfixError:
        """Layer ``name`` ran outside a call of the entry."""
        remedy = ", or use gate=off" if self.gate and self.one_pass and not self.moves else ""
        return GanfixError(
            f"{self.text}: layer {name} ran outside a call that the correction has seen; call the "
            f"generator or its synthesis as a whole, not its forward or its blocks{remedy}"
        )

    def before(self, call: CallState, module: nn.Module, args: Args, kwargs: Kwargs) -> Any:
        """Before the entry runs: other arguments (args, kwargs) for it, or None."""

    def at(self, call: CallState, layer: Layer, x: Tensor) -> Tensor | None:
        """At one of its layers: another feature map [N, C, H, W], or latent, than x, or None."""
        if not isinstance(x, Tensor):
            raise no_latent(self.text, x)
        check_size(layer, x)
        weights = spread(call.weights, len(x))
        if self.gate and weights is None:
            raise self.missed(layer.name)
        if layer != next(iter(self.edits)):
            rows = []
        elif weights is None:  # of a tensor it would take longer than all else here
            rows = [self.strength > 0] * len(x)
        else:
            rows = (self.amounts(weights, len(x)) > 0).tolist()
        count(call.token, 1, rows)
        return edited(self.edits[layer], x, self.strength, weights)

    def amounts(self, weights: Tensor | None, rows: int) -> Tensor:
        """By how much each row is corrected, of those weights: float [N] from 0 to 1, on the
        CPU."""
        return self.strength * (torch.ones(rows) if weights is None else weights)


class SecondPassCorrection(Correction):
    """A second pass where the first shows an artifact.

    Hosts draw noise per batch, so the whole batch runs again from the same random state, and the
    rows are chosen afterwards. Hooks of other people see the first pass only. To gradients of what
    comes out, what was decided is constant.
    """

    edits: SecondPass
    one_pass = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.edits.layers

    def before(self, call: CallState, module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        call.start, call.kept = random_state(module), {}

    def at(self, call: CallState, layer: Layer, x: Tensor) -> Tensor | None:
        check_size(layer, x)
        if call.kept is not None:
            call.kept[layer.name] = self.edits.keep(layer, x.detach())
        elif layer in call.second:
            return edited(call.second[layer], x, self.strength, call.weights)
        return None

    def after(self, call: CallState, output: Any, again: Callable[[], Any]) -> Any:
        """After the entry has run: another output of it, or None. ``again`` calls the entry a
        second time, past the hooks of others."""
        images = self.entry.read(output)
        kept, call.kept = call.kept or {}, None
        for name, x in kept.items():
            if len(x) != len(images):
                raise GanfixError(
                    f"{self.text}: layer {name} makes {len(x)} feature maps for {len(images)} "
                    "images, expected one for each; take a corrector of one pass, such as seqabl"
                )
        with torch.no_grad():
            rows, edits = self.edits.decide(images.detach(), kept)
        decided, gated = rows.float().cpu(), spread(call.weights, len(rows))
        call.weights = decided if gated is None else decided * gated
        changed = self.amounts(call.weights, len(rows)) > 0
        count(call.token, 1, changed.tolist())
        if not changed.any():
            return None
        call.second = edits
        restore(call.start)
        with uncounted():
            second = self.entry.read(again())
        return self.entry.write(output, where(changed, second, images))


class MoveCorrection(Correction):
    """Latents that are moved before anything is rendered; to gradients, by a constant."""

    edits: Move
    moves = True

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (replace(self.entry, of_input=True),)

    def before(self, call: CallState, module: nn.Module, args: Args, kwargs: Kwargs) -> Call | None:
        n = len(self.edits.latent(module, args, kwargs))
        if call.weights is not None:  # of all images of a latent, the one that shows it most
            call.weights = call.weights.view(n, -1).amax(dim=1)
        amounts = self.amounts(call.weights, n)
        count(call.token, 1, (amounts > 0).tolist())
        return self.edits(module, args, kwargs, amounts) if amounts.any() else None


def kind_of(edits: Mapping[Layer, Edit] | SecondPass | Move) -> type[Correction]:
    """Which kind of correction the result of a `Corrector` asks for."""
    if isinstance(edits, Mapping):
        return Correction
    return SecondPassCorrection if hasattr(edits, "decide") else MoveCorrection
