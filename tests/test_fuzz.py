"""Bounded runs of the fuzzers; `python tests/fuzz_files.py --cases 3000` and the like run on."""

from __future__ import annotations

from pathlib import Path

import fuzz_files
from fuzzing import fuzz, report

SEED = 20261126


def test_damaged_files_are_taken_or_refused_in_one_line(tmp_path: Path, own_cache: Path) -> None:
    outcomes, found = fuzz(fuzz_files.Workshop(tmp_path).case, 150, SEED)
    assert not found, report(outcomes, found)
    assert outcomes["refused"] > outcomes["taken"] > 0
