"""`ganfix list`, `layers` and `profile`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import images, latents, numbered
from prepared import error, run
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach, registry
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.profiling.profile import Profile

EXAMPLES = Path(__file__).parents[1] / "examples"
STYLEGAN2, PGGAN = EXAMPLES / "stylegan2_small", EXAMPLES / "pggan_small"
NETS = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.ConvTranspose2d(8, 6, 4), torch.nn.ReLU(), torch.nn.ConvTranspose2d(6, 3, 4)
    )

def number():
    return 3

def linear():
    return torch.nn.Linear(3, 3)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of generators that no host knows."""
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "own_generators.py").write_text(NETS)
    monkeypatch.delitem(sys.modules, "own_generators", raising=False)
    yield folder  # type: ignore[misc]
    sys.modules.pop("own_generators", None)


@pytest.fixture
def where(network_pickle: Path) -> list[Any]:
    return [f"--network={network_pickle}", "--host", STYLEGAN2, "--device=cpu"]


def test_list_shows_every_corrector_adapter_host_and_extractor() -> None:
    shown = run("list")
    assert shown.exit_code == 0, shown.output
    groups = (registry.CORRECTORS, registry.ADAPTERS, registry.HOSTS, registry.EXTRACTORS)
    lines = [line.strip() for line in shown.output.splitlines()]
    for group in groups:
        for name in registry.names(group):
            assert any(line.startswith((f"{name}:", f"{name} ")) for line in lines), name


def test_list_shows_the_keys_of_each_corrector_with_their_defaults() -> None:
    shown = " ".join(run("list").output.split())
    help = correctors.load("seqc").options.__dataclass_fields__["scale"].metadata["help"]
    assert f"scale {help} [default: 0.9]" in shown
    assert "top share of each layer's units to correct, at most" in shown
    assert shown.count("gate correct only samples whose artifact score exceeds this") == 1


def test_layers_are_numbered_and_the_default_ones_marked(
    where: list[Any], stylegan2: nn.Module
) -> None:
    shown = run("layers", *where)
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.output.splitlines()]
    assert rows[-len(numbered(stylegan2)) - 2][:3] == ["Generator,", "adapter", "nvidia-stylegan2:"]
    for row, layer in zip(rows[-len(numbered(stylegan2)) :], numbered(stylegan2)):
        size = "x".join(map(str, layer.resolution))
        star = ["*"] if layer.index in (0, 1, 3) else []
        assert row == [str(layer.index), layer.name, str(layer.channels), size, *star]


def test_a_generator_of_ones_own_is_named_by_module_and_function(nets: Path) -> None:
    shown = run("layers", "--network=own_generators:build", "--host", nets, "--device=cpu")
    assert shown.exit_code == 0, shown.output
    assert "Sequential, adapter dcgan" in shown.output and str(nets) not in sys.path


def test_profile_shows_rates_and_is_read_again(
    where: list[Any], own_cache: Path, stylegan2: nn.Module
) -> None:
    shown = run("profile", *where, "--samples=50", "--layers=1+2")
    assert shown.exit_code == 0, shown.output
    assert "50 latents" in shown.output and "ganfix: measuring activation rates" in shown.output
    numbers = [line.split()[0] for line in shown.output.splitlines() if "%" in line]
    assert {"1", "2"} <= set(numbers)
    again = run("profile", *where, "--samples=50", "--layers=1+2")
    assert again.exit_code == 0 and "measuring" not in again.output
    told = json.loads(run("profile", *where, "--samples=50", "--layers=1+2", "--json").stdout)
    measured = ganfix.profile(stylegan2, samples=50, layers="1+2")
    assert {layer["name"] for layer in told["layers"]} == set(measured.counts)
    (layer,) = (layer for layer in told["layers"] if layer["index"] == 1)
    rates, shares = measured.rates(numbered(stylegan2)[1]), layer["share_of_rates_up_to"]
    assert shares == {str(x): float((rates <= x).double().mean()) for x in (0, 0.1, 0.3, 0.5)}


@pytest.mark.filterwarnings("ignore:seqabl")
def test_a_profile_that_was_written_out_serves_a_correction(
    where: list[Any], own_cache: Path, tmp_path: Path, stylegan2: nn.Module
) -> None:
    out = tmp_path / "some" / "p.safetensors"
    options = ["--samples=60", "--seed=3", "--layers=all", f"--out={out}"]
    shown = run("profile", *where, *options)
    assert shown.exit_code == 0 and f"written to {out}" in shown.output, shown.output
    found = Profile.load(out)
    assert (found.settings.samples, found.settings.seed) == (60, 3)
    assert set(found.counts) == {layer.name for layer in numbered(stylegan2)}
    z = latents(stylegan2, 4)
    with attach(stylegan2, f"seqabl:profile={out}"):
        by_file = images(stylegan2, z)
    assert not (own_cache / "profiles" / "n10000").exists()
    assert not any("n10000" in each.name for each in (own_cache / "profiles").iterdir())
    assert not torch.equal(by_file, images(stylegan2, z))


