"""ganfix.json beside the images of a corrected run: what was done to which of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from ganfix_plugin import __version__
from ganfix_plugin.hosts.record import CommandLine, leave

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "examples" / "face_gan" / "generate.py"
SPEC = "seqabl:rate=0.3,samples=200,gate=lr:50%"


def generate(out: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", str(SCRIPT)]
    line = [*command, "--seeds=0-7", f"--outdir={out}", *arguments]
    subprocess.run(line, check=True, capture_output=True, env=os.environ)


def test_it_says_by_seed_which_images_were_corrected(face: nn.Module, tmp_path: Path) -> None:
    plain, corrected = tmp_path / "plain", tmp_path / "corrected"
    generate(plain)
    generate(corrected, f"--correct={SPEC}")
    (run,) = json.loads((corrected / "ganfix.json").read_text())
    assert run["ganfix"] == __version__ and run["correct"].startswith("seqabl:")
    assert run["command"][-1] == f"--correct={SPEC}"
    (correction,) = run["corrections"]
    by_seed = correction["corrected_by_seed"]
    assert correction["samples"] == 8 and correction["corrected"] == sum(by_seed.values())
    for seed, was_corrected in by_seed.items():
        name = f"seed{int(seed):04d}.png"
        same = (plain / name).read_bytes() == (corrected / name).read_bytes()
        assert same != was_corrected


def test_an_uncorrected_run_leaves_none(face: nn.Module, tmp_path: Path) -> None:
    generate(tmp_path, "--correct=none")
    assert not (tmp_path / "ganfix.json").exists()


def test_a_second_run_into_the_folder_is_added(face: nn.Module, tmp_path: Path) -> None:
    for _ in range(2):
        generate(tmp_path, f"--correct={SPEC}")
    assert len(json.loads((tmp_path / "ganfix.json").read_text())) == 2


def test_there_is_none_where_no_folder_of_images_is_known(tmp_path: Path) -> None:
    assert leave(CommandLine(output=tmp_path / "missing" / "images"), {}, []) is None
