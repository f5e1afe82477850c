"""Peak memory of profiling: it must not grow with the number of latents."""

from __future__ import annotations

from pathlib import Path

from core import Results, Row, Setup, python
from networks import stylegan2

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.profiling.rates import count_active

CHILD = "import torch; torch.set_num_threads(1); import memory; print(memory.peak({}, {}))"
GROWTH = 1.1  # by four times the latents; two equal runs differ by a few percent


def measure(setup: Setup) -> Results:
    """Of N and of 4 N latents, each in a process of its own."""
    resolution, n = setup.size(256, 16), setup.size(32, 2)
    few, many = (
        int(python("-c", CHILD.format(resolution, size), PYTHONPATH=str(Path(__file__).parent)))
        for size in (n, 4 * n)
    )
    yield Row(
        f"peak memory of profiling {4 * n} latents of StyleGAN2 {resolution}, beside {n}",
        f"{many} MB",
        f"{few} MB",
        f"{many / few:.2f}×",
        f"≤ {GROWTH}×",
        many <= GROWTH * few,
    )


def peak(resolution: int, samples: int) -> int:
    """MB at the peak of this process, after profiling."""
    G = stylegan2(resolution)
    generator = Generator.of(G)
    layers = generator.auto
    count_active(generator, layers, Latents((512,), 0), samples)
    return _peak()


def _peak() -> int:
    """Not getrusage's: that of a new process begins with the peak of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
