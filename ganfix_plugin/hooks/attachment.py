"""Corrections attached to a generator, and the life of their hooks.

1. `Attachment` puts the hooks of each correction on modules of the generator: a `LayerHook` on each
   layer, or an `InputHook` where a layer's input is edited; and, where something belongs to a whole
   call (a gate, a second pass), a `BeforeHook`, an `AfterHook` and an `EndHook` on the entry, the
   module that scripts really call. They go into torch's own tables, under ids from 2^62, where its
   counter never comes: that restarts at 0 in every process and would overwrite hooks of lower ids
   in an unpickled generator. What torch.compile has captured is dropped.
2. In a call, `BeforeHook` makes the `CallState` of this call in this thread, with the rows that the
   gate lets pass; the layers are edited; `AfterHook` may run the entry again and choose rows of
   both passes; `EndHook`, the last of the entry's hooks, forgets the state, after failed calls too.
   What is done is counted by token (`counts`).
3. `copy.deepcopy` copies the hooks with the generator; both share the correction, and their counts.
   Pickles hold hooks by module and class, with token and correction. So copies, pickles and spawned
   processes are corrected by themselves; each process keeps its own counts. `export` replaces hooks
   by those of `standalone`, for places without ganfix.
4. `Attachment.detach` takes off what it put there, and only that: hooks of others, hooks of other
   attachments, and copies stay as they are.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.correction import CallState, Correction
from ganfix_plugin.hooks.counts import Count, counted
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import (
    bare,
    first_argument,
    random_state_kept,
    with_first,
)

_FIRST_ID = 1 << 62


class _Calls(threading.local):
    """The state of the calls that run in a thread, by token."""

    def __init__(self) -> None:
        self.states: dict[str, CallState] = {}


_calls = _Calls()


@dataclass
class Hook:
    """What all hooks hold: a correction, and the token of its attachment."""

    token: str
    correction: Correction

    table: ClassVar[str] = "_forward_hooks"
    flags: ClassVar[tuple[str, ...]] = ()

    def _check(self, module: nn.Module) -> None:
        refused = "traced" if torch.jit.is_tracing() else "trained" if module.training else ""
        if refused:
            raise GanfixError(
                f"{self.correction.text}: a corrected generator cannot be {refused}; detach first"
            )


@dataclass
class BeforeHook(Hook):
    """A forward pre-hook on the entry: begins the state of a call."""

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check(module)
        call, gate = CallState(self.token), self.correction.gate
        if gate:
            with random_state_kept(module):
                scores = gate.scorer(module, args, kwargs)
            # On the CPU, where layers can ask how many rows there are without a synchronisation.
            call.rows = (scores > gate.threshold).cpu()
        _calls.states[self.token] = call
        return self.correction.before(call, module, args, kwargs)


@dataclass
class LayerHook(Hook):
    """A forward hook that puts an edited feature map in the place of a layer's own."""

    layer: Layer

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        y = self._edited(module, self.layer.read(output))
        return None if y is None else self.layer.write(output, y)

    def _edited(self, module: nn.Module, x: Tensor) -> Tensor | None:
        self._check(module)
        call = _calls.states.get(self.token) or CallState(self.token)
        return self.correction.at(call, self.layer, x)


@dataclass
class InputHook(LayerHook):
    """A forward pre-hook that edits the first argument of a call: a latent, or a w."""

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        y = self._edited(module, first_argument(module, args, kwargs))
        return None if y is None else with_first(module, args, kwargs, y)


@dataclass
class AfterHook(Hook):
    """A forward hook on the entry: may run it again."""

    flags = ("_forward_hooks_with_kwargs",)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        def again() -> Any:
            # Inputs that are edited, are so in the arguments already.
            return bare(module, keep=(LayerHook,))(*args, **kwargs)

        return self.correction.after(_calls.states[self.token], output, again)


@dataclass
class EndHook(Hook):
    """A forward hook on the entry that ends the state of a call, failed calls included."""

    flags = ("_forward_hooks_always_called",)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        _calls.states.pop(self.token, None)


class Attachment:
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
            _ends_last(module)
        _recompile()

    def _place(self, module: nn.Module, hook: Hook) -> None:
        hooks: dict[int, Any] = getattr(module, hook.table)
        key = max([_FIRST_ID, *(taken + 1 for taken in hooks)])
        hooks[key] = hook
        self._places.append((hooks, key))
        for name in hook.flags:
            # torch 2.0 has no _forward_hooks_always_called.
            flags = getattr(module, name, None)
            if flags is not None:
                flags[key] = True
                self._places.append((flags, key))

    def detach(self) -> None:
        """Take the hooks off. Copies made meanwhile stay corrected."""
        if self._places:
            _recompile()
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
        return [counted(token) for token in self._tokens]

    def summary(self) -> str:
        """One line: what was asked for, where, and how many samples it changed."""
        parts = []
        for correction, count in zip(self.corrections, self.counts):
            numbers = "+".join(layer.number for layer in correction.layers) or "none"
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
            if correction.layers and not count.runs:
                names = ", ".join(layer.name for layer in correction.layers)
                raise GanfixError(
                    f"{correction.text}: nothing was corrected, because none of its layers "
                    f"({names}) ever ran; is this the generator that the script uses?"
                )


def attached(G: nn.Module) -> list[str]:
    """The canonical specs of the corrections that a generator carries already."""
    texts = (hook.correction.text for _, _, hook in placed(G) if isinstance(hook, Hook))
    return list(dict.fromkeys(texts))


def baked(G: nn.Module) -> list[str]:
    """What the hooks of a generator out of an exported pickle say about themselves (`export`)."""
    texts = (getattr(hook, "ganfix", None) for _, _, hook in placed(G))
    return list(dict.fromkeys(text for text in texts if text))


def placed(G: nn.Module) -> Iterator[tuple[dict[int, Any], int, Any]]:
    """Everybody's forward hooks on a generator: the table that each is in, its id, the hook."""
    for module in G.modules():
        tables: tuple[dict[int, Any], ...] = (module._forward_pre_hooks, module._forward_hooks)
        for hooks in tables:
            for key, hook in list(hooks.items()):
                yield hooks, key, hook


def _hooks(token: str, correction: Correction) -> Iterator[tuple[str, Hook]]:
    """The hooks of a correction, each with the name of the module it goes to."""
    entry, layers, one_pass = correction.entry.name, correction.layers, correction.one_pass
    of_call = layers and (correction.gate or correction.moves or not one_pass)
    if of_call:
        yield entry, BeforeHook(token, correction)
    for layer in () if correction.moves else layers:
        kind = InputHook if layer.of_input else LayerHook
        yield layer.name, kind(token, correction, layer)
    if layers and not one_pass:
        yield entry, AfterHook(token, correction)
    if of_call:
        yield entry, EndHook(token, correction)


def _ends_last(module: nn.Module) -> None:
    """Nothing of a call may be forgotten before the last of all second passes."""
    hooks = module._forward_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, EndHook)]:
        hooks[key] = hooks.pop(key)


def _recompile() -> None:
    """Drop what torch.compile has captured: it holds the hooks of its time and sees no others."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
