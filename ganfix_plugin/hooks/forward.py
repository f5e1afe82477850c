"""Run a generator only as deep as its layers are needed, past everybody's hooks.

Profiling, detection and the gate all look at feature maps of the *uncorrected* generator and never
at its image. They go through `observe`, which costs the time of the layers up to the deepest one.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.layer import Layer

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and the keyword arguments of a call."""

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class _Stop(BaseException):
    """Leaves a forward pass; no `except Exception` of a host may swallow it."""


class _Probe:
    """A forward hook that shows one layer's feature map and ends the pass after the last."""

    def __init__(
        self, layer: Layer, visit: Callable[[Layer, Tensor], None], open: set[str], stop: bool
    ):
        self.layer, self.visit, self.open, self.stop = layer, visit, open, stop

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.layer.name in self.open:
            self.visit(self.layer, self.layer.read(output))
            self.open.discard(self.layer.name)
            if self.stop and not self.open:
                raise _Stop


def device_of(G: nn.Module) -> torch.device:
    """Where a generator's parameters are."""
    return next((tensor.device for tensor in G.parameters()), torch.device("cpu"))


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile(module)`` was made of; any other module is its own."""
    found: nn.Module = getattr(module, "_orig_mod", module)
    return found


def bare(module: nn.Module, keep: tuple[type, ...] = ()) -> nn.Module:
    """A view of a module tree without anyone's hooks, except those of exactly the types ``keep``,
    and not compiled.

    Parameters, buffers and all other attributes are the module's own; only the tree of modules is
    new, so hooks put on the view are seen by no other thread and by nobody's summary. Hooks that
    torch itself uses to compute weights (spectral norm, weight norm) stay.
    """
    seen: dict[int, nn.Module] = {}

    def view(original: nn.Module) -> nn.Module:
        original = uncompiled(original)  # compiled code would run the original's hooks
        if id(original) not in seen:
            copy = object.__new__(type(original))
            copy.__dict__ = {**original.__dict__, "_compiled_call_impl": None}
            seen[id(original)] = copy
            for name in _HOOKS:
                hooks = original.__dict__.get(name)
                if isinstance(hooks, dict):
                    kept = {
                        key: hook
                        for key, hook in hooks.items()
                        if type(hook) in keep or _computes_weights(hook)
                    }
                    copy.__dict__[name] = OrderedDict(kept)
            copy.__dict__["_modules"] = type(original._modules)(
                (name, child if child is None else view(child))
                for name, child in original._modules.items()
            )
        return seen[id(original)]

    return view(module)


def observe(
    root: nn.Module,
    layers: Sequence[Layer],
    visit: Callable[[Layer, Tensor], None],
    call: Callable[[nn.Module], Any],
    to_end: bool = False,
    gradients: bool = False,
) -> Any:
    """Call a hook-free view of ``root`` and show the feature maps of ``layers`` on the way.

    Args:
        root: the module that ``call`` runs; the layers' names are relative to it.
        layers: which layers; the pass ends when each of them has run once.
        visit: called with a layer and its feature map [N, C, H, W], which it must not change.
        call: runs the view, for example ``lambda G: G(z)``.
        to_end: go on to the image instead of ending after the deepest layer.
        gradients: record what gradients with respect to what ``call`` hands in need.

    Returns:
        what ``call`` returned, with ``to_end``.

    Raises:
        GanfixError: if the pass ended before every layer had run.
    """
    view = bare(root)
    open = {layer.name for layer in layers}
    for layer in layers:
        probe = _Probe(layer, visit, open, stop=not to_end)
        view.get_submodule(layer.name).register_forward_hook(probe)
    try:
        with torch.set_grad_enabled(gradients):
            found = call(view)
    except _Stop:
        return None
    if open:
        raise GanfixError(
            f"{type(root).__name__}: layers {', '.join(sorted(open))} never ran in a forward pass; "
            "choose layers that this generator uses"
        )
    return found


def called_with(root: nn.Module, name: str, call: Callable[[nn.Module], Any]) -> Call:
    """What a module of a hook-free view of ``root`` is called with first; the pass ends there.

    Args:
        name: dotted name of the module, "" for the root itself.
        call: runs the view.
    """
    view, calls = bare(root), []

    def take(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))
        raise _Stop

    view.get_submodule(name).register_forward_pre_hook(take, with_kwargs=True)
    with torch.no_grad(), suppress(_Stop):
        call(view)
    return calls[0]


@dataclass(frozen=True)
class RandomState:
    """torch's random state on the CPU and where a module is."""

    states: tuple[tuple[torch.Generator, Tensor], ...]

    def restore(self) -> None:
        """Go back to it."""
        for source, state in self.states:
            source.set_state(state)


def random_state(module: nn.Module) -> RandomState:
    """The random state that a call of a module draws from."""
    return RandomState(tuple((source, source.get_state()) for source in _sources(module)))


@contextmanager
def random_state_kept(module: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Leave torch's random state, on the CPU and where a module is, as it was before.

    With a ``seed``, what is drawn in here starts from it.
    """
    before = random_state(module)
    try:
        if seed is not None:
            for source, _ in before.states:
                source.manual_seed(seed)
        yield
    finally:
        before.restore()


def _sources(module: nn.Module) -> list[torch.Generator]:
    # A replica of DataParallel's has buffers, but its parameters are plain attributes.
    tensors = itertools.chain(module.parameters(), module.buffers())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    sources = [torch.random.default_generator]
    if device.type == "cuda":
        sources.append(torch.cuda.default_generators[device.index])
    elif device.type == "mps":
        sources.append(torch.mps._get_default_mps_generator())
    return sources


def _computes_weights(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils.")
