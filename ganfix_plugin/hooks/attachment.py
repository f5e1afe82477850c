"""Edits on the layers of a generator: on, off, counted, picklable.

Nothing here knows a paper or a host. A correction is a set of edits by layer, with an optional
gate that decides per sample; the scorer behind the gate is handed in. Hooks are instances of
module-level classes that hold only what defines them, so that they survive `copy.deepcopy`,
pickling and spawned processes, and work in every copy of the generator by themselves.
"""

from __future__ import annotations

import inspect
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.edits import Edit
from ganfix_plugin.hooks.forward import RandomState, bare, random_state, random_state_kept
from ganfix_plugin.hooks.layer import Layer

# Ids of hooks restart at 0 in every process: an unpickled hook with such an id would be overwritten
# by the next registration on its layer. Ours start where torch's counter never comes.
_FIRST_ID = 1 << 62

Scorer = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]


@dataclass(frozen=True)
class Gated:
    """Correct only rows whose score exceeds a threshold.

    Attributes:
        scorer: from the entry and the arguments of a call to float or int [N]; it must leave the
            module as it is. Random state is restored after it, so that the corrected pass draws the
            noise that was scored.
        threshold: rows with a greater score are corrected.
    """

    scorer: Scorer
    threshold: float


class SecondPass(Protocol):
    """Looks at a first, uncorrected pass and decides how to correct each sample in a second one.

    A frozen, picklable object.
    """

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers whose feature maps it looks at, and which it may edit."""

    def keep(self, layer: Layer, x: Tensor) -> Tensor:
        """What must be kept of a feature map [N, C, H, W]; a tensor that nobody else changes."""

    def decide(
        self, images: Tensor, kept: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[Layer, Edit]]:
        """From images [N, C, H, W] and what was kept, by layer name: the rows to correct, bool [N],
        and the edits of the second pass, which must leave all other rows as they are."""


@dataclass(frozen=True)
class Correction:
    """What one ``--correct`` comes to on one generator.

    Attributes:
        text: its canonical spec.
        entry: the module that scripts really call, and where the image is in what it returns.
        edits: by layer, the same for every sample, or a `SecondPass`.
        gate: None corrects every sample.
        profile: which measurements it was made from; empty if from none.
    """

    text: str
    entry: Layer
    edits: Mapping[Layer, Edit] | SecondPass
    gate: Gated | None = None
    profile: str = ""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are edited."""
        return tuple(self.edits) if isinstance(self.edits, Mapping) else self.edits.layers


@dataclass
class Count:
    """What a correction did in this process."""

    runs: int = 0
    samples: int = 0
    corrected: int = 0


_counts: dict[str, Count] = {}
_counting = threading.Lock()


class _Local(threading.local):
    """What belongs to one call in one thread, by correction."""

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {}  # which rows the gate lets pass
        self.kept: dict[str, dict[str, Tensor]] = {}  # of the first pass, while it runs
        self.states: dict[str, RandomState] = {}  # random state before the first pass
        self.second: dict[str, tuple[Tensor, Mapping[str, Edit]]] = {}  # rows and edits of a second
        self.uncounted = False


_local = _Local()


@dataclass
class _Hook:
    """What all hooks hold: which correction, by a token for this attachment and by its text."""

    token: str
    text: str

    table: ClassVar[str] = "_forward_hooks"
    flags: ClassVar[tuple[str, ...]] = ()

    def _usable(self, module: nn.Module) -> None:
        if torch.jit.is_tracing():
            raise GanfixError(f"{self.text}: a corrected generator cannot be traced; detach first")
        if module.training:
            raise GanfixError(f"{self.text}: a corrected generator cannot be trained; detach first")

    def _count(self, runs: int = 0, samples: int = 0, corrected: int = 0) -> None:
        if _local.uncounted:
            return
        with _counting:
            count = _counts.get(self.token) or _counts.setdefault(self.token, Count())
            count.runs += runs
            count.samples += samples
            count.corrected += corrected


