"""The papers' own figures, `papers.json`, and tables that show ours beside them.

[C22] is Choi, Chang, Choi, IJCAI 2022; [T21] is Tousi et al., CVPR 2021, with its supplement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A table as it was printed.

    Attributes:
        source: the paper, its table, and what was measured there.
        columns: their names.
        rows: by name, a figure for each column.
    """

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, command: str) -> Published:
        """The table that a command reproduces."""
        table = json.loads(Path(__file__).with_name("papers.json").read_text())[command]
        rows = {name: tuple(figures) for name, figures in table["rows"].items()}
        return cls(table["source"], tuple(table["columns"]), rows)

    def column(self, name: str) -> dict[str, float]:
        """A column's figures by row."""
        place = self.columns.index(name)
        return {row: figures[place] for row, figures in self.rows.items()}


def share(figure: float, of: float) -> str:
    """A figure as a share of another: 71 %."""
    return f"{figure / of:.0%}".replace("%", " %")


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as an aligned Markdown table, the first one being the header."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    header, *rest = [[cell.ljust(width) for cell, width in zip(row, widths)] for row in rows]
    lines = [header, ["-" * width for width in widths], *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