@pytest.mark.slow
def test_scripts_take_the_profile_file_too(
    where: list[Any], own_cache: Path, tmp_path: Path, network_pickle: Path
) -> None:
    out = tmp_path / "p.safetensors"
    assert run("profile", *where, "--samples=40", f"--out={out}").exit_code == 0
    command = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", "generate.py"]
    command += [f"--network={network_pickle}", "--seeds=0,1", f"--outdir={tmp_path}"]
    command += ["--correct", f"seqabl:profile={out}"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=STYLEGAN2, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "measuring" not in done.stderr and "2 of 2 samples corrected" in done.stderr
    assert (tmp_path / "seed0001.png").exists()


@pytest.mark.slow
def test_a_profile_of_another_generator_is_refused(
    where: list[Any], own_cache: Path, tmp_path: Path, pggan: nn.Module
) -> None:
    out = tmp_path / "p.safetensors"
    assert run("profile", *where, "--samples=20", "--layers=0", f"--out={out}").exit_code == 0
    with pytest.raises(GanfixError, match="is of another generator"):
        attach(pggan, f"seqabl:profile={out}")


@pytest.mark.filterwarnings("ignore:seqabl")
def test_rates_of_the_authors_are_imported_to_a_file(
    own_cache: Path, tmp_path: Path, pggan: nn.Module
) -> None:
    folder, out = tmp_path / "rates", tmp_path / "p.safetensors"
    folder.mkdir()
    rates = np.linspace(0, 30_000, 1024).round().astype(np.float32) / 30_000
    np.save(folder / "rate_layer1_shoes_pggan.npy", rates.astype(np.float32))
    checkpoint = PGGAN / "checkpoints" / "pggan_footwear32.safetensors"
    options = ["--import-rates", folder, "--dataset=shoes", "--model=pggan"]
    network = [f"--network={checkpoint}", "--host", PGGAN, "--device=cpu"]
    says = error(run("profile", *network, *options))
    assert "--import-rates: say by --out FILE where to write the profile" in says
    shown = run("profile", *network, *options, f"--out={out}")
    assert shown.exit_code == 0, shown.output
    assert "30,000 latents" in shown.output
    z = latents(pggan, 2)
    before = images(pggan, z)
    with attach(pggan, f"seqabl:layers=1,profile={out}"):
        assert not torch.equal(images(pggan, z), before)


MISTAKES = {
    "a module that is not there": ("nosuch:build", "cannot be imported: No module named 'nosuch'"),
    "a function that is not there": ("own_generators:gone", "cannot be imported"),
    "a function that returns a number": (
        "own_generators:number",
        "found int, expected a generator",
    ),
    "no generator": ("own_generators:linear", "Linear is no generator that an adapter knows"),
    "a file that is not there": ("gone.pkl", "gone.pkl: no such file"),
    "a model name outside any host": ("stylegan_ffhq256", "is no checkout of a known host"),
}


@pytest.mark.parametrize(("network", "says"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("command", ["layers", "profile"])
def test_a_network_that_cannot_be_opened_is_one_line(
    nets: Path, command: str, network: str, says: str
) -> None:
    found = error(run(command, f"--network={network}", "--host", nets, "--device=cpu"))
    assert says in found and str(nets) not in sys.path


@pytest.mark.parametrize("host", [STYLEGAN2, PGGAN], ids=["nvidia", "genforce"])
def test_a_file_that_is_not_there_or_no_network_is_one_line(host: Path, tmp_path: Path) -> None:
    damaged = tmp_path / ("x.pkl" if host == STYLEGAN2 else "x.pth")
    damaged.write_bytes(b"no network")
    for network in (tmp_path / f"gone{damaged.suffix}", damaged):
        assert str(network) in error(run("layers", f"--network={network}", "--host", host))


def test_an_adapter_that_does_not_fit_is_one_line(where: list[Any]) -> None:
    says = error(run("layers", *where, "--adapter=genforce-pggan"))
    assert "adapter genforce-pggan" in says and "does not fit" in says
    assert "nvidia-stylegan2" in error(run("layers", *where, "--adapter=nothing"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--layers=99"], "layers=99: no layer 99; there are 0 (4x4)"),
        (["--layers=first"], "layers=first: expected auto"),
        (["--class=2"], "class=2: Generator has no classes"),
    ],
)
def test_settings_out_of_range_are_one_line(
    where: list[Any], own_cache: Path, options: list[str], says: str
) -> None:
    assert says in error(run("profile", *where, *options))


def test_a_profile_that_cannot_be_written_is_one_line(
    where: list[Any], own_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    options = ["--samples=20", "--layers=0", f"--out={tmp_path / 'file' / 'p'}"]
    assert "cannot be made" in error(run("profile", *where, *options))


def test_a_device_that_is_not_there_is_one_line(where: list[Any]) -> None:
    assert "Error: " in error(run("layers", *where[:-1], "--device=tpu"))
