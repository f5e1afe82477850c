"""Edits on the layers of a generator: on, off, counted, picklable.

Nothing here knows a paper or a host. A correction is a set of edits by layer, with an optional
gate that decides per sample; the scorer behind the gate is handed in. Hooks are instances of
module-level classes that hold only what defines them, so that they survive `copy.deepcopy`,
pickling and spawned processes, and work in every copy of the generator by themselves.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.adapters import Layer
from ganfix_plugin.edits import Edit
from ganfix_plugin.errors import GanfixError

# Ids of hooks restart at 0 in every process: an unpickled hook with such an id would be overwritten
# by the next registration on its layer. Ours start where torch's counter never comes.
_FIRST_ID = 1 << 62

Scorer = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]


@dataclass(frozen=True)
class Gated:
    """Correct only rows whose score exceeds a threshold.

    Attributes:
        entry: dotted name of the module that scripts really call ("" for the generator).
        scorer: from that module and the arguments of a call to float or int [N]; it must leave the
            module as it is. Random state is restored after it, so that the corrected pass draws the
            noise that was scored.
        threshold: rows with a greater score are corrected.
    """

    entry: str
    scorer: Scorer
    threshold: float


@dataclass(frozen=True)
class Correction:
    """What one ``--correct`` comes to on one generator.

    Attributes:
        text: its canonical spec.
        edits: by layer.
        gate: None corrects every sample.
    """

    text: str
    edits: Mapping[Layer, Edit]
    gate: Gated | None = None


@dataclass
class Count:
    """What a correction did in this process."""

    runs: int = 0
    samples: int = 0
    corrected: int = 0


_counts: dict[str, Count] = {}
_counting = threading.Lock()


class _Local(threading.local):
    """What belongs to one call in one thread."""

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {}
        self.uncounted = False


_local = _Local()


class EditHook:
    """A forward hook that puts an edited feature map in the place of a layer's own."""

    def __init__(self, token: str, text: str, layer: Layer, edit: Edit, first: bool, gated: bool):
        self.token, self.text, self.layer, self.edit = token, text, layer, edit
        self.first, self.gated = first, gated

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        if torch.jit.is_tracing():
            raise GanfixError(f"{self.text}: a corrected generator cannot be traced; detach first")
        if module.training:
            raise GanfixError(f"{self.text}: a corrected generator cannot be trained; detach first")
        x = self.layer.read(output)
        rows = self._rows(len(x))
        corrected = len(x) if rows is None else int(rows.sum())
        self._count(len(x), corrected)
        if not corrected:
            return None
        y = self.edit(x)
        if rows is not None and corrected < len(x):
            y = torch.where(rows.to(x.device).view(-1, 1, 1, 1), y, x)
        return self.layer.write(output, y)

    def _rows(self, n: int) -> Tensor | None:
        """Which rows of this call to correct; None for all."""
        if not self.gated:
            return None
        rows = _local.rows.get(self.token)
        if rows is None or len(rows) != n:
            raise GanfixError(
                f"{self.text}: layer {self.layer.name} ran outside a call that the gate has seen; "
                "call the generator or its synthesis as a whole, or use gate=off"
            )
        return rows

    def _count(self, samples: int, corrected: int) -> None:
        if _local.uncounted:
            return
        with _counting:
            count = _counts.setdefault(self.token, Count())
            count.runs += 1
            if self.first:
                count.samples += samples
                count.corrected += corrected


class GateHook:
    """A forward pre-hook that scores the samples of a call before it runs."""

    def __init__(self, token: str, gate: Gated):
        self.token, self.gate = token, gate

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with _random_state_kept(module):
            scores = self.gate.scorer(module, args, kwargs)
        # On the CPU, where every layer can ask how many rows there are without a synchronisation.
        _local.rows[self.token] = (scores > self.gate.threshold).cpu()


class Attachment:
    """Corrections attached to a generator; a context manager, with an idempotent `detach`."""

    def __init__(self, G: nn.Module, corrections: Sequence[Correction]):
        """Hook the generator. All that can fail, fails before the first hook is placed."""
        self.corrections = tuple(corrections)
        self._tokens = [uuid.uuid4().hex for _ in self.corrections]
        self._places: list[tuple[dict[int, Any], int]] = []
        plan: list[tuple[nn.Module, Any]] = []
        for token, correction in zip(self._tokens, self.corrections):
            gate = correction.gate
            if gate and correction.edits:
                plan.append((G.get_submodule(gate.entry), GateHook(token, gate)))
            for place, (layer, edit) in enumerate(correction.edits.items()):
                first, gated = place == 0, gate is not None
                hook = EditHook(token, correction.text, layer, edit, first, gated)
                plan.append((G.get_submodule(layer.name), hook))
        for module, hook in plan:
            self._place(module, hook)

    def _place(self, module: nn.Module, hook: Any) -> None:
        before = isinstance(hook, GateHook)
        hooks: dict[int, Any] = module._forward_pre_hooks if before else module._forward_hooks
        key = max([_FIRST_ID, *(taken + 1 for taken in hooks)])
        hooks[key] = hook
        self._places.append((hooks, key))
        if before:
            module._forward_pre_hooks_with_kwargs[key] = True
            self._places.append((module._forward_pre_hooks_with_kwargs, key))

    def detach(self) -> None:
        """Take the hooks off. Copies made meanwhile stay corrected."""
        while self._places:
            hooks, key = self._places.pop()
            hooks.pop(key, None)

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()

    @property
    def counts(self) -> list[Count]:
        """Per correction, what was done in this process by the generator and its copies."""
        return [_counts.get(token, Count()) for token in self._tokens]

    def summary(self) -> str:
        """One line: what was asked for, where, and how many samples it changed."""
        parts = []
        for correction, count in zip(self.corrections, self.counts):
            numbers = "+".join(str(layer.index) for layer in correction.edits) or "none"
            share = f"{count.corrected} of {count.samples} samples corrected"
            parts.append(f"{correction.text} · layers {numbers} · {share}")
        return "; ".join(parts)

    def check(self) -> None:
        """Make sure that every correction had a chance to act.

        Raises:
            GanfixError: if none of a correction's layers ever ran in this process. A gate that let
                nobody pass is no failure, nor is a correction without edits (``none``).
        """
        for correction, count in zip(self.corrections, self.counts):
            if correction.edits and not count.runs:
                names = ", ".join(layer.name for layer in correction.edits)
                raise GanfixError(
                    f"{correction.text}: nothing was corrected, because none of its layers "
                    f"({names}) ever ran; is this the generator that the script uses?"
                )


def attached(G: nn.Module) -> list[str]:
    """The canonical specs of the corrections that a generator carries already."""
    hooks = (hook for module in G.modules() for hook in module._forward_hooks.values())
    return list(dict.fromkeys(hook.text for hook in hooks if isinstance(hook, EditHook)))


@contextmanager
def uncounted() -> Iterator[None]:
    """Passes in here do not count as use: module summaries, warm-ups."""
    before, _local.uncounted = _local.uncounted, True
    try:
        yield
    finally:
        _local.uncounted = before


@contextmanager
def _random_state_kept(module: nn.Module) -> Iterator[None]:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    host = torch.get_rng_state()
    where = {"cuda": [device], "mps": []}.get(device.type)
    source = getattr(torch, device.type, None)
    own = source.get_rng_state(*where) if source and where is not None else None
    try:
        yield
    finally:
        torch.set_rng_state(host)
        if source and own is not None and where is not None:
            source.set_rng_state(own, *where)
