"""By which criteria people judge: a text file, one criterion per line.

The templates are those of Tousi et al., CVPR 2021, supplement, Table 6; ``ffhq`` is that of Choi,
Chang, Choi, IJCAI 2022, Appendix A. A line is ``name: what to
look for``; empty lines and lines that begin with # do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganfix_plugin.errors import GanfixError

TEMPLATES = Path(__file__).parent / "criteria"
MOST = 9  # one digit key each


@dataclass(frozen=True)
class Criterion:
    """A name, kept with every label that is given for it, and what to look for."""

    name: str
    text: str


def template_names() -> list[str]:
    """The criteria that come with ganfix."""
    return sorted(path.stem for path in TEMPLATES.glob("*.txt"))


def read_criteria(source: str) -> tuple[Criterion, ...]:
    """The criteria of a template's name or of a file.

    Raises:
        GanfixError: if there is no such file, or a line of it is no criterion.
    """
    path = TEMPLATES / f"{source}.txt" if source in template_names() else Path(source)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise GanfixError(
            f"--criteria {source}: no text file, and no template; there are "
            f"{', '.join(template_names())}"
        ) from None
    criteria: dict[str, Criterion] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, text = (part.strip() for part in line.partition(":"))
        if not (name and colon and text):
            raise GanfixError(
                f"--criteria {source}, line {number}: found {line.strip()[:40]!r}, expected "
                "'name: what to look for'"
            )
        if name in criteria:
            raise GanfixError(f"--criteria {source}, line {number}: {name} is there already")
        criteria[name] = Criterion(name, text)
    if not 1 <= (count := len(criteria)) <= MOST:
        raise GanfixError(f"--criteria {source}: found {count} criteria, expected 1 to {MOST}")
    return tuple(criteria.values())
