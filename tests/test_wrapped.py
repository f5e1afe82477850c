"""Generators that somebody has wrapped: DataParallel, DistributedDataParallel, torch.compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from edits import dimmed
from generators import dcgan, images, latents
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin import attach

SPECS = [
    "random:portion=50%",
    "random:portion=50%,gate=lr:50%,samples=64",
    "truncation:psi=0.5",
]
EVERY = pytest.mark.parametrize("spec", SPECS)


@pytest.fixture
def G() -> nn.Module:
    return dcgan()


def compiled(G: Any, backend: str = "eager") -> Any:
    return torch.compile(G, backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("spec, backend", [(SPECS[1], "eager"), (SPECS[0], "aot_eager")])
def test_a_generator_compiled_after_attaching_gives_the_corrected_images(
    G: nn.Module, spec: str, backend: str
) -> None:
    z = latents(G, 6)
    with attach(G, spec) as attachment:
        wanted = images(G, z)
        fast = compiled(G, backend)
        assert torch.equal(images(fast, z), wanted)
        assert torch.equal(images(fast, z), wanted)
    assert attachment.counts[0].samples == 18


@pytest.mark.slow
@EVERY
def test_attaching_to_a_generator_that_ran_compiled_corrects_what_runs_next(
    G: nn.Module, spec: str
) -> None:
    z = latents(G, 6)
    with attach(G, spec):
        wanted = images(G, z)
    fast = compiled(G)
    before = images(fast, z)
    with attach(G, spec):
        assert torch.equal(images(fast, z), wanted)
    assert torch.equal(images(fast, z), before)
    with attach(fast, spec):
        assert torch.equal(images(fast, z), wanted)
        assert torch.equal(images(G, z), wanted)
    assert torch.equal(images(fast, z), before)


@pytest.mark.slow
def test_a_generator_compiled_in_place_is_corrected(G: nn.Module) -> None:
    z, spec = latents(G, 6), SPECS[1]
    with attach(G, spec):
        wanted = images(G, z)
    G.compile(backend="eager")
    before = images(G, z)
    with attach(G, spec):
        assert torch.equal(images(G, z), wanted)
    assert torch.equal(images(G, z), before)


@pytest.mark.slow
def test_compiled_parts_of_a_generator_are_corrected(stylegan2: Any) -> None:
    z, spec = latents(stylegan2, 4), SPECS[0]
    with attach(stylegan2, spec):
        wanted = images(stylegan2, z)
    synthesis, layer = stylegan2.synthesis, stylegan2.synthesis.b4.conv1
    try:
        stylegan2.synthesis = compiled(synthesis)
        synthesis.b4.conv1.compile(backend="eager")
        images(stylegan2, z)
        with attach(stylegan2, spec):
            assert torch.allclose(images(stylegan2, z), wanted, atol=1e-5)
    finally:
        stylegan2.synthesis = synthesis
        layer._compiled_call_impl = None


@pytest.mark.slow
def test_measuring_a_compiled_generator_gives_the_rates_of_the_original(
    G: nn.Module, own_cache: Path
) -> None:
    rates = ganfix.profile(G, samples=64).counts
    for wrapped in (compiled(G), nn.DataParallel(G), compiled(nn.DataParallel(G))):
        images(wrapped, latents(G, 2))
        (own_cache / "profiles").rename(own_cache / str(id(wrapped)))
        again = ganfix.profile(wrapped, samples=64).counts
        assert all(torch.equal(again[name], rates[name]) for name in rates)


@pytest.mark.slow
def test_a_second_pass_works_in_a_compiled_generator(G: nn.Module) -> None:
    z = latents(G, 6)
    fast = compiled(G)
    images(fast, z)
    with dimmed(G):
        wanted = images(G, z)
        assert torch.equal(images(fast, z), wanted)


def test_capturing_a_corrected_generator_as_one_graph_fails_rather_than_miss_something(
    G: nn.Module,
) -> None:
    refused = "(?s)raph break|nsupported|skip function"  # by newer PyTorch, and by older
    with attach(G, SPECS[1]), pytest.raises(Exception, match=refused):
        torch.compile(G, backend="eager", fullgraph=True)(latents(G, 2))


@EVERY
def test_data_parallel_is_corrected_wrapped_before_or_after(G: nn.Module, spec: str) -> None:
    z = latents(G, 6)
    with attach(G, spec):
        wanted = images(G, z)
        assert torch.equal(images(nn.DataParallel(G), z), wanted)
    with attach(nn.DataParallel(G), spec):
        assert torch.equal(images(nn.DataParallel(G), z), wanted)


RANK = """
import os, sys
import torch
import torch.distributed as dist
import ganfix_plugin as ganfix
from generators import dcgan, latents

dist.init_process_group("gloo")
G = dcgan().requires_grad_(True)
wrapped = torch.nn.parallel.DistributedDataParallel(G)
z = latents(G, 6, seed=dist.get_rank())
spec = "random:portion=50%,gate=lr:50%,samples=64"
with torch.no_grad(), ganfix.attach(wrapped, spec) as attachment:
    corrected = wrapped(z)
with torch.no_grad(), ganfix.attach(G, spec):
    assert torch.equal(corrected, G(z))
with torch.no_grad():
    assert not torch.equal(corrected, wrapped(z))
assert attachment.counts[0].samples == 6
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_distributed_data_parallel_is_corrected_on_every_rank(tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    env["GANFIX_CACHE"] = str(tmp_path / "cache")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run([*launch, "rank.py"], cwd=tmp_path, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
