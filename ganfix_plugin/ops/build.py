"""Compile the native ops with ninja, once per machine, into the cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock

from ganfix_plugin.files import cache_folder

SOURCES = Path(__file__).parent
ARCHITECTURES = (75, 80, 86, 89, 90)
"""The GPUs that get code of their own; later ones translate that of the last."""

_PYTORCH = Path(torch.__file__).parent
_MAC = sys.platform == "darwin"
_OPENMP = "" if _MAC else "-fopenmp"
# Bit for bit what PyTorch computes: no fused multiply-add. Floats do not trap, so that choices
# between them need no branch.
_FLAGS = (
    f"-std=c++20 -O3 -fPIC {_OPENMP} -ffp-contract=off -fno-trapping-math"
    f" -D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    f" -isystem {_PYTORCH / 'include'}"
)
_CUDA_FLAGS = (
    "-std=c++17 -O3 -fmad=false -Xcompiler -fPIC"
    + "".join(f" -gencode arch=compute_{gpu},code=sm_{gpu}" for gpu in ARCHITECTURES)
    + f" -gencode arch=compute_{ARCHITECTURES[-1]},code=compute_{ARCHITECTURES[-1]}"
)
_LIBRARIES = f"-L{_PYTORCH / 'lib'} -lc10 -ltorch_cpu -ltorch" + _MAC * " -undefined dynamic_lookup"


class Unavailable(Exception):
    """There are no native ops here, and no wonder; the message says in one line why."""


class Toolchain(NamedTuple):
    """The paths of the C++ compiler and, where PyTorch knows CUDA and there is one, of nvcc."""

    compiler: str
    nvcc: str | None = None

    @staticmethod
    def find() -> Toolchain:
        """$CXX or c++, without which it raises Unavailable; nvcc on the path or in $CUDA_HOME."""
        wanted = os.environ.get("CXX", "c++")
        if not (compiler := shutil.which(wanted)):
            raise Unavailable(f"there is no C++ compiler {wanted}")
        if sys.platform not in ("linux", "darwin"):
            raise Unavailable(f"they are not built on {sys.platform}")
        home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
        nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(home / "bin"))
        return Toolchain(compiler, nvcc if torch.version.cuda else None)

    def ninja_file(self) -> str:
        """What ninja is told to do in an empty folder."""
        # What this processor can do, by PyTorch's own check.
        capable = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        flags, objects = f"{_FLAGS} {capable * '-mavx2'}", "library.o cpu.o"
        link, nvcc = f"{self.compiler} {_OPENMP}", f"{self.nvcc} -ccbin {self.compiler}"
        if self.nvcc:
            flags, objects = f"{flags} -DGANFIX_CUDA", f"{objects} cuda.o"
            # With a CUDA runtime of its own inside, since PyTorch's may be of another version; both
            # share the context and its streams.
            link = f"{nvcc} -cudart static -Xcompiler -fopenmp"
        return f"""
rule compile
  command = {self.compiler} {flags} -c $in -o $out
rule compile_cuda
  command = {nvcc} {_CUDA_FLAGS} -c $in -o $out
rule link
  command = {link} -shared $in -o $out {_LIBRARIES}
build library.o: compile {SOURCES / "library.cpp"}
build cpu.o: compile {SOURCES / "cpu.cpp"}
build cuda.o: compile_cuda {SOURCES / "cuda.cu"}
build ganfix_ops.so: link {objects}
default ganfix_ops.so
"""

    def library(self) -> Path:
        """Where the library is, or will be: by a hash of sources, compilers, PyTorch and flags."""
        key = hashlib.sha256(self.ninja_file().encode())
        for source in sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.c*")):
            key.update(source.read_bytes())
        for tool in filter(None, self):
            key.update(subprocess.run([tool, "--version"], capture_output=True).stdout)
        key.update(f"{torch.__version__} {platform.machine()}".encode())
        return cache_folder() / "ops" / key.hexdigest()[:16] / "ganfix_ops.so"

    def build(self) -> Path:
        """Compile the library, unless it is there; processes that ask at once wait for the first.

        Raises:
            Unavailable: if compiler or linker fail, or the cache folder cannot be written.
        """
        library = self.library()
        try:
            library.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(library.with_suffix(".lock")):
                if not library.is_file():
                    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                        self._compile(Path(folder))
                        os.replace(Path(folder, library.name), library)
        except OSError as error:
            raise Unavailable(f"{library.parent} cannot be written: {error.strerror}") from error
        return library

    def _compile(self, folder: Path) -> None:
        (folder / "build.ninja").write_text(self.ninja_file())
        ninja = [sys.executable, "-m", "ninja"]
        done = subprocess.run(ninja, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            telling = (line for line in lines if "error" in line.lower() or "No module" in line)
            why = next(telling, lines[-1] if lines else "no reason given")
            raise Unavailable(f"they could not be compiled by {self.compiler}: {why.strip()}")
