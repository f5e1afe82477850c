"""The corrector in examples/corrector_package, installed as a user would, in another process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"

SCRIPT = """
import json, sys
import legacy, torch
import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError

with open(sys.argv[1], "rb") as file:
    G = legacy.load_network_pkl(file)["G_ema"]
z = torch.randn(2, G.z_dim, generator=torch.Generator().manual_seed(0))

def image(*specs):
    with torch.no_grad():
        if not specs:
            return G(z, None, noise_mode="const")
        with ganfix.attach(G, *specs) as attachment:
            found = G(z, None, noise_mode="const")
            attachment.check()
            print("summary", attachment.summary(), file=sys.stderr)
            return found

def refused(spec):
    try:
        image(spec)
    except GanfixError as error:
        return str(error)

print(json.dumps({
    "listed": ganfix.list_correctors(),
    "changed": not torch.equal(image("half:factor=0.5,layers=0+1"), image()),
    "unchanged": torch.equal(image("half:factor=1"), image()),
    "stronger": (image("half:factor=0.2") - image()).abs().mean().item(),
    "weaker": (image("half:factor=0.8") - image()).abs().mean().item(),
    "refused": refused("half:factor=3"),
}))
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, network_pickle: Path) -> dict[str, Any]:
    """What a process says that has the package installed."""
    folder = tmp_path_factory.mktemp("third_party")
    shutil.copytree(EXAMPLES / "corrector_package", folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", f"--target={folder / 'site'}"]
    pip = [sys.executable, "-m", "pip", "install", *options, str(folder / "source")]
    subprocess.run(pip, check=True, cwd=folder)
    paths = (folder / "site", EXAMPLES / "stylegan2_small")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(network_pickle)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "log": done.stderr}


def test_it_is_listed_beside_the_built_ins(result: dict[str, Any]) -> None:
    assert "half" in result["listed"] and "seqabl" in result["listed"]


def test_it_corrects(result: dict[str, Any]) -> None:
    assert result["changed"] and result["unchanged"]
    assert result["stronger"] > result["weaker"] > 0
    assert "half:layers=0+1,factor=0.5 · layers 0+1 · 2 of 2 samples corrected" in result["log"]


def test_its_options_are_checked_as_strictly(result: dict[str, Any]) -> None:
    assert result["refused"] == (
        "--correct half:factor=3: factor is '3', expected a number from 0 to 2"
    )
