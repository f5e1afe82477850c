"""From the text after ``--correct`` to a corrector with checked options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganfix_plugin import spec as options
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.correctors.corrector import Corrector
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.profiling.profile import Profile
from ganfix_plugin.spec import CorrectionSpec, Options

BUNDLE = ".safetensors"


@dataclass(frozen=True)
class BoundSpec:
    """A spec whose corrector exists and whose keys were checked."""

    corrector: Corrector
    options: Options

    def __str__(self) -> str:
        measured = bool(self.corrector.needs or self.options.gate)
        return options.canonical(self.corrector.name, self.options, measured)


def check_spec(spec: str | CorrectionSpec | BoundSpec) -> BoundSpec:
    """Check a ``--correct`` text before anything is loaded.

    Raises:
        GanfixError: on an unknown corrector or key, or a value out of range.
    """
    if isinstance(spec, BoundSpec):
        return spec
    parsed = CorrectionSpec.parse(str(spec))
    try:
        corrector = correctors.load(parsed.name)
    except GanfixError as error:
        raise GanfixError(f"--correct {error}") from None
    return BoundSpec(corrector, options.bind(parsed, corrector.options))


def check_specs(specs: Sequence[str | CorrectionSpec | BoundSpec]) -> list[BoundSpec]:
    """Check several ``--correct``, bundles among them.

    Raises:
        GanfixError: as `check_spec` and `unbundled`.
    """
    return [check_spec(each) for spec in specs for each in unbundled(spec)]


def unbundled(spec: str | CorrectionSpec | BoundSpec) -> list[str | CorrectionSpec | BoundSpec]:
    """The specs in a bundle (`export`), told to read its numbers; any other spec as it is.

    Raises:
        GanfixError: if the file is missing or damaged, or a profile without specs.
    """
    # A name and a colon open a spec, whose last key may be a file: seqabl:profile=X.safetensors.
    if not isinstance(spec, str) or not re.fullmatch(rf"(?![a-z][a-z0-9_-]*:).*{BUNDLE}", spec):
        return [spec]
    bundle = Profile.load(Path(spec))
    if not bundle.correct:
        raise GanfixError(f"--correct {spec}: a profile and no bundle; write NAME:profile={spec}")
    return [f"{each}{',' if ':' in each else ':'}profile={spec}" for each in bundle.correct]
