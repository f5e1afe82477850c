"""Notices that a generator got other weights than those that it was measured with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator


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
