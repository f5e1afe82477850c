"""Run a generator only as deep as its layers are needed, past everybody's hooks.

Profiling, detection and the gate all look at feature maps of the *uncorrected* generator and never
at its image. They go through `observe`, which costs the time of the layers up to the deepest one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.adapters import Layer
from ganfix_plugin.errors import GanfixError

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

    def __init__(self, layer: Layer, visit: Callable[[Layer, Tensor], None], open: set[str]):
        self.layer, self.visit, self.open = layer, visit, open

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.layer.name in self.open:
            self.visit(self.layer, self.layer.read(output))
            self.open.discard(self.layer.name)
            if not self.open:
                raise _Stop


def bare(module: nn.Module) -> nn.Module:
    """A view of a module tree without anyone's hooks.

    Parameters, buffers and all other attributes are the module's own; only the tree of modules is
    new, so hooks put on the view are seen by no other thread and by nobody's summary. Hooks that
    torch itself uses to compute weights (spectral norm, weight norm) stay.
    """
    seen: dict[int, nn.Module] = {}

    def view(original: nn.Module) -> nn.Module:
        if id(original) not in seen:
            copy = object.__new__(type(original))
            copy.__dict__ = original.__dict__.copy()
            seen[id(original)] = copy
            for name in _HOOKS:
                hooks = original.__dict__.get(name)
                if isinstance(hooks, dict):
                    kept = {k: h for k, h in hooks.items() if _computes_weights(h)}
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
) -> None:
    """Call a hook-free view of ``root`` and show the feature maps of ``layers`` on the way.

    Args:
        root: the module that ``call`` runs; the layers' names are relative to it.
        layers: which layers; the pass ends when each of them has run once.
        visit: called with a layer and its feature map [N, C, H, W], which it must not change.
        call: runs the view, for example ``lambda G: G(z)``; without gradients.

    Raises:
        GanfixError: if the pass ended before every layer had run.
    """
    view = bare(root)
    open = {layer.name for layer in layers}
    for layer in layers:
        view.get_submodule(layer.name).register_forward_hook(_Probe(layer, visit, open))
    try:
        with torch.no_grad():
            call(view)
    except _Stop:
        return
    if open:
        raise GanfixError(
            f"{type(root).__name__}: layers {', '.join(sorted(open))} never ran in a forward pass; "
            "choose layers that this generator uses"
        )


def _computes_weights(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils.")
