"""Criteria from text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganfix_plugin import GanfixError
from ganfix_plugin.web.criteria import Criterion, read_criteria, template_names


def test_the_papers_criteria_come_with_ganfix() -> None:
    names = {name: [each.name for each in read_criteria(name)] for name in template_names()}
    assert names == {
        "bedroom": ["object", "pattern", "layout"],
        "church": ["structure", "pattern", "background"],
        "faces": ["face", "hair", "neck", "background"],
        "ffhq": ["part", "object"],
    }


def test_a_file_has_a_criterion_per_line_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("# mine\n\nwheels: not round\n doors : open: or shut \n")
    assert read_criteria(str(path)) == (
        Criterion("wheels", "not round"),
        Criterion("doors", "open: or shut"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found 0 criteria"),
        ("wheels\n", "line 1: found 'wheels', expected 'name: what to look for'"),
        (": round\n", "line 1: found ': round'"),
        ("a: b\na: c\n", "line 2: a is there already"),
        ("".join(f"{n}: x\n" for n in range(10)), "found 10 criteria, expected 1 to 9"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.txt"
    path.write_text(text)
    with pytest.raises(GanfixError) as refused:
        read_criteria(str(path))
    assert reason in str(refused.value) and "\n" not in str(refused.value)


def test_neither_a_folder_nor_a_picture_is_a_file_of_criteria(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\xff")
    for path in (tmp_path, tmp_path / "x.png", tmp_path / "missing.txt"):
        with pytest.raises(GanfixError, match="no text file, and no template; there are bedroom"):
            read_criteria(str(path))
