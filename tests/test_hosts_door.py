"""--correct in scripts shaped like the hosts', through both doors."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
PYTHON = (sys.executable,)
GANFIX = (sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu")
SPEC = "seqabl:samples=200"
Done = subprocess.CompletedProcess[str]


def call(folder: Path, *command: str | Path) -> Done:
    env = {**os.environ, "GANFIX_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    line = [str(part) for part in command]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="session")
def nvidia(network_pickle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/stylegan2_small with a run folder in it."""
    folder = tmp_path_factory.mktemp("nvidia") / "x"
    shutil.copytree(EXAMPLES / "stylegan2_small", folder)
    shutil.copytree(network_pickle.parent, folder / "run")
    (folder / "run" / "training_options.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def genforce(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/pggan_small."""
    folder = tmp_path_factory.mktemp("genforce") / "x"
    shutil.copytree(EXAMPLES / "pggan_small", folder)
    return folder


Images = Callable[..., tuple[np.ndarray, str]]


@pytest.fixture(scope="session", params=["nvidia", "genforce"])
def host(request: pytest.FixtureRequest) -> Path:
    """Each of the two copies."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture(scope="session")
def images(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Call with an interpreter and more arguments: the host's images and what it said.

    Eight images each, from latents in batches of one (nvidia) and four (genforce).
    """

    @functools.cache
    def make(opening: tuple[str, ...], *more: str) -> tuple[np.ndarray, str]:
        out = tmp_path_factory.mktemp("images")
        if (host / "generate.py").is_file():
            script = ["generate.py", "--network=run/footwear32.pkl", "--seeds=0-7"]
            line = [*script, f"--outdir={out}"]
        else:
            script = ["synthesize.py", "pggan_footwear32", "--save_raw_synthesis=true"]
            line = [*script, "--num=8", "--batch_size=4", f"--save_dir={out}"]
        done = call(host, *opening, *line, *more)
        assert done.returncode == 0, done.stderr
        files = sorted(out.rglob("*.png"))
        assert len(files) == 8
        return np.stack([np.asarray(PIL.Image.open(file)) for file in files]), done.stderr

    return make


def test_without_correct_a_script_draws_what_plain_python_draws(images: Images) -> None:
    plain, _ = images(PYTHON)
    ours, said = images(GANFIX)
    assert np.array_equal(ours, plain)
    assert "ganfix" not in said


def test_correct_changes_images_and_says_what_it_did(images: Images) -> None:
    plain, _ = images(GANFIX)
    corrected, said = images(GANFIX, f"--correct={SPEC}")
    assert not np.array_equal(corrected, plain)
    assert "ganfix: seqabl:samples=200" in said and "8 of 8 samples corrected" in said


def test_none_changes_nothing(images: Images) -> None:
    plain, _ = images(GANFIX)
    same, _ = images(GANFIX, "--correct", "none")
    assert np.array_equal(same, plain)


def test_the_gate_leaves_the_other_images_bit_for_bit_as_they_were(images: Images) -> None:
    plain, _ = images(GANFIX)
    gated, said = images(GANFIX, "--correct", f"{SPEC},gate=lr:50%")
    changed = int((gated != plain).any(axis=(1, 2)).reshape(8, -1).any(axis=1).sum())
    assert 0 < changed < 8
    assert f"{changed} of 8 samples corrected" in said


def test_both_doors_and_both_together_give_the_same_pixels(host: Path, images: Images) -> None:
    launched, _ = images(GANFIX, f"--correct={SPEC}")
    patch = [sys.executable, "-m", "ganfix_plugin", "patch", host]
    assert call(host, *patch).returncode == 0
    try:
        patched, _ = images(PYTHON, f"--correct={SPEC}")
        both, said = images((*GANFIX, "--device=cpu"), f"--correct={SPEC}")
    finally:
        call(host, *patch, "--revert")
    assert np.array_equal(patched, launched)
    assert np.array_equal(both, launched)
    assert said.count("samples corrected") == 1


@pytest.mark.parametrize(
    ("name", "script"),
    [("nvidia", "generate.py"), ("nvidia", "calc_metrics.py"), ("genforce", "test.py")],
)
def test_help_shows_the_option(name: str, script: str, request: pytest.FixtureRequest) -> None:
    done = call(request.getfixturevalue(name), *GANFIX, script, "--help", "--correct=none")
    assert "--correct NAME[:key=value,…]" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_style_mixing_is_corrected_where_it_calls_the_synthesis_alone(
    nvidia: Path, tmp_path: Path
) -> None:
    line = ["style_mixing.py", "--network=run/footwear32.pkl", "--rows=1", "--cols=2,3"]
    done = call(nvidia, *GANFIX, *line, f"--outdir={tmp_path}", f"--correct={SPEC},gate=lr:10%")
    assert done.returncode == 0, done.stderr
    assert " of 5 samples corrected" in done.stderr


def records(folder: Path) -> list[dict[str, object]]:
    files = folder.glob("metric-*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_corrected_metric_stays_apart_and_ranks_are_counted_together(nvidia: Path) -> None:
    line = ["calc_metrics.py", "--network=run/footwear32.pkl", "--metrics=fid1k", "--gpus=2"]
    done = call(nvidia, *GANFIX, *line, "--data=data/footwear32_test.zip", f"--correct={SPEC}")
    assert done.returncode == 0, done.stderr
    corrected = int(done.stderr.split(" samples corrected")[0].split(" of ")[-1])
    assert corrected >= 1000
    assert records(nvidia / "run") == []
    (record,) = records(nvidia / "run" / "corrected")
    assert str(record["correct"]).startswith("seqabl:samples=200,")
    assert record["metric"] == "fid1k"


def test_torchrun_corrects_the_generator_that_a_runner_built(
    genforce: Path, tmp_path: Path
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=1"]
    script = ["test.py", "configs/pggan_footwear32_val.py", f"--work_dir={tmp_path}"]
    weights = "--checkpoint=checkpoints/pggan_footwear32.safetensors"
    ganfix = ["-m", "ganfix_plugin", "run", "--device=cpu"]
    done = call(
        genforce, *torchrun, *ganfix, *script, weights, "--synthesis_num=4", f"--correct={SPEC}"
    )
    assert done.returncode == 0, done.stderr
    assert "4 of 4 samples corrected" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["corrected"]


METRICS = ["calc_metrics.py", "--network=run/footwear32.pkl", "--data=data/footwear32_test.zip"]


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (["train.py"], 1, "Error: train.py: ganfix corrects finished generators"),
        ([*METRICS, "--metrics=none", f"--correct={SPEC}"], 1, "Error: seqabl:samples=200,"),
        ([*METRICS, "--metrics=none", "--correct=none"], 0, "ganfix: none"),
        (["other.py", "--correct=none"], 1, "Error: --correct none: nothing was corrected"),
        (["other.py", "--correct=none", "--help"], 0, ""),
    ],
    ids=["training", "never run", "none", "never loaded", "help"],
)
def test_a_run_that_corrects_nothing_fails(
    line: list[str], status: int, message: str, nvidia: Path
) -> None:
    (nvidia / "train.py").write_text("raise SystemExit('trained')")
    (nvidia / "other.py").write_text("import legacy")
    done = call(nvidia, *GANFIX, *line)
    assert done.returncode == status, done.stderr
    assert [*done.stderr.splitlines(), ""][-1 - bool(message)].startswith(message)


def test_processes_that_load_a_generator_of_their_own_are_corrected_too(nvidia: Path) -> None:
    (nvidia / "spawning.py").write_text(
        "import legacy, torch\n"
        "def work(rank):\n"
        "    with open('run/footwear32.pkl', 'rb') as file:\n"
        "        G = legacy.load_network_pkl(file)['G_ema']\n"
        "    G(torch.zeros(3, G.z_dim, device='cuda'), None)\n"
        "if __name__ == '__main__':\n"
        "    torch.multiprocessing.spawn(work)\n"
    )
    done = call(nvidia, *GANFIX, "spawning.py", f"--correct={SPEC}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("3 of 3 samples corrected") == 1


LOADING = """
import multiprocessing
import legacy
import torch

def load():
    with open("run/footwear32.pkl", "rb") as file:
        return legacy.load_network_pkl(file)["G_ema"].eval()

def render(seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        G(torch.randn(1, G.z_dim), None, noise_mode="const")
"""


@pytest.mark.parametrize(
    ("source", "corrected"),
    [
        ("unused, G = load(), load()\nrender(0)\n", 1),
        ("G = load()\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
         "    pool.map(render, range(5))\n", 5),
    ],
    ids=["only the second of two networks runs", "forked workers do the work"],
)  # fmt: skip
def test_images_are_counted_wherever_they_are_made(
    source: str, corrected: int, nvidia: Path
) -> None:
    (nvidia / "loading.py").write_text(LOADING + source)
    done = call(nvidia, *GANFIX, "loading.py", f"--correct={SPEC}")
    assert done.returncode == 0, done.stderr
    assert f"{corrected} of {corrected} samples corrected" in done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "G = type(G)(*G.init_args, **G.init_kwargs).eval()\n",
        "import pickle\nwith open('run/footwear32.pkl', 'rb') as file:\n"
        "    G = pickle.load(file)['G'].eval()\n",
    ],
    ids=["built anew", "the raw G"],
)
def test_other_networks_of_a_script_are_corrected_too(source: str, nvidia: Path) -> None:
    (nvidia / "loading.py").write_text(f"{LOADING}G = load()\nrender(0)\n{source}render(1)\n")
    done = call(nvidia, *GANFIX, "loading.py", "--correct=seqabl:samples=64,lowest=30%")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("1 of 1 samples corrected") == 2


def test_weights_that_are_exchanged_after_measuring_are_refused(nvidia: Path) -> None:
    source = (
        "G = load()\nrender(0)\nother = {k: v + 1 for k, v in G.state_dict().items()}\n"
        "G.load_state_dict(other)\nrender(1)\n"
    )
    (nvidia / "loading.py").write_text(LOADING + source)
    done = call(nvidia, *GANFIX, "loading.py", f"--correct={SPEC}")
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert "other weights were loaded" in error and "Traceback" not in done.stderr


def test_copies_and_moves_of_what_was_corrected_are_no_others(nvidia: Path) -> None:
    source = "import copy, pickle\nfirst = load()\nG = copy.deepcopy(first).to('cpu')\nrender(0)\n"
    source += (
        "G = pickle.loads(pickle.dumps(first))\nrender(1)\nG = first.double().float()\nrender(2)\n"
    )
    (nvidia / "loading.py").write_text(LOADING + source)
    done = call(nvidia, *GANFIX, "loading.py", f"--correct={SPEC}")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 samples corrected" in done.stderr
