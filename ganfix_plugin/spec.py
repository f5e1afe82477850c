"""`CorrectionSpec`: the text after ``--correct``, taken apart.

Only the grammar lives here; what the keys mean is each corrector's own business (`options.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ganfix_plugin.errors import GanfixError

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_GRAMMAR = "NAME[:key=value,…], for example seqabl:lowest=30%,layers=4x4+8x8"


@dataclass(frozen=True)
class CorrectionSpec:
    """A corrector's name and the keys that were given, as text.

    Two texts that ask for the same thing parse to equal specs: white space and the order of the
    keys do not count.
    """

    name: str
    items: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> CorrectionSpec:
        """Parse ``NAME[:key=value,…]``.

        Raises:
            GanfixError: on an empty name, a key without a value, or a key given twice.
        """
        name, colon, rest = (part.strip() for part in text.partition(":"))
        if not _NAME.fullmatch(name):
            raise GanfixError(f"--correct {text}: {name!r} is no corrector name; write {_GRAMMAR}")
        items: dict[str, str] = {}
        for item in rest.split(",") if colon else ():
            key, equals, value = (part.strip() for part in item.partition("="))
            if not (key and equals and value):
                raise GanfixError(
                    f"--correct {text}: found {item.strip()!r} where key=value belongs; "
                    f"write {_GRAMMAR}"
                )
            if key in items:
                raise GanfixError(f"--correct {text}: {key} is given twice; give it once")
            items[key] = value
        return cls(name, tuple(sorted(items.items())))

    def __str__(self) -> str:
        keys = ",".join(f"{key}={value}" for key, value in self.items)
        return f"{self.name}:{keys}" if keys else self.name
