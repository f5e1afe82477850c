"""Bounded runs of the fuzzers; GANFIX_FUZZ=20 makes them 20 times as long, and by hand each runs as
long as one likes: `python tests/fuzz_files.py --cases 3000 --seed 0`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import fuzz_files
import fuzz_http
import fuzz_kills
import fuzz_specs
import pytest
from fuzzing import fuzz, report

SEED = 20261126
TIMES = int(os.environ.get("GANFIX_FUZZ", "1"))


def test_damaged_files_are_taken_or_refused_in_one_line(tmp_path: Path, own_cache: Path) -> None:
    outcomes, found = fuzz(fuzz_files.Workshop(tmp_path).case, 150 * TIMES, SEED)
    print(report(outcomes, found))
    assert not found
    assert outcomes["refused"] > outcomes["taken"] > 0


def test_made_up_specs_are_taken_or_refused_in_one_line(own_cache: Path) -> None:
    outcomes, found = fuzz(fuzz_specs.Texts().case, 500 * TIMES, SEED)
    print(report(outcomes, found))
    assert not found
    assert outcomes["refused"] > outcomes["taken"] > 0


@pytest.mark.slow
def test_requests_of_many_clients_are_answered_and_no_answer_is_lost(tmp_path: Path) -> None:
    session = fuzz_http.attack(tmp_path, requests=300 * TIMES, clients=50, idle=150, seed=SEED)
    print(session.statuses, len(session.saved))
    assert not session.found
    assert session.saved and session.statuses[200] and session.statuses[403]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["profile", "ranks", "evaluate in ranks", "images"])
def test_what_was_killed_and_taken_up_leaves_what_others_leave(
    name: str, tmp_path: Path, own_cache: Path, network_pickle: Path
) -> None:
    (work,) = (work for work in fuzz_kills.WORKS if work.name == name)
    ground = fuzz_kills.Ground(tmp_path, network_pickle)
    assert not fuzz_kills.kill(ground, work, 2 * TIMES, random.Random(SEED)).found


@pytest.mark.slow
def test_answers_outlive_servers_that_are_killed(tmp_path: Path, own_cache: Path) -> None:
    ground = fuzz_kills.Ground(tmp_path)
    assert not fuzz_kills.kill_servers(ground, 3 * TIMES, random.Random(SEED)).found
