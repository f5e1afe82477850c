"""Act on a module as soon as it has been imported, or stand in for one that is missing."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from types import ModuleType
from typing import Any

Act = Callable[[ModuleType], None]

_NOTHING = object()


class _Watcher(importlib.abc.MetaPathFinder):
    """Lets the other finders find a module, and acts on it once its own code has run."""

    def __init__(self, name: str, act: Act):
        self.name, self.act = name, act

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        # Several watchers of one module each ask those behind them, so that all of them act.
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in behind)
        spec = next((spec for spec in specs if spec), None)
        loader: Any = spec and spec.loader
        if loader:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                loader.exec_module = run
                run(module)
                self.act(module)

            loader.exec_module = exec_module
        return spec


@contextmanager
def when_imported(name: str, act: Act) -> Iterator[None]:
    """Inside, call ``act`` with a module as soon as it is imported; now, if it is already.

    An exception in ``act`` fails the import.
    """
    watcher = _Watcher(name, act)
    if name in sys.modules:
        act(sys.modules[name])
    sys.meta_path.insert(0, watcher)
    try:
        yield
    finally:
        sys.meta_path.remove(watcher)


@contextmanager
def stand_in(name: str, **members: Any) -> Iterator[None]:
    """Inside, a module of that name can be imported and has these members."""
    module = ModuleType(name, "Stands in for a module that is not installed (ganfix).")
    vars(module).update(members)
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules.pop(name, None)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Inside, ``owner.name`` is ``value``, whether or not there was such a name before."""
    before = getattr(owner, name, _NOTHING)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is _NOTHING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def wrapped_when_imported(
    module_name: str, function: str, wrap: Callable[[Any], Any]
) -> Iterator[None]:
    """Inside, a function of a module is replaced, from its import on, by what ``wrap`` returns
    for it; dots in its name lead to an attribute of something in the module."""
    *parents, name = function.split(".")
    with ExitStack() as stack:

        def act(module: ModuleType) -> None:
            owner: Any = functools.reduce(getattr, parents, module)
            stack.enter_context(replaced(owner, name, wrap(getattr(owner, name))))

        stack.enter_context(when_imported(module_name, act))
        yield


def installed(name: str) -> bool:
    """Whether a module can be found on the path; neither it nor its parents are imported."""
    path: Sequence[str] | None = None
    for parent in accumulate(name.split("."), "{}.{}".format):
        spec = importlib.machinery.PathFinder.find_spec(parent, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations or ()
    return True
