"""The projects of ``examples/``, whose modules have names that other projects use too."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

# What was imported from an example, from one time to the next.
_imported: defaultdict[str, dict[str, ModuleType]] = defaultdict(dict)


@contextmanager
def importing(example: str) -> Iterator[None]:
    """Make an example's modules importable inside, and only there: their names are common ones."""
    folder, kept = EXAMPLES / example, _imported[example]
    tops = {path.stem for path in folder.iterdir()}

    def named() -> dict[str, ModuleType]:
        return {name: m for name, m in sys.modules.items() if name.partition(".")[0] in tops}

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name in named():
            patch.delitem(sys.modules, name)
        for name, module in kept.items():
            patch.setitem(sys.modules, name, module)
        try:
            yield
        finally:
            kept.update(named())
            for name in kept:
                del sys.modules[name]
