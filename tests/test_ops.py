"""The native ops compute what PyTorch does, can be had wherever there is a compiler, and are never
in the way where there is none."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from edits import LAYOUTS, bits, feature_map
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents, latent_batches
from ganfix_plugin.hooks.fade import Fade
from ganfix_plugin.ops import build, reference
from ganfix_plugin.ops.dispatch import DTYPES, implementation
from ganfix_plugin.profiling.rates import count_active, lr_counts

SHAPES = [(1, 1, 1, 1), (3, 5, 7, 9), (2, 16, 1, 1), (9, 24, 16, 17), (0, 3, 4, 4), (2, 0, 4, 4)]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
TRY = """
import torch
from ganfix_plugin.hosts.console import speak
speak()
from ganfix_plugin.ops import dispatch as ops
print("native" if ops.implementation(torch.zeros(1, 1, 1, 1)) is torch.ops.ganfix else "reference")
"""


def process(cache: Path, **variables: str) -> subprocess.Popen[str]:
    """A process of its own that asks for the ops, and says which it gets."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GANFIX")}
    env |= {"GANFIX_CACHE": str(cache), **variables}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", TRY]
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)


def said(running: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Which ops it got, and the lines of stderr."""
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    return out.strip(), err.splitlines()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, list[str]]]]:
    """A cache with the library, and what the two processes said that were told at once to build."""
    if not hasattr(torch.library, "register_autograd"):
        pytest.skip(f"native ops need PyTorch 2.4, and this is {torch.__version__}")
    folder = tmp_path_factory.mktemp("ops")
    both = [process(folder, GANFIX_OPS="native") for _ in range(2)]
    return folder, [said(running) for running in both]


@pytest.fixture
def native(built: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The native ops, in this process."""
    monkeypatch.setenv("GANFIX_CACHE", str(built[0]))
    monkeypatch.setenv("GANFIX_OPS", "native")
    assert implementation(torch.zeros(1, 1, 1, 1)) is torch.ops.ganfix
    return torch.ops.ganfix


def constants(x: Tensor) -> dict[str, Tensor]:
    """What the ops are given beside a feature map."""
    n, c, h, w = x.shape
    chance = torch.Generator().manual_seed(1)
    return {
        "units": torch.rand(n, c, generator=chance) < 0.5,
        "keep": torch.rand(n, h, w, generator=chance).to(x.dtype),
        "low_rate": torch.rand(c, h, w, generator=chance) < 0.3,
        "counts": torch.ones(c, h, w, dtype=torch.int32),
        "scores": torch.ones(n, dtype=torch.int32),
    }


def results(ops: Any, x: Tensor) -> dict[str, Tensor]:
    """What some ops do to a feature map and to copies of its `constants`."""
    c = constants(x)
    ops.count_active_(x, c["counts"])
    ops.count_low_rate_(x, c["low_rate"], c["scores"])
    return {"counts": c["counts"], "scores": c["scores"], "y": ops.fade(x, c["units"], c["keep"])}


def same(x: Tensor, y: Tensor) -> bool:
    """Bit for bit, any NaN for any other: PyTorch itself makes several of them."""
    return torch.equal(x.isnan(), y.isnan()) and torch.equal(
        *(bits(z.masked_fill(z.isnan(), 0)) for z in (x, y))
    )


@pytest.mark.slow
@layouts
@shapes
@dtypes
def test_they_compute_what_the_reference_does_bit_for_bit(
    native: Any, dtype: torch.dtype, shape: tuple[int, ...], layout: Callable[[Tensor], Tensor]
) -> None:
    x = layout(feature_map(shape, dtype))
    ours, expected = results(native, x), results(reference, x)
    assert same(ours["y"], expected["y"])
    assert ours["y"].dtype == dtype and ours["y"].stride() == torch.empty_like(x).stride()
    assert torch.equal(ours["counts"], expected["counts"])
    assert torch.equal(ours["scores"], expected["scores"])


@dtypes
def test_the_reference_is_the_definition(dtype: torch.dtype) -> None:
    x = feature_map((3, 5, 7, 9), dtype)
    c, by_reference = constants(x), results(reference, x)
    active = (x > 0).int()
    assert torch.equal(by_reference["counts"], 1 + active.sum(0).int())
    assert torch.equal(by_reference["scores"], 1 + (active * c["low_rate"]).sum((1, 2, 3)).int())
    faded = torch.where(c["units"][:, :, None, None], x * c["keep"][:, None], x)
    assert same(by_reference["y"], faded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_value_is_faded_as_pytorch_scales_it(native: Any, dtype: torch.dtype) -> None:
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype).view(1, 1, 256, 256)
    for factor in (1.0, 0.3333, 1.7e-4, 0.0):
        keep = torch.full((1, 256, 256), factor, dtype=dtype)
        assert same(native.fade(x, torch.ones(1, 1, dtype=torch.bool), keep), x * keep)


@dtypes
def test_no_count_overflows(native: Any, dtype: torch.dtype) -> None:
    x = torch.ones(70_000, 1, 1, 1, dtype=dtype)
    for ops in (native, reference):
        counts = torch.zeros(1, 1, 1, dtype=torch.int32)
        ops.count_active_(x, counts)
        assert counts.item() == 70_000


def test_counts_in_any_memory_order_grow(native: Any) -> None:
    x = feature_map((3, 5, 7, 9))
    counts = torch.zeros(9, 7, 5, dtype=torch.int32).permute(2, 1, 0)
    native.count_active_(x.contiguous(memory_format=torch.channels_last), counts)
    assert torch.equal(counts, (x > 0).sum(0).int())


@layouts
def test_several_threads_do_the_same(native: Any, layout: Callable[[Tensor], Tensor]) -> None:
    x = layout(feature_map((6, 64, 33, 31)))
    one = results(native, x)
    torch.set_num_threads(2)
    two = results(native, x)
    torch.set_num_threads(1)
    assert all(torch.equal(bits(one[name]), bits(two[name])) for name in one)


def test_pytorch_knows_shapes_gradients_graphs_and_what_changes(native: Any) -> None:
    x = torch.randn(2, 3, 4, 5)
    c = constants(x)
    torch.library.opcheck(native.count_active_.default, (x, c["counts"]))
    torch.library.opcheck(native.count_low_rate_.default, (x, c["low_rate"], c["scores"]))
    torch.library.opcheck(native.fade.default, (x.requires_grad_(), c["units"], c["keep"]))


def test_gradients_are_those_of_the_reference(native: Any) -> None:
    x, slope = feature_map((3, 5, 7, 9)).nan_to_num().requires_grad_(), torch.randn(3, 5, 7, 9)
    ours, expected = (
        torch.autograd.grad(results(ops, x)["y"], x, slope)[0] for ops in (native, reference)
    )
    assert torch.equal(ours, expected)


def test_a_compiled_function_keeps_the_op_in_one_graph(native: Any) -> None:
    x = torch.randn(3, 5, 7, 9)
    c = constants(x)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def work(x: Tensor) -> Tensor:
        return native.fade(x + 1, c["units"], c["keep"]).relu()

    assert torch.equal(work(x), reference.fade(x + 1, c["units"], c["keep"]).relu())


def test_a_wrong_tensor_is_refused(native: Any) -> None:
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(RuntimeError, match=r"expected Int \[3, 4, 4\], found Int \[3, 4, 5\]"):
        native.count_active_(x, torch.zeros(3, 4, 5, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="expected Float .* found Half"):
        native.fade(x, torch.ones(2, 3) > 0, torch.ones(2, 4, 4).half())
    with pytest.raises(RuntimeError, match="expected a feature map"):
        native.count_active_(x[0], torch.zeros(3, 4, 4, dtype=torch.int32))


def test_a_profile_is_the_same_by_both(native: Any, face: nn.Module, monkeypatch: Any) -> None:
    generator, latents = Generator.of(face), Latents((100, 1, 1), 0)
    layers = generator.layers[:3]
    low_rate = [(layer, torch.rand(layer.channels, *layer.resolution) < 0.4) for layer in layers]
    both = []
    for which in ("native", "ref"):
        monkeypatch.setenv("GANFIX_OPS", which)
        counts = count_active(generator, layers, latents, 40)
        batches = latent_batches(generator, latents, 40, 32, "scores")
        both.append([*counts.values(), lr_counts(generator, low_rate, batches)])
    assert all(torch.equal(one, other) for one, other in zip(*both))


def test_a_fade_is_the_same_by_both(native: Any, monkeypatch: Any) -> None:
    x = feature_map((3, 5, 7, 9))
    fade = Fade(torch.rand(3, 5) < 0.5, torch.rand(3, 7, 9))
    y = fade(x)
    monkeypatch.setenv("GANFIX_OPS", "ref")
    torch.testing.assert_close(fade(x), y, rtol=0, atol=0, equal_nan=True)


def test_float64_and_other_shapes_go_to_the_reference(native: Any) -> None:
    assert implementation(torch.zeros(1, 1, 1, 1).double()) is reference
    assert implementation(torch.zeros(1, 1)) is reference


def test_two_processes_at_once_build_one_library(built: Any) -> None:
    folder, both = built
    assert [name for name, _ in both] == ["native", "native"]
    assert len(list(folder.rglob("*.so"))) == 1
    said_so = [line for _, lines in both for line in lines]
    assert any("compiling the native ops" in line for line in said_so)
    assert {path.suffix for path in folder.rglob("*.*") if path.is_file()} <= {".so", ".lock"}


@pytest.mark.slow
def test_a_library_that_is_there_is_used_without_being_asked_for(built: Any) -> None:
    assert said(process(built[0])) == ("native", [])


@pytest.mark.slow
def test_by_default_nothing_is_built_and_nothing_said(tmp_path: Path) -> None:
    assert said(process(tmp_path)) == ("reference", [])
    assert not list(tmp_path.rglob("*"))


@pytest.mark.slow
def test_ref_is_the_reference_whatever_was_built(built: Any) -> None:
    assert said(process(built[0], GANFIX_OPS="ref")) == ("reference", [])


@pytest.mark.slow
def test_without_a_compiler_the_reference_runs_and_one_line_says_so(tmp_path: Path) -> None:
    name, lines = said(process(tmp_path, GANFIX_OPS="native", CXX="no-such-compiler"))
    assert name == "reference"
    why = "there is no C++ compiler no-such-compiler"
    assert lines == [f"ganfix: no native ops on cpu ({why}); the reference runs"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    name, lines = said(process(tmp_path / "file", GANFIX_OPS="native"))
    assert name == "reference" and "cannot be written: Not a directory" in lines[1]


@pytest.mark.slow
def test_a_damaged_library_is_not_used(built: Any, tmp_path: Path) -> None:
    shutil.copytree(built[0], tmp_path / "cache")
    next((tmp_path / "cache").rglob("*.so")).write_bytes(b"nonsense")
    name, lines = said(process(tmp_path / "cache"))
    assert name == "reference"
    assert len(lines) == 1 and "Could not load this library" in lines[0]


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANFIX_OPS", "fast")
    with pytest.raises(GanfixError, match="GANFIX_OPS=fast: expected ref or native"):
        implementation(torch.zeros(1, 1, 1, 1))


def test_another_pytorch_compiler_or_source_gets_a_library_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = build.Toolchain.find()
    libraries = [toolchain.library()]
    assert toolchain.library() == libraries[0]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        libraries.append(toolchain.library())
    other = tmp_path / "c++"
    other.write_text("#!/bin/sh\necho another compiler\n")
    other.chmod(0o755)
    libraries.append(build.Toolchain(str(other)).library())
    shutil.copytree(build.SOURCES, tmp_path / "ops")
    with (tmp_path / "ops" / "pass.h").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "ops")
    libraries.append(toolchain.library())
    assert len(set(libraries)) == 4


# --- CUDA. No GPU is needed for any of this, and none has ever run it.


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("nvcc"), reason="there is no nvcc here")
def test_the_cuda_library_compiles_and_serves_the_cpu_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path))
    compiler = build.Toolchain.find().compiler
    library = build.Toolchain(compiler, shutil.which("nvcc")).build()
    code = library.read_bytes()
    assert all(f"sm_{number}".encode() in code for number in build.ARCHITECTURES)
    script = (
        f"import torch; torch.ops.load_library({str(library)!r}); x = torch.randn(2, 3, 4, 5); "
        "counts = torch.zeros(3, 4, 5, dtype=torch.int32); "
        "torch.ops.ganfix.count_active_(x, counts); print(torch.equal(counts, (x > 0).sum(0)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


class Pass(ctypes.Structure):
    """`ganfix::Pass` of pass.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "counts", "scores", "low_rate")),
        *((name, ctypes.c_void_p) for name in ("y", "faded", "keep")),
        *((name, ctypes.c_int64) for name in ("rows", "units", "pixels", "size")),
        ("kind", ctypes.c_int),
        ("channels_last", ctypes.c_bool),
    ]


CUDA_FOR_CPU = """
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


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """cuda.cu compiled for the CPU, where blocks of one thread run one after the other."""
    folder = tmp_path_factory.mktemp("emulated")
    source = (build.SOURCES / "cuda.cu").read_text()
    source = source.replace("kThreads = 256", "kThreads = 1")
    source, launches = re.subn(
        r"(\brun<\w+>)<<<grid, kThreads, 0, on>>>\(pass\)",
        r"emulate(grid, [&] { \1(pass); })",
        source,
    )
    assert launches == 3
    (folder / "cuda_runtime.h").write_text(CUDA_FOR_CPU)
    for name, theirs, ours in (("fp16", "__half", "Half"), ("bf16", "__nv_bfloat16", "BFloat16")):
        header = f"#include <c10/util/{ours}.h>\nusing {theirs} = c10::{ours};\n"
        (folder / f"cuda_{name}.h").write_text(header)
    (folder / "emulated.cpp").write_text(
        source + '\nextern "C" const char* emulated(const ganfix::Pass* pass) {'
        " return ganfix::run_on_cuda(*pass, nullptr); }\n"
    )
    command = ["c++", "-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f"-I{folder}"]
    command += [f"-I{build.SOURCES}", f"-I{Path(torch.__file__).parent / 'include'}"]
    subprocess.run([*command, "emulated.cpp", "-o", "emulated.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "emulated.so")).emulated


@dtypes
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_the_cuda_kernel_does_what_the_reference_does(
    emulated: Any, dtype: torch.dtype, last: bool
) -> None:
    order = torch.channels_last if last else torch.contiguous_format
    x = feature_map((19, 5, 3, 4), dtype).contiguous(memory_format=order)
    expected = results(reference, x)
    # As library.cpp hands them on: what belongs to neurons in the order of the feature map.
    c = constants(x)
    counts = c["counts"][None].contiguous(memory_format=order)
    low_rate = c["low_rate"][None].contiguous(memory_format=order)
    y = torch.empty_like(x)
    passes = [
        {"counts": counts},
        {"scores": c["scores"], "low_rate": low_rate},
        {"y": y, "faded": c["units"], "keep": c["keep"]},
    ]
    sizes = {"rows": 19, "units": 5, "pixels": 12, "size": 60}
    for tensors in passes:
        pointers = {name: tensor.data_ptr() for name, tensor in {"x": x, **tensors}.items()}
        kernel_pass = Pass(**pointers, **sizes, kind=DTYPES.index(dtype), channels_last=last)
        assert emulated(ctypes.byref(kernel_pass)) == 0
    assert torch.equal(counts[0], expected["counts"])
    assert torch.equal(c["scores"], expected["scores"])
    assert same(y, expected["y"])
