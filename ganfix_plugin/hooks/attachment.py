"""Corrections attached to a generator, and the life of their hooks.

Hooks (`standalone`) stand on the layers and, where something belongs to a whole call, on the entry,
the module that scripts really call. Copies, pickles and spawned processes of the generator carry
them, with token and correction, and so are corrected by themselves.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks import standalone
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.counts import Count, counted, uncounted
from ganfix_plugin.hooks.forward import Args, Call, Kwargs

# Out of reach of torch's counter of ids, which restarts at 0 in every process and would overwrite
# hooks of lower ids in an unpickled generator.
_FIRST_ID = 1 << 62


class Attachment(AbstractContextManager["Attachment"]):
    """Corrections attached to a generator; a context manager, with an idempotent `detach`."""

    def __init__(self, G: nn.Module, corrections: Sequence[Correction]):
        """Hook the generator. All that can fail, fails before the first hook is placed."""
        self.corrections = tuple(corrections)
        self._tokens = [uuid.uuid4().hex for _ in self.corrections]
        self._places: list[tuple[dict[int, Any], int]] = []
        plan = [
            (G.get_submodule(name), hook)
            for token, correction in zip(self._tokens, self.corrections)
            for name, hook in _hooks(token, correction)
        ]
        for module, hook in plan:
            self._place(module, hook)
        for module, _ in plan:
            # Nothing of a call may be forgotten before the last of all second passes.
            hooks = module._forward_hooks
            for key in [key for key, hook in hooks.items() if isinstance(hook, standalone.EndHook)]:
                hooks[key] = hooks.pop(key)
        _recompile()

    def _place(self, module: nn.Module, hook: standalone.Hook) -> None:
        key = max([_FIRST_ID, *(taken + 1 for taken in getattr(module, hook.table))])
        for name in (hook.table, *hook.flags):
            table = getattr(module, name)
            table[key] = hook if name == hook.table else True
            self._places.append((table, key))

    def detach(self) -> None:
        """Take the hooks off. Copies made meanwhile stay corrected."""
        if self._places:
            _recompile()
        while self._places:
            hooks, key = self._places.pop()
            hooks.pop(key, None)

    @contextmanager
    def disable(self) -> Iterator[None]:
        """In here the generator runs uncorrected, and its copies that are made in here stay so.

            with attachment.disable():
                before = G(z)

        For all threads; hooks of others stay, and afterwards all have the order that they had.
        """
        ours = {(id(table), key) for table, key in self._places}
        tables = {id(table): (table, list(table.items())) for table, _ in self._places}
        for table, key in self._places:
            table.pop(key, None)
        _recompile()
        try:
            yield
        finally:
            for place, (table, before) in tables.items() if self._places else ():
                kept = [(key, x) for key, x in before if key in table or (place, key) in ours]
                added = [(key, x) for key, x in table.items() if key not in dict(before)]
                table.clear()
                table.update([*kept, *added])
            _recompile()

    def __exit__(self, *exception: object) -> None:
        self.detach()

    @property
    def counts(self) -> list[Count]:
        """Per correction, what was done in this process by the generator and its copies."""
        return [counted(token) for token in self._tokens]

    def summary(self) -> str:
        """One line: what was asked for, where, and how many samples it changed."""
        parts = []
        for correction, count in zip(self.corrections, self.counts):
            numbers = "+".join(layer.number for layer in correction.layers) or "none"
            share = f"{count.corrected} of {count.samples} samples corrected"
            parts.append(f"{correction.text} · layers {numbers} · {share}")
        return "; ".join(parts)

    @property
    def ran(self) -> bool:
        """Whether a layer of any correction ran, in this process."""
        return any(count.runs for count in self.counts)

    def check(self) -> None:
        """Make sure that every correction had a chance to act.

        Raises:
            GanfixError: if none of a correction's layers ever ran in this process. A gate that let
                nobody pass is no failure, nor is a correction without edits (``none``).
        """
        for correction, count in zip(self.corrections, self.counts):
            if correction.layers and not count.runs:
                names = ", ".join(layer.name for layer in correction.layers)
                raise GanfixError(
                    f"{correction.text}: nothing was corrected, because none of its layers "
                    f"({names}) ever ran; is this the generator that the script uses?"
                )


def attached(G: nn.Module) -> list[str]:
    """The canonical specs of the corrections that a generator carries already."""
    corrections = (getattr(hook, "correction", None) for _, _, hook in placed(G))
    return list(dict.fromkeys(c.text for c in corrections if isinstance(c, Correction)))


def baked(G: nn.Module) -> list[str]:
    """What the hooks of a generator out of an exported pickle say about themselves (`export`)."""
    corrections = (getattr(hook, "correction", None) for _, _, hook in placed(G))
    texts = (getattr(correction, "ganfix", None) for correction in corrections)
    return list(dict.fromkeys(text for text in texts if text))


def placed(G: nn.Module) -> Iterator[tuple[dict[int, Any], int, Any]]:
    """Everybody's forward hooks on a generator: the table that each is in, its id, the hook."""
    for module in G.modules():
        tables: tuple[dict[int, Any], ...] = (module._forward_pre_hooks, module._forward_hooks)
        for hooks in tables:
            yield from [(hooks, key, hook) for key, hook in hooks.items()]


def called_corrected(correction: Correction, entry: nn.Module, args: Args, kwargs: Kwargs) -> Call:
    """The arguments of a call of the entry as the hooks of a correction of latents leave them,
    without placing any, or counting it."""
    hooks: list[Any] = [hook for _, hook in _hooks(uuid.uuid4().hex, correction)]
    try:
        with uncounted():
            for hook in hooks:
                if isinstance(hook, (standalone.BeforeHook, standalone.InputHook)):
                    args, kwargs = hook(entry, args, kwargs) or (args, kwargs)
    finally:
        for hook in hooks:
            if isinstance(hook, standalone.EndHook):
                hook(entry, args, None)
    return args, kwargs


def _hooks(token: str, correction: Correction) -> Iterator[tuple[str, standalone.Hook]]:
    """The hooks of a correction, each with the name of the module it goes to."""
    entry, layers, one_pass = correction.entry.name, correction.layers, correction.one_pass
    at_entry = correction.moves or not one_pass or any(layer.of_input for layer in layers)
    of_call = layers and (correction.gate or at_entry)
    for name in correction.inside if layers and at_entry else ():
        yield name, standalone.GuardHook(token, correction, name)
    if of_call:
        yield entry, standalone.BeforeHook(token, correction)
    for layer in () if correction.moves else layers:
        kind = standalone.InputHook if layer.of_input else standalone.LayerHook
        yield layer.name, kind(token, correction, layer)
    if layers and not one_pass:
        yield entry, standalone.AfterHook(token, correction)
    if of_call:
        yield entry, standalone.EndHook(token, correction)


def _recompile() -> None:
    """Drop what torch.compile has captured: it holds the hooks of its time and sees no others."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
