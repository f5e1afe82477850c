"""The wrapper for hosts whose scripts build a generator first and load its weights later."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ganfix_plugin.hosts.host import Function
from ganfix_plugin.hosts.session import Session


def build_corrected(session: Session, build: Function) -> Function:
    """Scripts load the weights of what they built later, and some run a deep copy of it.

    So the corrections wait on the generator, and on every copy of it, for the first call. A
    forward pre-hook would come too late: torch has then already listed the hooks of this call.
    """
    if not session.run.specs:
        return build

    @functools.wraps(build, updated=())
    def build_generator(*args: Any, **kwargs: Any) -> Any:
        G = build(*args, **kwargs)
        _correct_when_called(type(G), session)
        setattr(G, _WAITS, True)
        return G

    return build_generator


_WAITS = "ganfix_waits"


def _correct_when_called(cls: Any, session: Session) -> None:
    call = cls.__call__
    if hasattr(call, _WAITS):
        return

    @functools.wraps(call)
    def __call__(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, _WAITS, False):
            setattr(self, _WAITS, False)
            session.prepare(self)
        return call(self, *args, **kwargs)

    setattr(__call__, _WAITS, True)
    cls.__call__ = __call__
