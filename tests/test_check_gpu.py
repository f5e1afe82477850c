"""The script that holds ganfix to its promises on a GPU runs here too, in its smallest sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_gpu.py"


def run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), f"--out={out}", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("part", ["ops", "agreement", "figures", "graphs"])
def test_a_part_runs_alone_and_leaves_its_facts_and_figures(tmp_path: Path, part: str) -> None:
    done = run(tmp_path, "--device=cpu", "--small", part)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / f"{part}.json").read_text())
    assert results["facts"] and all(results["facts"].values())
    assert results["device"] and results["torch"] and not results["error"]


def test_a_host_without_checkouts_is_said_to_be_left_out(tmp_path: Path) -> None:
    assert "ada: left out" in run(tmp_path, "--device=cpu", "--small", "ada").stdout
    assert not (tmp_path / "ada.json").exists()
