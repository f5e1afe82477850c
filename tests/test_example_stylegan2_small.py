"""The small StyleGAN2 codebase in examples/ works by itself, without the plugin."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples" / "stylegan2_small"

PROBE = """
import copy, io, json, pickle, sys
import torch
import legacy

def load(**kwargs):
    with open(sys.argv[1], "rb") as file:
        return legacy.load_network_pkl(file, **kwargs)["G_ema"]

def image(G):
    return G(z, None, truncation_psi=0.7, noise_mode="const")

z = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
G = load()
again = pickle.loads(pickle.dumps(G))
half = load(force_fp16=True)
formats = []
half.synthesis.b32.conv1.register_forward_hook(lambda m, i, o: formats.append(str(o.dtype)))
print(json.dumps({
    "module": type(G).forward.__module__,
    "again": torch.equal(image(G), image(again)),
    "copied": torch.equal(image(G), image(copy.deepcopy(G))),
    "kwargs": G.init_kwargs,
    "half": (image(half) - image(G)).abs().max().item(),
    "half_output": str(image(half).dtype),
    "half_layer": formats[0],
}))
"""


def run(*args: str | Path, cache: Path) -> str:
    """Standard output of `python args` in the example's folder; fails the test if that fails."""
    env = {**os.environ, "DNNLIB_CACHE_DIR": str(cache), "PYTHONPATH": str(EXAMPLE)}
    env["OMP_NUM_THREADS"] = "1"  # more only get in each other's way on networks this small
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(command, cwd=EXAMPLE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the network pickle, its detector, and 200 real images."""
    folder = tmp_path_factory.mktemp("stylegan2_small")
    run("make_network.py", "--out", folder / "net.pkl", cache=folder)
    (folder / "training_options.json").write_text("{}")
    with zipfile.ZipFile(EXAMPLE / "data" / "footwear32_test.zip") as archive:
        archive.extractall(folder / "real", archive.namelist()[:200])
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, Any]:
    return json.loads(run("-c", PROBE, folder / "net.pkl", cache=folder))


def test_a_loaded_generator_lives_in_a_generated_module(facts: dict[str, Any]) -> None:
    assert facts["module"].startswith("_imported_module_")
    assert facts["kwargs"]["img_resolution"] == 32


def test_pickling_a_loaded_generator_again_keeps_its_images(facts: dict[str, Any]) -> None:
    assert facts["again"]


def test_a_deepcopy_makes_the_same_images(facts: dict[str, Any]) -> None:
    assert facts["copied"]


def test_half_float_blocks_give_nearly_the_same_float32_image(facts: dict[str, Any]) -> None:
    assert (facts["half_layer"], facts["half_output"]) == ("torch.float16", "torch.float32")
    assert 0 < facts["half"] < 0.05


def test_generate_writes_the_same_png_for_the_same_seed(folder: Path) -> None:
    for name, seeds in (("first", "3-4"), ("second", "4")):
        args = [f"--network={folder}/net.pkl", f"--seeds={seeds}", f"--outdir={folder / name}"]
        run("generate.py", *args, cache=folder)
    first = (folder / "first" / "seed0004.png").read_bytes()
    assert first == (folder / "second" / "seed0004.png").read_bytes()
    assert first != (folder / "first" / "seed0003.png").read_bytes()


@pytest.mark.parametrize("ranks", [1, 2])
def test_calc_metrics_records_a_positive_distance(folder: Path, ranks: int) -> None:
    args = ["--metrics=fid200", f"--data={folder}/real", f"--gpus={ranks}"]
    run("calc_metrics.py", f"--network={folder}/net.pkl", *args, cache=folder)
    *_, record = (folder / "metric-fid200.jsonl").read_text().splitlines()
    result = json.loads(record)
    assert (result["num_gpus"], result["snapshot_pkl"]) == (ranks, "net.pkl")
    assert 0 < result["results"]["fid200"] < math.inf
