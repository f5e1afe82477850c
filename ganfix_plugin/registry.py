"""Everything that can be plugged in, by name, through four entry-point groups.

Built-ins are declared in ``setup.py`` like anyone else's. Only the requested name is imported.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ganfix_plugin.errors import GanfixError

CORRECTORS = "ganfix.correctors"
ADAPTERS = "ganfix.adapters"
HOSTS = "ganfix.hosts"
EXTRACTORS = "ganfix.extractors"

_KINDS = {CORRECTORS: "corrector", ADAPTERS: "adapter", HOSTS: "host", EXTRACTORS: "extractor"}


def names(group: str) -> list[str]:
    """The names declared in a group, sorted."""
    return sorted({entry.name for entry in _declared(tuple(sys.path), group)})


def entry(group: str, name: str) -> EntryPoint:
    """The one entry point of that name.

    Raises:
        GanfixError: if nothing has that name (the available ones are listed), or if two
            distributions declare it (both are named).
    """
    # One distribution seen twice on sys.path (an editable install, say) declares one thing once.
    declared = _declared(tuple(sys.path), group)
    points = {(e.value, origin(e)): e for e in declared if e.name == name}
    if not points:
        available = names(group)
        close = difflib.get_close_matches(name, available, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise GanfixError(
            f"{name}: unknown {_KINDS[group]}{hint}; available: {', '.join(available) or 'none'}"
        )
    if len(points) > 1:
        sources = " and ".join(sorted(source for _, source in points))
        raise GanfixError(f"{name}: {_KINDS[group]} declared by {sources}; uninstall one of them")
    return next(iter(points.values()))


@functools.cache
def _declared(path: tuple[str, ...], group: str) -> tuple[EntryPoint, ...]:
    """Kept, because every look through the metadata of all distributions takes a while."""
    return tuple(entry_points(group=group))


def load(group: str, name: str) -> Any:
    """Import what stands behind a name.

    Raises:
        GanfixError: as `entry`, and if the import fails (the distribution is named).
    """
    point = entry(group, name)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        what = f"the {_KINDS[group]} of {origin(point)}"
        message = f"{name}: {what} cannot be imported from {point.value}: {error}"
        raise GanfixError(message) from error


def import_callable(name: str, what: str) -> Callable[..., Any]:
    """What ``module:callable`` names; ``what`` it is for stands in the errors.

    Raises:
        GanfixError: if it cannot be imported or called.
    """
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise GanfixError(f"{what} {name}: cannot be imported: {error}") from error
    if not callable(function):
        raise GanfixError(f"{what} {name}: is {type(function).__name__}, expected a callable")
    return function


def origin(point: EntryPoint) -> str:
    """The distribution that declares an entry point, as ``name version``."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
