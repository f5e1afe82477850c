"""Networks run where the user says, whatever device a script has written in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ganfix_plugin import GanfixError
from ganfix_plugin.hosts.devices import (
    CUDA_ELSEWHERE,
    HALF_DISTANCES,
    NCCL,
    CudaElsewhere,
    resolve_device,
)
from ganfix_plugin.hosts.host import Situation

CUDA = [torch.device("cuda"), torch.device("cuda", 1), "cuda", "cuda:0", 0]


@pytest.mark.parametrize("device", CUDA, ids=str)
def test_every_way_to_move_a_tensor_to_cuda_ends_elsewhere(device: object) -> None:
    with CudaElsewhere("cpu"):
        for tensor in (
            torch.zeros(1).to(device),
            torch.zeros(1).to(device, torch.float64),
            torch.zeros(1).to(device=device),
            torch.zeros(1).cuda(device),
            torch.zeros(1, device=device),
            torch.tensor([1.0], device=device),
            torch.zeros(1).new_zeros(1, device=device),
            nn.Linear(1, 1).to(torch.device("cuda")).weight,
            nn.Linear(1, 1).cuda().weight,
            torch.zeros(1).pin_memory(),
        ):
            assert tensor.device.type == "cpu"


def test_other_devices_and_conversions_are_left_alone() -> None:
    with CudaElsewhere("cpu"):
        assert torch.zeros(1, device="meta").to("meta").device.type == "meta"
        assert torch.zeros(1).to(torch.float16).dtype is torch.float16
        assert torch.zeros(1).to(torch.zeros(1, dtype=torch.int8)).dtype is torch.int8


def test_doubles_become_floats_on_apple_s_gpus_which_have_none() -> None:
    tensor, device = CudaElsewhere("mps")._moved(torch.zeros(1).double(), torch.device("cuda"))
    assert (tensor.dtype, device.type) == (torch.float32, "mps")


def test_random_numbers_and_results_are_those_without_it() -> None:
    layer = nn.Linear(8, 8)
    torch.manual_seed(0)
    plain = layer(torch.randn(2, 8))
    torch.manual_seed(0)
    with CudaElsewhere("cpu"):
        assert torch.equal(layer(torch.randn(2, 8, device="cuda")), plain)


def test_scripts_that_count_gpus_find_one_and_none_afterwards(tmp_path: object) -> None:
    before = torch.cuda.device_count()
    with CUDA_ELSEWHERE.apply(Situation(tmp_path, "cpu")):  # type: ignore[arg-type]
        torch.cuda.set_device(3)
        assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
    assert torch.cuda.device_count() == before


@pytest.mark.parametrize(("device", "needed"), [("cpu", True), ("mps", True), ("cuda", False)])
def test_nothing_is_changed_where_cuda_was_asked_for(
    device: str, needed: bool, tmp_path: object
) -> None:
    situation = Situation(tmp_path, device)  # type: ignore[arg-type]
    assert bool(CUDA_ELSEWHERE.reason(situation)) is needed
    assert bool(NCCL.reason(situation)) is needed


def test_processes_that_ask_for_nccl_get_gloo(tmp_path: object) -> None:
    store = f"file://{tmp_path}/rendezvous"
    with NCCL.apply(Situation(tmp_path, "cpu")):  # type: ignore[arg-type]
        torch.distributed.init_process_group("nccl", init_method=store, rank=0, world_size=1)
        try:
            assert torch.distributed.get_backend() == "gloo"
        finally:
            torch.distributed.destroy_process_group()


def test_a_process_that_leaves_its_group_alive_ends_it(tmp_path: Path) -> None:
    """Without that, gloo's threads end about one process in three by SIGABRT."""
    code = f"""
import torch
from pathlib import Path
from multiprocessing import util
from ganfix_plugin.hosts.devices import NCCL
from ganfix_plugin.hosts.host import Situation
store = "file://{tmp_path}/rendezvous"
with NCCL.apply(Situation(Path(), "cpu")):
    torch.distributed.init_process_group("nccl", init_method=store, rank=0, world_size=1)
util._exit_function()
print(torch.distributed.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(GanfixError, match="device tpu: unknown; choose one of cpu, cuda, mps"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(GanfixError, match="device cuda: .* there is cpu"):
            resolve_device("cuda")
        assert resolve_device(None) == "cpu"


def test_distances_of_half_precision_features_are_those_in_single_precision() -> None:
    x, y = torch.randn(5, 3).half(), torch.randn(4, 3).half()
    wanted = torch.cdist(x.float(), y.float())
    with HALF_DISTANCES.apply(Situation(Path(), "cpu")):
        assert torch.equal(torch.cdist(x, y), wanted.half())
        assert torch.equal(torch.cdist(x.float(), y.float()), wanted)
