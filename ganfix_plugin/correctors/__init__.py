"""Correctors: from what was measured about a generator to edits of its feature maps.

One file per method. A third party's corrector is a `Corrector` object under an entry point of the
group ``ganfix.correctors``; ``examples/corrector_package`` is a complete one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganfix_plugin import registry
from ganfix_plugin.adapters import Layer
from ganfix_plugin.edits import Edit
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.options import Options
from ganfix_plugin.profiling.profile import Profile


@dataclass(frozen=True)
class Corrector:
    """A method of correction.

    Attributes:
        name: as after ``--correct``.
        help: one line for people.
        options: a frozen dataclass deriving from `Options`; its fields are the keys.
        edits: called with (options, layers, profile) → edits by layer. ``layers`` are the chosen
            ones where the options have a key ``layers``, all of the generator's otherwise.
            ``profile`` holds what ``needs`` names.
        needs: what the profile must hold: "rates" (activation rates of the layers) or nothing.
    """

    name: str
    help: str
    options: type[Options]
    edits: Callable[[Any, Sequence[Layer], Profile | None], Mapping[Layer, Edit]]
    needs: tuple[str, ...] = ()


def load(name: str) -> Corrector:
    """The corrector of that name.

    Raises:
        GanfixError: if there is none, or what stands behind the name is no `Corrector`.
    """
    corrector = registry.load(registry.CORRECTORS, name)
    if not isinstance(corrector, Corrector):
        point = registry.entry(registry.CORRECTORS, name)
        raise GanfixError(
            f"{name}: {point.value} of {registry.origin(point)} is {type(corrector).__name__}, "
            "expected a ganfix_plugin.correctors.Corrector"
        )
    return corrector
