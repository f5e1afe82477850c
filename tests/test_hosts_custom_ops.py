"""CUDA ops that hosts carry: their references run where they cannot be built, and are right."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import pytest
import torch
from torch.nn.functional import leaky_relu
from torch.utils import cpp_extension

from ganfix_plugin import GanfixError
from ganfix_plugin.hosts.custom_ops import NVIDIA_OPS, ROSINALITY_OPS, fused_bias_act, upfirdn2d
from ganfix_plugin.hosts.host import Situation
from ganfix_plugin.hosts.loading import importable

OP = """
def _init():
    {does}
def bias_act():
    return "cuda" if _init() else "ref"
"""


@pytest.mark.parametrize(
    ("does", "runs", "says"),
    [("return True", "cuda", 0), ("raise RuntimeError('no nvcc\\nat all')", "ref", 1)],
)
def test_a_cuda_op_that_cannot_be_built_is_replaced_by_the_reference_and_said_so_once(
    does: str, runs: str, says: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "torch_utils" / "ops"
    folder.mkdir(parents=True)
    (folder / "filtered_lrelu.py").touch()
    (folder / "bias_act.py").write_text(OP.format(does=does))
    situation = Situation(tmp_path, "cuda")
    assert NVIDIA_OPS.reason(situation) and not NVIDIA_OPS.reason(Situation(tmp_path, "cpu"))
    logging.getLogger("ganfix").propagate = True
    with importable(tmp_path), NVIDIA_OPS.apply(situation):
        op = importlib.import_module("torch_utils.ops.bias_act")
        assert [op.bias_act(), op.bias_act()] == [runs, runs]
    assert caplog.text.count("no CUDA op (no nvcc); the slow reference runs") == says


def test_ops_are_the_reference_where_cuda_is_not_or_fails_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, sources: list[str]) -> None:
        raise OSError("CUDA_HOME environment variable is not set.")

    folder = tmp_path / "models" / "vendored" / "op"
    folder.mkdir(parents=True)
    (folder / "upfirdn2d.py").write_text(
        "from torch.utils.cpp_extension import load\nload('op', ['upfirdn2d.cpp'])"
    )
    monkeypatch.setattr(cpp_extension, "load", fail)
    assert "models/vendored/op/upfirdn2d.py" in ROSINALITY_OPS.reason(Situation(tmp_path, "cpu"))
    with ROSINALITY_OPS.apply(Situation(tmp_path, "cpu")):
        assert (
            cpp_extension.load("fused", ["op/fused_bias_act.cpp"]).fused_bias_act is fused_bias_act
        )
    assert not caplog.records
    with ROSINALITY_OPS.apply(Situation(tmp_path, "cuda")):
        assert (
            cpp_extension.load("fused", ["op/fused_bias_act.cpp"]).fused_bias_act is fused_bias_act
        )
    assert "fused: no CUDA op (CUDA_HOME" in caplog.text
    assert cpp_extension.load is fail


def test_another_op_for_cuda_is_missed_on_a_cpu_only_where_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from torch.utils.cpp_extension import load\nload('warp', sources=['warp.cu'])"
    (tmp_path / "warp.py").write_text(code)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    situation = Situation(tmp_path, "cpu")
    assert "warp.py" in ROSINALITY_OPS.reason(situation)
    with ROSINALITY_OPS.apply(situation):
        op = cpp_extension.load("warp", sources=[str(tmp_path / "warp.cu")])
        with pytest.raises(GanfixError, match=r"warp\.bend is an op for CUDA only"):
            op.bend(torch.zeros(1))


def test_the_reference_of_fused_bias_act_has_the_derivative_of_its_own() -> None:
    x, bias = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True), torch.randn(3)
    y = fused_bias_act(x, bias.double(), x.new_empty(0), 3, 0, 0.2, 2**0.5)
    expected = leaky_relu(x + bias.double().view(1, 3, 1, 1), 0.2) * 2**0.5
    torch.testing.assert_close(y, expected)
    slope = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, slope)
    derivative = fused_bias_act(slope, x.new_empty(0), y.detach(), 3, 1, 0.2, 2**0.5)
    torch.testing.assert_close(derivative, expected)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("padding", [(2, 1, 1, 0), (0, -1, 2, -2)], ids=str)
def test_the_reference_of_upfirdn2d_is_a_plain_sum(
    up: int, down: int, padding: tuple[int, ...]
) -> None:
    x, kernel = torch.randn(2, 7, 6, 1), torch.randn(4, 3)
    filtered = upfirdn2d(x, kernel, up, up, down, down, *padding)
    left, right, top, bottom = padding
    wide = torch.zeros(2, 7 * up + top + bottom + 8, 6 * up + left + right + 8)
    for row in range(7):
        for column in range(6):
            r, c = row * up + top + 4, column * up + left + 4
            wide[:, r, c] = x[:, row, column, 0]
    wide = wide[:, 4:-4, 4:-4]
    rows, columns = wide.shape[1] - 3, wide.shape[2] - 2
    expected = torch.zeros(2, rows, columns)
    for r in range(rows):
        for c in range(columns):
            window = wide[:, r : r + 4, c : c + 3]
            expected[:, r, c] = (window * kernel.flip(0, 1)).sum((1, 2))
    torch.testing.assert_close(filtered[..., 0], expected[:, ::down, ::down])
