"""A network's ``forward`` called by itself, which no hook sees, is made a call of the network."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType
from typing import Any

import torch
from torch import nn

from ganfix_plugin.hooks.forward import Args, Kwargs
from ganfix_plugin.hooks.standalone import Hook
from ganfix_plugin.hosts.import_hooks import replaced


class _Running(threading.local):
    """The modules that a thread is in a call of."""

    def __init__(self) -> None:
        self.ids = set[int]()


class DirectCalls(ExitStack):
    """Classes of which this holds; theirs is their own ``forward`` again once it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds = set[type]()
        self._running = _Running()

    def take(self, module: nn.Module) -> None:
        """From now on it holds of a module's class, and of those of all containers in it."""
        for kind in {type(inner) for inner in module.modules() if inner._modules} - self._kinds:
            ours: Any = kind
            if kind.__module__.partition(".")[0] != "torch" and type(ours.forward) is FunctionType:
                self._kinds.add(kind)
                self.enter_context(replaced(kind, "forward", self._as_call(ours.forward)))

    def call(self, call: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Call a module, whose ``forward`` this is then."""
        ids = self._running.ids
        if type(module) not in self._kinds or id(module) in ids:
            return call(module, *args, **kwargs)
        ids.add(id(module))
        try:
            return call(module, *args, **kwargs)
        finally:
            ids.discard(id(module))

    def _as_call(self, forward: FunctionType) -> Callable[..., Any]:
        run = self._run

        def called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return run(forward, module, args, kwargs)

        # TorchScript looks up what the source of forward names in the globals of this.
        outside = FunctionType(called.__code__, forward.__globals__, closure=called.__closure__)
        functools.update_wrapper(outside, forward)
        vars(outside)["__signature__"] = inspect.signature(forward)
        return outside

    def _run(
        self, forward: Callable[..., Any], module: nn.Module, args: Args, kwargs: Kwargs
    ) -> Any:
        if torch.compiler.is_compiling() or id(module) in self._running.ids:
            return forward(module, *args, **kwargs)
        hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if not all(isinstance(hook, Hook) for hook in hooks):  # which the script passes by
            return forward(module, *args, **kwargs)
        return module(*args, **kwargs)
