"""rosinality's stylegan2-pytorch: recognised, and corrected from its own scripts."""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
from pathlib import Path

import generators
import pytest
import torch

from ganfix_plugin import GanfixError
from ganfix_plugin.hosts.host import find_host
from ganfix_plugin.hosts.loading import open_network

pytestmark = pytest.mark.slow

MODEL = """
import torch
from torch import Tensor, nn
from op import fused


class StyledConv:
    pass


{classes}

class Generator({base}):
    def __init__(self, size, style_dim, n_mlp, channel_multiplier=2):
        super().__init__()
"""
OP = """
from torch.utils.cpp_extension import load
fused = load("fused", sources=["upfirdn2d.cu"])

def upfirdn2d_native():
    pass
"""
GENERATE = """
import argparse
import torch
from torchvision import utils
from model import Generator

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ckpt")
    args = parser.parse_args()
    g_ema = Generator(16, 6, 1).to("cuda")
    g_ema.load_state_dict(torch.load(args.ckpt)["g_ema"])
    g_ema.eval()
    for i in range(3):
        sample, _ = g_ema([torch.randn(1, 6, device="cuda")])
        utils.save_image(sample, f"{i}.pt", normalize=True, range=(-1, 1))
"""
TORCHVISION = """
import torch

def make_grid(tensor, nrow=8, normalize=False, value_range=None):
    assert value_range == (-1, 1)
    return tensor

def save_image(tensor, fp, **kwargs):
    torch.save(make_grid(tensor, **kwargs), fp)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A codebase shaped like the host, with a checkpoint as its training writes it."""
    folder = tmp_path / "stylegan2-pytorch"
    (folder / "op").mkdir(parents=True)
    kinds = (generators._StyledConv, generators.RosinalityShaped)
    classes = "\n\n".join(inspect.getsource(kind) for kind in kinds)
    (folder / "model.py").write_text(MODEL.format(classes=classes, base=kinds[1].__name__))
    (folder / "op" / "__init__.py").write_text("from .upfirdn2d import fused\n")
    (folder / "op" / "upfirdn2d.py").write_text(OP)
    (folder / "generate.py").write_text(GENERATE)
    (folder / "train.py").write_text("")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").touch()
    (tmp_path / "torchvision" / "utils.py").write_text(TORCHVISION)
    weights = {"g_ema": generators.RosinalityShaped().state_dict()}
    torch.save({**weights, "args": argparse.Namespace(size=16)}, tmp_path / "net.pt")
    return folder


def run(checkout: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script of the checkout under ganfix, in the folder above it, where it writes."""
    seeded = "import torch; torch.manual_seed(0); from ganfix_plugin.cli import main; main()"
    line = [sys.executable, "-c", seeded, "run", "--device=cpu", str(checkout / script)]
    env = {**os.environ, "PYTHONPATH": str(checkout.parent)}
    return subprocess.run(
        [*line, *arguments], cwd=checkout.parent, env=env, capture_output=True, text=True
    )


def images(checkout: Path) -> list[torch.Tensor]:
    return [torch.load(checkout.parent / f"{i}.pt") for i in range(3)]


def test_a_checkout_is_recognised(checkout: Path, tmp_path: Path) -> None:
    host_and_folder = find_host(checkout)
    assert host_and_folder and host_and_folder[0].name == "rosinality"
    assert find_host(tmp_path) is None


def test_its_script_runs_as_it_is_and_corrected(own_cache: Path, checkout: Path) -> None:
    done = run(checkout, "generate.py", "--ckpt=net.pt")
    assert done.returncode == 0, done.stderr
    plain = images(checkout)
    spec = "seqabl:samples=64,lowest=40%"
    done = run(checkout, "generate.py", "--ckpt=net.pt", f"--correct={spec}")
    assert "3 of 3 samples corrected" in done.stderr
    corrected = images(checkout)
    assert not any(torch.equal(*pair) for pair in zip(plain, corrected))
    done = run(checkout, "generate.py", "--ckpt=net.pt", f"--correct={spec},gate=lr:50%")
    passed = int(done.stderr.split(" of 3 samples corrected")[0].split()[-1])
    gated = [torch.equal(*pair) for pair in zip(plain, images(checkout))]
    assert gated.count(True) >= 3 - passed


def test_training_is_refused(checkout: Path) -> None:
    done = run(checkout, "train.py")
    assert done.returncode == 1 and "finished generators" in done.stderr


def test_what_is_no_checkpoint_is_refused(checkout: Path) -> None:
    torch.save({"weights": 1}, checkout.parent / "other.pt")
    for name, why in (("other.pt", "no checkpoint with g_ema"), ("nothing.pt", "cannot be read")):
        with (
            pytest.raises(GanfixError, match=why),
            open_network(str(checkout.parent / name), checkout, "cpu"),
        ):
            pass