@dataclass
class EditHook(_Hook):
    """A forward hook that puts an edited feature map in the place of a layer's own."""

    layer: Layer
    edit: Edit
    first: bool
    gated: bool

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        y = self._edited(module, self.layer.read(output))
        return None if y is None else self.layer.write(output, y)

    def _edited(self, module: nn.Module, x: Tensor) -> Tensor | None:
        self._usable(module)
        n = len(x)
        rows = self._rows(n)
        corrected = n if rows is None else int(rows.sum())
        self._count(1, n if self.first else 0, corrected if self.first else 0)
        if not corrected:
            return None
        y = self.edit(x)
        return y if rows is None or corrected == n else _where(rows, y, x)

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


@dataclass
class InputEditHook(EditHook):
    """A forward pre-hook that edits the first argument of a call: a latent, or a w."""

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = None if args else _first_argument(module, kwargs)
        y = self._edited(module, args[0] if key is None else kwargs[key])
        if y is None:
            return None
        return ((y, *args[1:]), kwargs) if key is None else (args, {**kwargs, key: y})


@dataclass
class GateHook(_Hook):
    """A forward pre-hook that scores the samples of a call before it runs."""

    gate: Gated

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with random_state_kept(module):
            scores = self.gate.scorer(module, args, kwargs)
        # On the CPU, where every layer can ask how many rows there are without a synchronisation.
        _local.rows[self.token] = (scores > self.gate.threshold).cpu()


@dataclass
class EndHook(_Hook):
    """A forward hook that forgets what belongs to a call after it, failed calls included."""

    flags = ("_forward_hooks_always_called",)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        for kept in (_local.rows, _local.kept, _local.states, _local.second):
            kept.pop(self.token, None)


@dataclass
class FirstPassHook(_Hook):
    """A forward pre-hook that remembers the random state from which a second pass must start."""

    table = "_forward_pre_hooks"

    def __call__(self, module: nn.Module, args: Any) -> None:
        self._usable(module)
        _local.states[self.token] = random_state(module)
        _local.second.pop(self.token, None)
        _local.kept[self.token] = {}


@dataclass
class SampleHook(_Hook):
    """A forward hook on a layer: keeps of the first pass what is needed, edits the second."""

    layer: Layer
    passes: SecondPass

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self.token in _local.kept:
            x = self.layer.read(output)
            _local.kept[self.token][self.layer.name] = self.passes.keep(self.layer, x.detach())
            return None
        rows, edits = _local.second.get(self.token, (None, {}))
        if rows is None or self.layer.name not in edits:
            return None
        x = self.layer.read(output)
        return self.layer.write(output, _where(rows, edits[self.layer.name](x), x))


@dataclass
class SecondPassHook(_Hook):
    """A forward hook on the entry that runs it again where the first pass shows an artifact.

    Hosts draw noise per batch, so the whole batch runs again from the same random state, and the
    rows are chosen afterwards. Hooks of other people see the first pass only.
    """

    entry: Layer
    passes: SecondPass
    gated: bool

    flags = ("_forward_hooks_with_kwargs",)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        images = self.entry.read(output)
        if images.requires_grad:
            raise GanfixError(
                f"{self.text}: cannot run under gradients, since it decides by looking at images; "
                "use torch.no_grad(), or a corrector of one pass"
            )
        kept = _local.kept.pop(self.token)
        rows, edits = self.passes.decide(images, kept)
        rows = rows.cpu()
        if self.gated:
            rows = rows & _local.rows[self.token]
        self._count(1, len(images), int(rows.sum()))
        if not rows.any():
            return None
        _local.second[self.token] = (rows, {layer.name: edit for layer, edit in edits.items()})
        _local.states[self.token].restore()
        # Edits of the input are in the arguments already.
        with torch.no_grad(), uncounted():
            again = bare(module, keep=(EditHook, SampleHook))(*args, **kwargs)
        return self.entry.write(output, _where(rows, self.entry.read(again), images))


