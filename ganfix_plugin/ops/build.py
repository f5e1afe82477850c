"""Compile the native ops with ninja, once per machine, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock

from ganfix_plugin.files import cache_folder

SOURCES = Path(__file__).parent
ARCHITECTURES = (75, 80, 86, 89, 90)
"""The GPUs that get code of their own; later ones translate that of the last."""

_PYTORCH = Path(torch.__file__).parent
_FLAGS = (
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fopenmp",
    # Bit for bit what PyTorch computes: no fused multiply-add. Floats do not trap, so that choices
    # between them need no branch.
    "-ffp-contract=off",
    "-fno-trapping-math",
    f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
    f"-isystem {_PYTORCH / 'include'}",
)


class BuildError(Exception):
    """The native ops cannot be had here; the message says in one line why."""


@dataclass(frozen=True)
class Toolchain:
    """The compilers of this machine.

    Attributes:
        compiler: the C++ compiler's path.
        nvcc: the CUDA compiler's, where PyTorch knows CUDA and there is one.
    """

    compiler: str
    nvcc: str | None = None

    @staticmethod
    def find() -> Toolchain:
        """$CXX or c++; nvcc on the path or in $CUDA_HOME.

        Raises:
            BuildError: if there is no C++ compiler.
        """
        wanted = os.environ.get("CXX", "c++")
        compiler = shutil.which(wanted)
        if not compiler:
            raise BuildError(f"there is no C++ compiler {wanted}")
        if sys.platform not in ("linux", "darwin"):
            raise BuildError(f"they are not built on {sys.platform}")
        home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
        nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(home / "bin"))
        return Toolchain(compiler, nvcc if torch.version.cuda else None)

    def instructions(self) -> str:
        """Flags for what this processor can do, by PyTorch's own check."""
        capable = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        return "-mavx2" if capable else ""

    def ninja_file(self) -> str:
        """What ninja is told to do in an empty folder."""
        flags = " ".join((*_FLAGS, self.instructions(), "-DGANFIX_CUDA" if self.nvcc else ""))
        compile, link = f"{self.compiler} {flags}", f"{self.compiler} -shared -fopenmp"
        libraries = f"-L{_PYTORCH / 'lib'} -lc10 -ltorch_cpu -ltorch"
        objects = "library.o cpu.o"
        if sys.platform == "darwin":
            compile, link = (each.replace("-fopenmp", "") for each in (compile, link))
            libraries += " -undefined dynamic_lookup"
        if self.nvcc:
            objects += " cuda.o"
            # With a CUDA runtime of its own inside, since PyTorch's may be of another version; both
            # share the context and its streams.
            link = f"{self.nvcc} -ccbin {self.compiler} -shared -cudart static -Xcompiler -fopenmp"
        return f"""
rule compile
  command = {compile} -c $in -o $out
rule compile_cuda
  command = {self.nvcc} -ccbin {self.compiler} {_nvcc_flags()} -c $in -o $out
rule link
  command = {link} $in -o $out {libraries}
build library.o: compile {SOURCES / "library.cpp"}
build cpu.o: compile {SOURCES / "cpu.cpp"}
build cuda.o: compile_cuda {SOURCES / "cuda.cu"}
build ganfix_ops.so: link {objects}
default ganfix_ops.so
"""

    def key(self) -> str:
        """A hash of all that the library depends on: sources, compilers, PyTorch, flags."""
        mark = hashlib.sha256(self.ninja_file().encode())
        for source in sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.c*")):
            mark.update(source.read_bytes())
        for tool in (self.compiler, self.nvcc):
            if tool:
                done = subprocess.run([tool, "--version"], capture_output=True)
                mark.update(done.stdout)
        mark.update(f"{torch.__version__} {platform.machine()}".encode())
        return mark.hexdigest()[:16]

    def library(self) -> Path:
        """Where the library is, or will be."""
        return cache_folder() / "ops" / self.key() / "ganfix_ops.so"


def _nvcc_flags() -> str:
    """Code for each of `ARCHITECTURES`, and portable code of the last one."""
    last = ARCHITECTURES[-1]
    each = [f"-gencode arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    each.append(f"-gencode arch=compute_{last},code=compute_{last}")
    return f"-std=c++17 -O3 -fmad=false -Xcompiler -fPIC {' '.join(each)}"


def build(toolchain: Toolchain) -> Path:
    """Compile the library, unless it is there; processes that ask at once wait for the first.

    Raises:
        BuildError: if the compiler or the linker fails, or the cache cannot be written.
    """
    library = toolchain.library()
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(library.with_suffix(".lock")):
            if not library.is_file():
                with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                    _compile(toolchain, Path(folder))
                    os.replace(Path(folder, library.name), library)
    except OSError as error:
        raise BuildError(f"{library.parent} cannot be written: {error.strerror}") from error
    return library


def _compile(toolchain: Toolchain, folder: Path) -> None:
    (folder / "build.ninja").write_text(toolchain.ninja_file())
    done = subprocess.run(
        [sys.executable, "-m", "ninja"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        telling = (line for line in lines if "error" in line.lower() or "No module" in line)
        why = next(telling, lines[-1] if lines else "no reason given")
        raise BuildError(f"they could not be compiled by {toolchain.compiler}: {why.strip()}")
