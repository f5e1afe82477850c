"""The native ops compute what PyTorch does, can be had wherever there is a compiler, and are never
in the way where there is none."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from edits import DTYPES, LAYOUTS, bits, feature_map
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.hooks.edits import Fade
from ganfix_plugin.ops import build, reference
from ganfix_plugin.ops import dispatch as ops
from ganfix_plugin.profiling.rates import count_active, count_low_rate

FAST = [dtype for dtype in DTYPES if dtype != torch.float64]
SHAPES = [(1, 1, 1, 1), (3, 5, 7, 9), (2, 16, 1, 1), (9, 24, 16, 17), (0, 3, 4, 4), (2, 0, 4, 4)]
NAMES = ["cap", "factor", "factor by row", "fade"]
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
TRY = """
import torch
from ganfix_plugin.hosts.console import speak
speak()
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.ops import dispatch as ops
print("native" if ops.implementation(torch.zeros(1, 1, 1, 1)) is torch.ops.ganfix else "reference")
"""


def process(cache: Path, **variables: str) -> subprocess.Popen[str]:
    """A process of its own that asks for the ops, and says which it gets."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GANFIX")}
    env |= {"GANFIX_CACHE": str(cache), **variables}
    pipe = subprocess.PIPE
    line = [sys.executable, "-c", TRY]
    return subprocess.Popen(line, env=env, stdout=pipe, stderr=pipe, text=True)


