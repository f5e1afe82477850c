"""What runs where ganfix is not installed: a corrected network pickle carries this source.

So it imports only torch and the standard library, as does `layer`. Hooks are the same in a pickle
as those that `attach` places, with a `Baked` for their correction, which keeps no counts.

- [C22]: Choi, Chang, Choi, IJCAI 2022.
- [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

# --- edits


class Edit(Protocol):
    """What can be done to a feature map, or to a latent: a pure function of it [N, C, H, W].

    Out of place, the same shape, dtype, strides and device, no random numbers, no state, each row
    by itself. The edits here compare by identity and are never copied: a deep copy of a generator
    shares them with the original.
    """

    def __call__(self, x: Tensor) -> Tensor: ...


class Shared:
    """Copying it gives itself, since nothing in it ever changes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


@dataclass(frozen=True, eq=False)
class Cap(Shared):
    """Zero the *activated* ones among some neurons: x ← min(x, 0) there ([C22], Algorithm 1).

    Negative values stay (a negative zero may lose its sign), NaN stays NaN, and all other neurons
    stay bit for bit.

    Args:
        neurons: bool [C, H, W], true at the neurons to ablate.
    """

    neurons: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(max=constant(self, x, _cap))

    def __getstate__(self) -> dict[str, Any]:
        # Kept with the edit: what a spawned process gets must live until it has started.
        return {"neurons": constant(self, self.neurons, _packed)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(neurons=unpack(*state["neurons"]))


@dataclass(frozen=True, eq=False)
class Scale(Shared):
    """Multiply units by a factor: x_u ← factor_u · x_u ([T21], Algorithm 1; 0 ablates a unit).

    Args:
        factor: float [C], one per unit, or [N, C], one per sample and unit; 1 leaves a unit bit
            for bit as it is.
    """

    factor: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x * constant(self, x, _factor)


@dataclass(frozen=True, eq=False)
class Truncate(Shared):
    """Truncation: pull a latent towards the mean one, x ← mean + psi · (x − mean).

    Args:
        mean: like one latent, or one that broadcasts.
        psi: 1 leaves a latent as it is, 0 makes it the mean.
    """

    mean: Tensor
    psi: float

    def __call__(self, x: Tensor) -> Tensor:
        return constant(self, x, _mean).lerp(x, self.psi)


def _packed(edit: Cap, x: Tensor) -> Any:
    return pack(edit.neurons)


def _cap(edit: Cap, x: Tensor) -> Tensor:
    cap = torch.full(edit.neurons.shape, float("inf")).masked_fill_(edit.neurons, 0)
    cap = cap.to(x.device, x.dtype)
    # A cap in the feature map's own memory order keeps the elementwise kernel vectorised.
    if _channels_last(x):
        return cap[None].contiguous(memory_format=torch.channels_last)
    return cap


def _factor(edit: Scale, x: Tensor) -> Tensor:
    # A copy, because a factor made under inference_mode could not be used by autograd.
    return edit.factor.to(x.device, x.dtype, copy=True)[..., None, None]


def _mean(edit: Truncate, x: Tensor) -> Tensor:
    return edit.mean.to(x.device, x.dtype, copy=True)


# What an edit needs on a device is derived once and dropped with the edit; keeping it here leaves
# the edits themselves free of state, so that they pickle to their definition and no more.
_CONSTANTS: Any = weakref.WeakKeyDictionary()
# Where an exported network is opened, PyTorch may be older than 2.3.
_compiling = getattr(getattr(torch, "compiler", None), "is_compiling", bool)


def constant(edit: Any, x: Tensor, build: Callable[[Any, Tensor], Any]) -> Any:
    """``build(edit, x)``, which depends on the device, type and memory format of x only."""
    if _compiling():
        return build(edit, x)  # a graph must not depend on what happens to be kept
    key = (build, x.device, x.dtype, _channels_last(x))
    kept = _CONSTANTS.setdefault(edit, {})
    if key not in kept:
        # A constant first built under inference_mode could not be used by autograd later.
        with torch.inference_mode(False), torch.no_grad():
            kept[key] = build(edit, x)
    return kept[key]


def _channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def pack(neurons: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Eight neurons of a bool tensor to a byte, uint8 [ceil(numel / 8)], and its shape."""
    flat = neurons.flatten().to(torch.uint8)
    flat = torch.cat([flat, flat.new_zeros(-len(flat) % 8)]).view(-1, 8)
    return (flat * _bits(flat)).sum(dim=1, dtype=torch.uint8), tuple(neurons.shape)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bool tensor of that shape that was packed."""
    flat = (packed[:, None] & _bits(packed)).ne(0).flatten()
    return flat[: torch.Size(shape).numel()].view(shape)


def _bits(like: Tensor) -> Tensor:
    return 2 ** torch.arange(8, dtype=torch.uint8, device=like.device)


# --- rows and arguments of a call


def edited(edit: Edit, x: Tensor, strength: float, weights: Tensor | None) -> Tensor | None:
    """x [N, …], edited with some strength from 0 to 1, that of each row times its weight ([N], on
    the CPU; None are all 1). None where nothing changes."""
    mix = getattr(edit, "mix", torch.lerp)
    if not strength or (weights is not None and not weights.any()):
        return None
    y = edit(x)
    if weights is not None:
        return blended(x, y, strength * weights, mix)
    return y if strength == 1 else mix(x, y, strength)


def blended(
    x: Tensor, y: Tensor, amounts: Tensor, mix: Callable[..., Tensor] = torch.lerp
) -> Tensor:
    """x [N, …] in rows of an amount of 0, y in those of 1, both bit for bit, and in all others
    ``mix(x, y, amount)``; amounts are [N], on the CPU."""
    partly = (amounts > 0) & (amounts < 1)
    if partly.any():
        y = where(partly, mix(x, y, rows_like(amounts, x)), y)
    return y if amounts.all() else where(amounts > 0, y, x)


def spread(weights: Tensor | None, rows: int) -> Tensor | None:
    """The weights of latents [N] as those of so many rows, of which each latent may have several;
    None where they do not fit."""
    if weights is None or len(weights) == rows:
        return weights
    each, rest = divmod(rows, max(len(weights), 1))
    return weights.repeat_interleave(each) if len(weights) and not rest else None


def rows_like(values: Tensor, x: Tensor) -> Tensor:
    """A number for each row [N], in a shape that multiplies x [N, …]."""
    return values.to(x).view(-1, *(1,) * (x.dim() - 1))


def where(rows: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``y`` at some rows, ``x`` at the others, bit for bit."""
    return torch.where(rows.to(x.device).view(-1, *(1,) * (x.dim() - 1)), y, x)


def first_argument(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a module is called with first: a latent, or a w."""
    return args[0] if args else kwargs[_first_name(module, kwargs)]


def with_first(module: nn.Module, args: Any, kwargs: Any, x: Any) -> tuple[Any, Any]:
    """The arguments of a call with another first one."""
    if args:
        return (x, *args[1:]), kwargs
    return args, {**kwargs, _first_name(module, kwargs): x}


def _first_name(module: nn.Module, kwargs: Mapping[str, Any]) -> str:
    # By the declaration, whatever the order in which they were given.
    declared = inspect.signature(module.forward).parameters
    return next(name for name in (*declared, *kwargs) if name in kwargs)


# --- passes beside everybody's hooks


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile(module)`` was made of; any other module is its own."""
    original: nn.Module = getattr(module, "_orig_mod", module)
    return original


def bare(module: nn.Module, keep: tuple[type, ...] = ()) -> nn.Module:
    """A view of a module tree without anyone's hooks, except those of exactly the types ``keep``,
    and not compiled.

    Parameters, buffers and all other attributes are the module's own; only the tree of modules is
    new, so hooks put on the view are seen by no other thread and by nobody's summary. Hooks that
    compute weights (spectral norm, weight norm, an equalised learning rate) stay. A module in
    training mode has copies of its buffers in the view, as its calls may change them.
    """
    return _view(module, keep, {})


# Not a function in `bare`, which would hold itself and all views until Python looks for garbage.
def _view(original: nn.Module, keep: tuple[type, ...], views: dict[int, nn.Module]) -> nn.Module:
    original = uncompiled(original)  # compiled code would run the original's hooks
    if id(original) not in views:
        copy = views[id(original)] = object.__new__(type(original))
        vars(copy).update(vars(original), _compiled_call_impl=None, _ganfix_bare=True)
        for name, value in vars(original).items():
            if isinstance(value, MethodType) and value.__self__ is original:
                vars(copy)[name] = MethodType(value.__func__, copy)  # else it runs the original
        for name, hooks in vars(original).items():
            if "_hooks" in name and name.startswith(("_forward", "_backward")):
                stays = ((key, hook) for key, hook in hooks.items() if _stays(hook, original, keep))
                vars(copy)[name] = OrderedDict(stays)
        if original.training:
            held = ((name, x if x is None else x.clone()) for name, x in original._buffers.items())
            vars(copy)["_buffers"] = type(original._buffers)(held)
        vars(copy)["_modules"] = type(original._modules)(
            (name, child if child is None else _view(child, keep, views))
            for name, child in original._modules.items()
        )
    return views[id(original)]


def _stays(hook: Any, owner: nn.Module, keep: tuple[type, ...]) -> bool:
    own = type(hook).__module__.startswith("torch.nn.utils.")
    return type(hook) in keep or own or computes_weight(hook, owner)


def computes_weight(hook: Any, module: nn.Module) -> bool:
    """Whether a hook makes a module's weight of a parameter before each call, as torch's own do:
    it has the weight's ``name``, and the parameter is ``name_orig``."""
    name = getattr(hook, "name", None)
    return (
        isinstance(name, str)
        and name not in module._parameters
        and (f"{name}_orig" in module._parameters)
    )


class Stop(BaseException):
    """Leaves a forward pass; no `except Exception` of a host may swallow it."""


def shown(
    root: nn.Module,
    names: Collection[str],
    visit: Callable[[str, Any], None],
    call: Callable[[nn.Module], Any],
    to_end: bool = False,
) -> tuple[Any, set[str]]:
    """Call a hook-free view of a module and show what modules in it return, by name, once each.

    The call ends after the last of them, unless ``to_end``. Returns what it returned, or None, and
    the names that never ran.
    """
    view, left = bare(root), set(names)

    def show(name: str, module: nn.Module, args: Any, output: Any) -> None:
        if name in left:
            visit(name, output)
            left.discard(name)
            if not (left or to_end):
                raise Stop

    for name in names:
        view.get_submodule(name).register_forward_hook(functools.partial(show, name))
    try:
        return call(view), left
    except Stop:
        return None, left


def random_state(module: nn.Module) -> list[tuple[torch.Generator, Tensor]]:
    """torch's random state on the CPU and where a module is, from which a call of it draws."""
    # A replica of DataParallel's has buffers, but its parameters are plain attributes.
    tensors = itertools.chain(module.parameters(), module.buffers())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    sources = [torch.random.default_generator]
    if device.type == "cuda":
        sources.append(torch.cuda.default_generators[device.index])
    elif device.type == "mps":
        sources.append(torch.mps._get_default_mps_generator())
    return [(source, source.get_state()) for source in sources]


def restore(state: list[tuple[torch.Generator, Tensor]]) -> None:
    """Go back to a random state."""
    for source, before in state:
        source.set_state(before)


@contextmanager
def random_state_kept(module: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Leave torch's random state, on the CPU and where a module is, as it was before.

    With a ``seed``, what is drawn in here starts from it.
    """
    before = random_state(module)
    try:
        if seed is not None:
            for source, _ in before:
                source.manual_seed(seed)
        yield
    finally:
        restore(before)


# --- hooks


@dataclass
class CallState:
    """What belongs to one call of an entry, in one thread and for one correction."""

    token: str
    # By how much each row is corrected, float [N] from 0 to 1 on the CPU, as far as a gate or a
    # first pass says; None where none does.
    weights: Tensor | None = None
    # Of second passes: the random state that the entry started from; while the first runs, what it
    # leaves for the decision, by layer name; while the second runs, its edits, by layer.
    start: list[tuple[torch.Generator, Tensor]] = field(default_factory=list)
    kept: dict[str, Tensor] | None = None
    second: Mapping[Any, Edit] = field(default_factory=dict)


class _Calls(threading.local):
    def __init__(self) -> None:
        self.states: dict[str, CallState] = {}


_calls = _Calls()  # that run in a thread, by token


@dataclass
class Hook:
    """What all hooks hold: a `Correction` or a `Baked`, and the token of its attachment."""

    token: str
    correction: Any

    table: ClassVar[str] = "_forward_hooks"
    flags: ClassVar[tuple[str, ...]] = ()


class BeforeHook(Hook):
    """A forward pre-hook on the entry: begins the state of a call."""

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> Any:
        if kwargs is None:
            raise RuntimeError("ganfix: this gated correction needs PyTorch 2.0 or later")
        self.correction.check(module)
        call, gate = CallState(self.token), self.correction.gate
        if gate:
            with random_state_kept(module):
                scores = gate.scorer(module, args, kwargs)
            # On the CPU, where layers can ask how many rows there are without a synchronisation.
            call.weights = gate.weights(scores).cpu()
        _calls.states[self.token] = call
        return self.correction.before(call, module, args, kwargs)


@dataclass
class LayerHook(Hook):
    """A forward hook that puts an edited feature map in the place of a layer's own."""

    layer: Any

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        y = self._edited(module, self.layer.read(output))
        return None if y is None else self.layer.write(output, y)

    def _edited(self, module: nn.Module, x: Tensor) -> Tensor | None:
        self.correction.check(module)
        call = _calls.states.get(self.token) or CallState(self.token)
        y: Tensor | None = self.correction.at(call, self.layer, x)
        return y


class InputHook(LayerHook):
    """A forward pre-hook that edits the first argument of a call: a latent, or a w."""

    table = "_forward_pre_hooks"
    flags = ("_forward_pre_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        y = self._edited(module, first_argument(module, args, kwargs))
        return None if y is None else with_first(module, args, kwargs, y)


class AfterHook(Hook):
    """A forward hook on the entry: may run it again."""

    flags = ("_forward_hooks_with_kwargs",)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        def again() -> Any:
            # Inputs that are edited, are so in the arguments already.
            return bare(module, keep=(LayerHook,))(*args, **kwargs)

        return self.correction.after(_calls.states[self.token], output, again)


class EndHook(Hook):
    """A forward hook on the entry that ends the state of a call, failed calls included."""

    flags = ("_forward_hooks_always_called",)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        _calls.states.pop(self.token, None)


@dataclass
class GuardHook(Hook):
    """A forward pre-hook on a layer inside the entry, where nothing is edited: refuses to run where
    the hooks of the entry, which are what corrects, were passed by."""

    name: str

    table = "_forward_pre_hooks"

    def __call__(self, module: nn.Module, args: Any) -> None:
        if self.token not in _calls.states:
            raise self.correction.missed(self.name)


# --- what stands for a correction in a pickle


@dataclass(frozen=True)
class Gated:
    """Correct only rows whose score exceeds a threshold, or by as much as it does.

    Attributes:
        scorer: from the entry and the arguments of a call to float or int [N]; it must leave the
            module as it is. Random state is restored after it, so that the corrected pass draws the
            noise that was scored.
        threshold: rows with a greater score are corrected.
        full: by all of it from this score on, and in between by as much as the score lies there; a
            gate is hard where this is not above the threshold.
    """

    scorer: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]
    threshold: float
    full: float

    def weights(self, scores: Tensor) -> Tensor:
        """By how much rows of some scores [N] are corrected: float32 [N] from 0 to 1."""
        passing = (scores > self.threshold).float()
        if self.full <= self.threshold:
            return passing
        place = (scores.float() - self.threshold) / (self.full - self.threshold)
        return place.clamp(max=1).where(passing > 0, passing)


@dataclass(frozen=True, eq=False)
class Baked(Shared):
    """The correction of one hook: the edit of its layer, or on the entry of the latent, and the
    gate of all layers."""

    ganfix: str  # what was baked in, as `exports.About` writes it
    edit: Edit | None
    gate: Gated | None
    strength: float

    def check(self, module: nn.Module) -> None:
        if module.training:
            raise RuntimeError("ganfix: a corrected generator cannot be trained")
        if self.gate and torch.jit.is_tracing():
            raise RuntimeError("ganfix: a generator with a gated correction cannot be traced")

    def missed(self, name: str) -> RuntimeError:
        """Layer ``name`` ran outside a call of the entry."""
        return RuntimeError(
            f"ganfix: layer {name} ran outside a call that the correction has seen; call the "
            "generator or its synthesis as a whole"
        )

    def before(self, call: CallState, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """The arguments of a call with its latent moved, or None."""
        if not self.edit:
            return None
        x = first_argument(module, args, kwargs)
        y = edited(self.edit, x, self.strength, call.weights)
        return None if y is None else with_first(module, args, kwargs, y)

    def at(self, call: CallState, layer: Any, x: Tensor) -> Tensor | None:
        weights = spread(call.weights, len(x))
        if self.gate and weights is None:
            raise self.missed(layer.name)
        return edited(self.edit, x, self.strength, weights) if self.edit else None


@dataclass(frozen=True, eq=False)
class LowRateCount(Shared):
    """Counts the activated low-rate neurons of each sample: those of a `Cap`, by layer name."""

    caps: dict[str, Cap]

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Tensor:
        counts: list[Tensor] = []

        def count(name: str, x: Tensor) -> None:
            active = (x > 0) & self.caps[name].neurons.to(x.device)
            counts.append(active.sum(dim=(1, 2, 3), dtype=torch.int32))

        with torch.no_grad():
            shown(module, self.caps, count, lambda view: view(*args, **kwargs))
        return torch.stack(counts).sum(dim=0, dtype=torch.int32)


@dataclass(frozen=True, eq=False)
class InputScore(Shared):
    """A probe's score of each sample by its latent, which the module is called with first: weight ·
    z + bias, or of the mean of its ws [N, …, d]."""

    weight: Tensor
    bias: float
    styled: bool

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Tensor:
        v = first_argument(module, args, kwargs).detach().float()
        v = v.flatten(1, -2).mean(dim=1) if self.styled and v.dim() > 2 else v.flatten(1)
        score: Tensor = v @ self.weight.to(v) + self.bias
        return score


@dataclass(frozen=True, eq=False)
class UnitScore(Shared):
    """A probe's score of each sample: weight · means + bias, of the mean positive activation of
    each unit of some layers.

    Args:
        names: of the layers, in the order of the weights [units of all layers].
        quiet: arguments of a call with constant noise and kernels that are not fused.
        kinds: of content, within which scores are standardised: what tells each from the means [K,
            units] and [K], and location and spread of its scores [K]; none to leave them as they
            are.
    """

    names: tuple[str, ...]
    weight: Tensor
    bias: float
    quiet: dict[str, Any]
    kinds: tuple[Tensor, ...] = ()

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Tensor:
        means: dict[str, Tensor] = {}

        def add(name: str, x: Tensor) -> None:
            means[name] = x.float().relu().mean(dim=(2, 3))

        with torch.no_grad():
            shown(module, self.names, add, lambda view: view(*args, **{**kwargs, **self.quiet}))
        means_of_all = torch.cat([means[name] for name in self.names], dim=1)
        score = means_of_all @ self.weight.to(means_of_all) + self.bias
        if not self.kinds:
            return score
        ways, biases, offsets, spreads = (x.to(means_of_all) for x in self.kinds)
        nearest = (means_of_all @ ways.T + biases).argmax(dim=1)
        return (score - offsets[nearest]) / spreads[nearest]
