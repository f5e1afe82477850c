"""Rows that come a few at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from ganfix_plugin import GanfixError
from ganfix_plugin.rows import RowFile, Rows


def test_rows_that_grow_hold_what_was_added() -> None:
    rows = Rows()
    assert rows.whole().tolist() == []
    for number in range(5):
        rows.add(torch.full((number, 2), number, dtype=torch.int32))
    expected = [[number] * 2 for number in range(5) for _ in range(number)]
    assert rows.whole().tolist() == expected and rows.whole().dtype == torch.int32


def test_rows_in_a_file_are_read_by_their_places(own_cache: Path) -> None:
    rows, expected = RowFile(), torch.randn(7, 2, 3)
    for batch in expected.split(3):
        rows.add(batch)
    assert torch.equal(rows[torch.tensor([5, 0, 5])], expected[[5, 0, 5]])
    assert torch.equal(rows.whole(), expected)


def test_rows_can_be_added_after_others_were_read(own_cache: Path) -> None:
    rows = RowFile()
    for number in range(3):
        rows.add(torch.full((2, 4), float(number)))
        assert rows.whole()[:, 0].tolist() == [float(n) for n in range(number + 1) for _ in "ab"]


def test_a_file_of_rows_leaves_nothing_behind(own_cache: Path) -> None:
    rows = RowFile()
    rows.add(torch.zeros(3, 4))
    rows.whole().add_(1)  # is the reader's own
    assert rows.whole().sum() == 0
    del rows
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_is_told_in_one_line(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: open("/dev/full", "r+b"))  # noqa: SIM115
    with pytest.raises(GanfixError, match="cannot be written: No space left on device"):
        RowFile().add(torch.zeros(3, 4))