def said(running: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Which ops it got, and the lines of stderr."""
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    return out.strip(), err.splitlines()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, list[str]]]]:
    """A cache with the library, and what the two processes said that were told at once to build."""
    folder = tmp_path_factory.mktemp("ops")
    both = [process(folder, GANFIX_OPS="native") for _ in range(2)]
    return folder, [said(each) for each in both]


@pytest.fixture
def native(built: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The native ops, in this process."""
    monkeypatch.setenv("GANFIX_CACHE", str(built[0]))
    monkeypatch.setenv("GANFIX_OPS", "native")
    assert ops.implementation(torch.zeros(1, 1, 1, 1)) is torch.ops.ganfix
    return torch.ops.ganfix


def constants(name: str, x: Tensor) -> dict[str, Tensor]:
    """The arguments of an edit of ``x``, with special values among them."""
    n, c, h, w = x.shape
    chance = torch.Generator().manual_seed(1)
    if name == "cap":
        cap = torch.full((c, h, w), torch.inf)
        cap[torch.rand(c, h, w, generator=chance) < 0.5] = 0
        return {"cap": cap.to(x.dtype)}
    if name == "fade":
        keep = torch.rand(n, h, w, generator=chance).to(x.dtype)
        return {"faded": torch.rand(n, c, generator=chance) < 0.5, "keep": keep}
    factor = torch.rand((c,) if name == "factor" else (n, c), generator=chance) * 3 - 1
    factor[torch.rand(factor.shape, generator=chance) < 0.2] = 0
    return {"factor": factor.to(x.dtype)}


def defined(
    x: Tensor, cap: Any = None, factor: Any = None, faded: Any = None, keep: Any = None
) -> Tensor:
    """The definition of an edit: values that it does not mean stay bit for bit."""
    if cap is not None:
        return torch.where(x > cap, cap, x)
    if factor is not None:
        return x * factor[..., None, None]
    return torch.where(faded[:, :, None, None], x * keep[:, None], x)


def ulps(one: Tensor, other: Tensor) -> int:
    """The greatest distance between two tensors in units in the last place; NaN equals NaN."""
    same = (one == other) | (one.isnan() & other.isnan())
    away = (bits(one).int() - bits(other).int()).abs()[~same]
    return int(away.max()) if away.numel() else 0


@layouts
@shapes
@pytest.mark.parametrize("name", NAMES)
def test_float32_edits_are_those_of_pytorch_bit_for_bit(
    native: Any, name: str, shape: tuple[int, ...], layout: Callable[[Tensor], Tensor]
) -> None:
    x = layout(feature_map(shape))
    given = constants(name, x)
    y = native.correct(x, **given)
    assert torch.equal(bits(y), bits(defined(x, **given)))
    torch.testing.assert_close(y, reference.correct(x, **given), rtol=0, atol=0, equal_nan=True)


@layouts
@shapes
@pytest.mark.parametrize("dtype", FAST, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_edits_are_within_a_unit_in_the_last_place(
    native: Any,
    name: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    layout: Callable[[Tensor], Tensor],
) -> None:
    x = layout(feature_map(shape, dtype))
    given = constants(name, x)
    y, expected = native.correct(x, **given), defined(x, **given)
    assert y.dtype == dtype and y.stride() == torch.empty_like(x).stride()
    assert torch.equal(y.isnan(), expected.isnan())
    assert ulps(y, expected) <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_value_is_scaled_as_pytorch_scales_it(native: Any, dtype: torch.dtype) -> None:
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    for factor in (1.0, 0.3333, 1.7e-4, -250.0, 0.0):
        x, f = every.view(1, 1, 256, 256), torch.tensor([factor], dtype=dtype)
        y, expected = native.correct(x, factor=f), x * f
        assert ulps(y, expected) == 0


@layouts
@shapes
@pytest.mark.parametrize("dtype", FAST, ids=str)
@pytest.mark.parametrize("name", [None, *NAMES])
def test_counts_are_those_of_a_plain_count(
    native: Any,
    name: str | None,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    layout: Callable[[Tensor], Tensor],
) -> None:
    x = layout(feature_map(shape, dtype))
    low_rate = torch.rand(shape[1:], generator=torch.Generator().manual_seed(2)) < 0.3
    counts = torch.ones(shape[1:], dtype=torch.int32)
    scores = torch.ones(shape[0], dtype=torch.int32)
    if name is None:
        native.count_(x, counts, low_rate, scores)
    else:
        given = constants(name, x)
        y = native.correct_and_count(x, **given, counts=counts, low_rate=low_rate, scores=scores)
        assert torch.equal(bits(y), bits(native.correct(x, **given)))
    active = (x > 0).int()
    assert torch.equal(counts, 1 + active.sum(0).int())
    assert torch.equal(scores, 1 + (active * low_rate).sum((1, 2, 3)).int())


@pytest.mark.parametrize("dtype", FAST, ids=str)
def test_no_count_overflows(native: Any, dtype: torch.dtype) -> None:
    x = torch.ones(70_000, 1, 1, 1, dtype=dtype)
    for implementation in (native, reference):
        counts = torch.zeros(1, 1, 1, dtype=torch.int32)
        implementation.count_(x, counts)
        assert counts.item() == 70_000


def test_counts_in_any_memory_order_grow(native: Any) -> None:
    x = feature_map((3, 5, 7, 9))
    counts = torch.zeros(9, 7, 5, dtype=torch.int32).permute(2, 1, 0)
    native.count_(x.contiguous(memory_format=torch.channels_last), counts)
    assert torch.equal(counts, (x > 0).sum(0).int())


def test_several_threads_count_the_same(native: Any) -> None:
    x, low_rate = feature_map((6, 64, 33, 31)), torch.rand(64, 33, 31) < 0.3
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        counts = torch.zeros_like(x[0], dtype=torch.int32)
        scores = torch.zeros(len(x), dtype=torch.int32)
        y = native.correct_and_count(
            x,
            factor=torch.rand(64, generator=torch.Generator().manual_seed(0)),
            counts=counts,
            low_rate=low_rate,
            scores=scores,
        )
        found.append((bits(y), counts, scores))
    torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_knows_the_shape_the_gradient_and_the_graph(native: Any, name: str) -> None:
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.library.opcheck(native.correct.default, (x,), constants(name, x))


def test_pytorch_knows_what_a_count_changes(native: Any) -> None:
    x, low_rate = torch.randn(2, 3, 4, 5), torch.rand(3, 4, 5) < 0.5
    counts, scores = torch.zeros(3, 4, 5, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    torch.library.opcheck(native.count_.default, (x, counts, low_rate, scores))
    more = {"counts": counts, "low_rate": low_rate, "scores": scores}
    torch.library.opcheck(native.correct_and_count.default, (x,), {**constants("cap", x), **more})


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_reference(native: Any, name: str) -> None:
    # No value on the cap itself: since 2.14 PyTorch's clamp passes half of the gradient there.
    x = feature_map((3, 5, 7, 9)).nan_to_num()
    x = x.masked_fill(x == 0, 1).requires_grad_()
    given, slope = constants(name, x), torch.randn(3, 5, 7, 9)
    found = [
        torch.autograd.grad(each.correct(x, **given), x, slope)[0] for each in (native, reference)
    ]
    assert torch.equal(*found)


def test_a_compiled_function_keeps_the_op_in_one_graph(native: Any) -> None:
    factor = torch.rand(5)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def work(x: Tensor) -> Tensor:
        return native.correct(x + 1, factor=factor).relu()

    x = torch.randn(3, 5, 7, 9)
    assert torch.equal(work(x), ((x + 1) * factor[:, None, None]).relu())


def test_a_wrong_constant_is_refused(native: Any) -> None:
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(RuntimeError, match=r"expected \[3, 4, 4\], found \[3, 4, 5\]"):
        native.correct(x, cap=torch.zeros(3, 4, 5))
    with pytest.raises(RuntimeError, match="exactly one edit"):
        native.correct(x)
    with pytest.raises(RuntimeError, match="expected Float, found Half"):
        native.correct(x, factor=torch.ones(3).half())


def test_a_profile_is_the_same_by_both(native: Any, face: nn.Module, monkeypatch: Any) -> None:
    generator, latents = Generator.of(face), Latents((100, 1, 1), 0)
    layers = generator.layers[:3]
    low_rate = [(each, torch.rand(each.channels, *each.resolution) < 0.4) for each in layers]
    found = []
    for which in ("native", "ref"):
        monkeypatch.setenv("GANFIX_OPS", which)
        counts = count_active(generator, layers, latents, 40)
        found.append([*counts.values(), count_low_rate(generator, low_rate, latents, 40)])
    assert all(torch.equal(one, other) for one, other in zip(*found))


def test_a_fade_is_the_same_by_both(native: Any, monkeypatch: Any) -> None:
    x = feature_map((3, 5, 7, 9))
    fade = Fade(torch.rand(3, 5) < 0.5, torch.rand(3, 7, 9))
    y = fade(x)
    monkeypatch.setenv("GANFIX_OPS", "ref")
    torch.testing.assert_close(fade(x), y, rtol=0, atol=0, equal_nan=True)


def test_float64_and_other_shapes_go_to_the_reference(native: Any) -> None:
    assert ops.implementation(torch.zeros(1, 1, 1, 1).double()) is reference
    assert ops.implementation(torch.zeros(1, 1)) is reference


def test_two_processes_at_once_build_one_library(built: Any) -> None:
    folder, both = built
    assert [name for name, _ in both] == ["native", "native"]
    assert len(list(folder.rglob("*.so"))) == 1
    said_so = [line for _, lines in both for line in lines]
    assert any("compiling the native ops" in line for line in said_so)
    assert {path.suffix for path in folder.rglob("*.*") if path.is_file()} <= {".so", ".lock"}


def test_a_library_that_is_there_is_used_without_being_asked_for(built: Any) -> None:
    assert said(process(built[0])) == ("native", [])


def test_by_default_nothing_is_built_and_nothing_said(tmp_path: Path) -> None:
    assert said(process(tmp_path)) == ("reference", [])
    assert not list(tmp_path.rglob("*"))


def test_ref_is_the_reference_whatever_was_built(built: Any) -> None:
    assert said(process(built[0], GANFIX_OPS="ref")) == ("reference", [])


def test_without_a_compiler_the_reference_runs_and_one_line_says_so(tmp_path: Path) -> None:
    name, lines = said(process(tmp_path, GANFIX_OPS="native", CXX="no-such-compiler"))
    assert name == "reference"
    why = "there is no C++ compiler no-such-compiler"
    assert lines == [f"ganfix: no native ops on cpu ({why}); the reference runs"]


def test_a_broken_compiler_leaves_nothing_behind_but_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "c++"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'fatal error: out of order' >&2\nexit 1\n")
    broken.chmod(0o755)
    name, lines = said(process(tmp_path / "cache", GANFIX_OPS="native", CXX=str(broken)))
    assert name == "reference"
    why = f"they could not be compiled by {broken}: fatal error: out of order"
    assert lines[1:] == [f"ganfix: no native ops on cpu ({why}); the reference runs"]
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    name, lines = said(process(tmp_path / "file", GANFIX_OPS="native"))
    assert name == "reference" and "cannot be written: Not a directory" in lines[1]


def test_a_damaged_library_is_not_used(built: Any, tmp_path: Path) -> None:
    shutil.copytree(built[0], tmp_path / "cache")
    next((tmp_path / "cache").rglob("*.so")).write_bytes(b"nonsense")
    name, lines = said(process(tmp_path / "cache"))
    assert name == "reference"
    assert len(lines) == 1 and "Could not load this library" in lines[0]


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANFIX_OPS", "fast")
    with pytest.raises(GanfixError, match="GANFIX_OPS=fast: expected ref or native"):
        ops.implementation(torch.zeros(1, 1, 1, 1))


def test_another_pytorch_compiler_or_source_gets_a_library_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = build.Toolchain.find()
    keys = [toolchain.key()]
    assert toolchain.key() == keys[0]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        keys.append(toolchain.key())
    other = tmp_path / "c++"
    other.write_text("#!/bin/sh\necho another compiler\n")
    other.chmod(0o755)
    keys.append(build.Toolchain(str(other)).key())
    shutil.copytree(build.SOURCES, tmp_path / "ops")
    with (tmp_path / "ops" / "core.h").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "ops")
    keys.append(toolchain.key())
    assert len(set(keys)) == 4


# --- CUDA. No GPU is needed for any of this, and none has ever run it.


@pytest.mark.skipif(not shutil.which("nvcc"), reason="there is no nvcc here")
def test_the_cuda_library_compiles_and_serves_the_cpu_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path))
    found = build.Toolchain.find()
    library = build.build(build.Toolchain(found.compiler, shutil.which("nvcc")))
    code = library.read_bytes()
    assert all(f"sm_{each}".encode() in code for each in build.ARCHITECTURES)
    script = (
        f"import torch; torch.ops.load_library({str(library)!r}); x = torch.randn(2, 3, 4, 5); "
        "y = torch.ops.ganfix.correct(x, torch.zeros(3, 4, 5)); "
        "assert torch.equal(y, x.clamp(max=0)); "
        "print(torch._C._dispatch_has_kernel_for_dispatch_key('ganfix::correct', 'CUDA'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


class Pass(ctypes.Structure):
    """`ganfix::Pass` of core.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "y", "cap", "factor", "keep", "faded")),
        *((name, ctypes.c_void_p) for name in ("counts", "low_rate", "scores")),
        *((name, ctypes.c_int64) for name in ("rows", "units", "pixels")),
        ("factor_by_row", ctypes.c_bool),
        ("channels_last", ctypes.c_bool),
    ]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """cuda.cu compiled for the CPU, where blocks of one thread run one after the other."""
    folder = tmp_path_factory.mktemp("emulated")
    source = (build.SOURCES / "cuda.cu").read_text()
    source = source.replace("kThreads = 256", "kThreads = 1")
    source, launches = re.subn(
        r"(\brun<\w+, \w+::\w+>)<<<grid, kThreads, 0, stream>>>\(pass\)",
        r"emulate(grid, [&] { \1(pass); })",
        source,
    )
    assert launches == 4
    (folder / "cuda_runtime.h").write_text(
        """
#define __global__
struct dim3 { unsigned x, y; dim3(unsigned x = 1, unsigned y = 1) : x(x), y(y) {} };
using cudaStream_t = void*;
using cudaError_t = int;
constexpr int cudaSuccess = 0;
inline int cudaGetLastError() { return 0; }
inline const char* cudaGetErrorString(int) { return ""; }
inline dim3 blockIdx, threadIdx{0, 0}, gridDim;
inline int __syncthreads_count(bool one) { return one; }
inline void atomicAdd(int* to, int one) { *to += one; }
template <class Kernel> void emulate(dim3 grid, Kernel kernel) {
  gridDim = grid;
  for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) kernel();
}
"""
    )
    (folder / "emulated.cpp").write_text(
        source + '\nextern "C" const char* emulated(const ganfix::Pass* pass, int kind) {'
        " return ganfix::run_on_cuda(*pass, ganfix::Kind(kind), nullptr); }\n"
    )
    line = ["c++", "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
    line += [f"-I{folder}", f"-I{build.SOURCES}", "emulated.cpp", "-o", "emulated.so"]
    subprocess.run(line, cwd=folder, check=True)
    yield ctypes.CDLL(str(folder / "emulated.so")).emulated


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", FAST, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_cuda_kernel_does_what_the_cpu_does(
    emulated: Any, native: Any, name: str, dtype: torch.dtype, last: bool
) -> None:
    order = torch.channels_last if last else torch.contiguous_format
    x = feature_map((19, 5, 3, 4), dtype).contiguous(memory_format=order)
    given = constants(name, x)
    low_rate = torch.rand(1, 5, 3, 4) < 0.4
    plain = {"low_rate": low_rate[0], "counts": torch.zeros(5, 3, 4, dtype=torch.int32)}
    scores = torch.zeros(19, dtype=torch.int32)
    expected = native.correct_and_count(x, **given, **plain, scores=scores)

    # As library.cpp hands them on: what belongs to neurons in the order of the feature map.
    ordered = {
        "x": x,
        "y": torch.empty_like(x),
        "counts": torch.zeros(1, 5, 3, 4, dtype=torch.int32).contiguous(memory_format=order),
        "low_rate": low_rate.contiguous(memory_format=order),
        "scores": torch.zeros(19, dtype=torch.int32),
        **given,
    }
    if name == "cap":
        ordered["cap"] = given["cap"][None].contiguous(memory_format=order)
    pointers = {key: tensor.data_ptr() for key, tensor in ordered.items()}
    by_row = name == "factor by row"
    kernel_pass = Pass(
        **pointers, rows=19, units=5, pixels=12, factor_by_row=by_row, channels_last=last
    )
    assert emulated(ctypes.byref(kernel_pass), FAST.index(dtype)) == 0
    assert torch.equal(bits(ordered["y"]), bits(expected))
    assert torch.equal(ordered["counts"][0], plain["counts"])
    assert torch.equal(ordered["scores"], scores)
