"""Scripts of no known host: whatever generator they run is noticed and corrected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NETWORKS = '''
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.act = nn.LeakyReLU(0.2)

    def forward(self, x):
        return self.act(self.conv(nn.functional.interpolate(x, scale_factor=2)))


class Plain(nn.Module):
    """z [N, 8] and a camera [N, 8] to a dictionary with an image of 16×32."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(8, 16 * 4 * 8)
        self.blocks = nn.ModuleList([Block(16, 12), Block(12, 8)])
        self.image = nn.Conv2d(8, 3, 1)

    def forward(self, z, camera, noise=None):
        x = self.dense(z + camera).view(-1, 16, 4, 8)
        for block in self.blocks:
            x = block(x)
        return {"depth": x[:, :1], "image": self.image(x if noise is None else x + noise)}


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 2, 1), nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, image):
        return self.second(self.first(image).relu())
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "networks.py").write_text(NETWORKS)
    return tmp_path


def run(
    folder: Path, source: str, *correct: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A script of a few lines under ganfix."""
    (folder / "script.py").write_text(f"import torch\nfrom networks import *\n{source}")
    line = [sys.executable, "-m", "ganfix_plugin", "run", *options, "script.py"]
    return subprocess.run([*line, *correct], cwd=folder, capture_output=True, text=True)


SPEC = "--correct=seqabl:samples=64,lowest=40%"
CALL = (
    "torch.manual_seed(1)\nwith torch.no_grad():\n"
    "    image = G(torch.randn(6, 8), camera=torch.randn(6, 8))['image']\n"
    "print(image.double().sum().item(), torch.randn(1).item())\n"
)


@pytest.mark.parametrize(
    "made",
    [
        "G = Plain().eval()\n",
        "G = Plain()\nG.load_state_dict(G.state_dict())\nG.train(False)\n",
        "import copy, pickle\nG = pickle.loads(pickle.dumps(Plain())).train(False)\n",
    ],
    ids=["eval", "load_state_dict", "unpickled"],
)
def test_a_generator_is_noticed_and_its_script_draws_what_it_did(made: str, folder: Path) -> None:
    plain = run(folder, made + CALL)
    untouched = run(folder, made + CALL, "--correct=none")
    assert untouched.stdout == plain.stdout and untouched.returncode == 0
    corrected = run(folder, made + CALL, SPEC)
    assert "6 of 6 samples corrected" in corrected.stderr, corrected.stderr
    before, after = (done.stdout.split() for done in (plain, corrected))
    assert before[0] != after[0] and before[1] == after[1]


def test_encoders_are_left_alone(folder: Path) -> None:
    source = "E = Encoder().eval()\nE(torch.zeros(2, 3, 16, 16))\nG = Plain().eval()\n" + CALL
    done = run(folder, source, SPEC)
    assert done.stderr.count("of no known family") == 1 and "Encoder" not in done.stderr


def test_where_no_generator_runs_the_error_says_what_was_seen_and_what_to_pass(
    folder: Path,
) -> None:
    done = run(folder, "E = Encoder().eval()\nE(torch.zeros(2, 3, 16, 16))\n", SPEC)
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert "networks seen (Encoder)" in error and "modules of Encoder: first, second" in error
    assert "ganfix run --layers a,b,c SCRIPT" in error and "--adapter NAME" in error


def test_layers_that_the_user_names_are_taken(folder: Path) -> None:
    done = run(
        folder,
        f"G = Plain().eval()\n{CALL}",
        SPEC,
        options=("--layers", "blocks.0.act,blocks.1.act"),
    )
    assert "0 (blocks.0.act, 12×8×16), 1 (blocks.1.act, 8×16×32)" in done.stderr
    assert "6 of 6 samples corrected" in done.stderr


def test_layers_that_are_not_there_fail_the_run(folder: Path) -> None:
    done = run(folder, f"G = Plain().eval()\n{CALL}", SPEC, options=("--layers", "blocks.7"))
    assert done.returncode == 1 and "none has the modules named" in done.stderr