def _first_argument(module: nn.Module, kwargs: dict[str, Any]) -> str:
    """The name of a call's first argument, whatever the order in which they were given."""
    declared = inspect.signature(module.forward).parameters
    return next(name for name in (*declared, *kwargs) if name in kwargs)


def _ends_last(module: nn.Module) -> None:
    """Nothing of a call may be forgotten before the last of all second passes."""
    hooks = module._forward_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, EndHook)]:
        hooks[key] = hooks.pop(key)


def _where(rows: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``y`` at some rows, ``x`` at the others, bit for bit."""
    return torch.where(rows.to(x.device).view(-1, *(1,) * (x.dim() - 1)), y, x)


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

    def _place(self, module: nn.Module, hook: _Hook) -> None:
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
        return [_counts.get(token, Count()) for token in self._tokens]

    def summary(self) -> str:
        """One line: what was asked for, where, and how many samples it changed."""
        parts = []
        for correction, count in zip(self.corrections, self.counts):
            numbers = "+".join(str(layer.index) for layer in correction.layers) or "none"
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


def _recompile() -> None:
    """Drop what torch.compile has captured: it holds the hooks of its time and sees no others."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def process_counts() -> dict[str, dict[str, int]]:
    """What every correction did in this process, by token: for a process that adds them up."""
    with _counting:
        return {token: asdict(count) for token, count in _counts.items()}


def add_counts(more: Mapping[str, Mapping[str, int]]) -> None:
    """Add what another process counted to the counts of this one."""
    with _counting:
        for token, numbers in more.items():
            count = _counts.setdefault(token, Count())
            for name, number in numbers.items():
                setattr(count, name, getattr(count, name) + number)


def attached(G: nn.Module) -> list[str]:
    """The canonical specs of the corrections that a generator carries already."""
    texts = (hook.text for _, _, hook in placed(G) if isinstance(hook, _Hook))
    return list(dict.fromkeys(texts))


def baked(G: nn.Module) -> list[str]:
    """What the hooks of a generator out of an exported pickle say about themselves (`carried`)."""
    texts = (getattr(hook, "ganfix", None) for _, _, hook in placed(G))
    return list(dict.fromkeys(text for text in texts if text))


def placed(G: nn.Module) -> Iterator[tuple[dict[int, Any], int, Any]]:
    """Everybody's forward hooks on a generator: the table that each is in, its id, the hook."""
    for module in G.modules():
        tables: tuple[dict[int, Any], ...] = (module._forward_pre_hooks, module._forward_hooks)
        for hooks in tables:
            for key, hook in list(hooks.items()):
                yield hooks, key, hook


def _hooks(token: str, correction: Correction) -> Iterator[tuple[str, _Hook]]:
    """The hooks of a correction, each with the name of the module it goes to."""
    if not correction.layers:
        return
    text, entry, edits = correction.text, correction.entry, correction.edits
    gated = correction.gate is not None
    if correction.gate:
        yield entry.name, GateHook(token, text, correction.gate)
    if isinstance(edits, Mapping):
        for place, (layer, edit) in enumerate(edits.items()):
            kind = InputEditHook if layer.of_input else EditHook
            yield layer.name, kind(token, text, layer, edit, place == 0, gated)
    else:
        yield entry.name, FirstPassHook(token, text)
        for layer in edits.layers:
            yield layer.name, SampleHook(token, text, layer, edits)
        yield entry.name, SecondPassHook(token, text, entry, edits, gated)
    if gated or not isinstance(edits, Mapping):
        yield entry.name, EndHook(token, text)


@contextmanager
def uncounted() -> Iterator[None]:
    """Passes in here do not count as use: module summaries, warm-ups."""
    before, _local.uncounted = _local.uncounted, True
    try:
        yield
    finally:
        _local.uncounted = before
