"""Notices what runs uncorrected although it was to be corrected.

A run is corrected through the network that its script loads. Scripts may hold others: the raw "G"
of a pickle beside "G_ema", or one that they build anew and copy the weights into.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.attachment import placed
from ganfix_plugin.hooks.standalone import Hook
from ganfix_plugin.hosts.host import WAITS
from ganfix_plugin.hosts.import_hooks import replaced

_WATCHES = "ganfix_watches"


@contextmanager
def uncorrected_refused(generator: Generator, specs: str) -> Iterator[None]:
    """In here, calls of modules of the class of the generator's entry fail in which nothing
    corrects, with a `GanfixError`. Classes of torch itself are not watched."""
    cls: Any = type(generator.G.get_submodule(generator.entry.name))
    call = cls.__call__
    if hasattr(call, _WATCHES) or cls.__module__.partition(".")[0] == "torch":
        yield
        return

    @functools.wraps(call)
    def __call__(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        # Ours, to measure or to compare; or one that `session.build_corrected` will correct now.
        expected = getattr(self, "_ganfix_bare", False) or getattr(self, WAITS, False)
        if not expected and not any(isinstance(hook, Hook) for _, _, hook in placed(self)):
            raise GanfixError(
                f"--correct {specs}: a {cls.__name__} runs uncorrected, which is not the one that "
                "was loaded and corrected: another network, such as the raw G beside G_ema, or a "
                "copy that was built anew; correct it in Python by ganfix_plugin.attach"
            )
        return call(self, *args, **kwargs)

    setattr(__call__, _WATCHES, True)
    with replaced(cls, "__call__", __call__):
        yield


@dataclass(frozen=True)
class Weights:
    """The weights of a generator as they were when it was measured."""

    generator: Generator
    versions: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, generator: Generator) -> Weights:
        """Of a generator, now."""
        return cls(generator, _versions(generator.G))

    def check(self) -> None:
        """Make sure that they were not exchanged; moving them to a device is no exchange.

        Raises:
            GanfixError: if they were.
        """
        if _versions(self.generator.G) != self.versions:
            raise GanfixError(
                f"other weights were loaded into {self.generator.name} after ganfix had measured "
                "and corrected it, so that it was corrected by another network's numbers; load "
                "them before it runs for the first time"
            )


def _versions(G: nn.Module) -> tuple[tuple[int, int], ...]:
    """What changes when weights are written to: torch counts that for each tensor."""
    parameters = (parameter for parameter in G.parameters() if not parameter.is_inference())
    return tuple((id(parameter), parameter._version) for parameter in parameters)
