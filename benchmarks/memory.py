"""Peak memory of commands: it must not grow with the number of latents.

Each command runs in a process of its own, on a small random StyleGAN2.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from core import Results, Row, Setup, python
from networks import stylegan2
from PIL import Image
from torch import Tensor, nn

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels, write

CHILD = "import sys, memory; print(memory.peak(sys.argv[1:]))"
LATENTS = (2_000, 20_000)
GROWTH = 1.1  # by ten times the latents; two equal runs differ by a few percent
LABELLED = 20
SIDE = 16  # pixels
LABELS = "labels.csv"
REAL = "real"
TO_CLASSIFIER = {"--labels": LABELS, "--extractor": "memory:look"}
COMMANDS = {  # in an order in which each finds what it needs
    "profile": {"--layers": "all", "--samples": "N"},
    "detect": {"--num": "N", "--samples": "500", "--top": "2", "--out": "detected"},
    "fit": TO_CLASSIFIER,
    "score": {"--labels": LABELS, "--extractor": "memory:look", "--samples": "N"},
    "prepare": {"--num": "N", "--samples": "N", "--top": "20", "--extractor": "memory:look"},
    "evaluate": {
        "--num": "N",
        "--real": REAL,
        "--extractor": "memory:look",
        "--correct": "seqabl:samples=500",
        "--resamples": "5",
    },
    "units": {
        "--num": "N",
        "--real": REAL,
        "--extractor": "memory:look",
        "--per-unit": "1000",
        "--samples": "500",
    },
    "latents": {"--seeds": "1-N", "--correct": "truncation:psi=0.5", "--out": "w.npz"},
}


def measure(setup: Setup) -> Results:
    """Of each command, with N latents and with ten times as many."""
    few, many = (setup.size(number, 64 * factor) for number, factor in zip(LATENTS, (1, 2)))
    for command in COMMANDS:
        if not any("N" in value for value in COMMANDS[command].values()):
            continue
        before = [name for name in ("fit",) if command == "score"]
        ours, less = (peak_of([*before, command], number) for number in (many, few))
        yield Row(
            f"peak memory of `ganfix {command}`, {many:,} latents beside {few:,}",
            f"{ours} MB",
            f"{less} MB",
            f"{ours / less:.2f}×",
            f"≤ {GROWTH}×",
            ours <= GROWTH * less,
        )


def peak_of(commands: list[str], latents: int) -> int:
    """MB at the peak of the last of some commands, in an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        place = {"PYTHONPATH": str(Path(__file__).parent), "GANFIX_CACHE": folder}
        python("-c", f"import memory; memory.provide({folder!r})", **place)
        for command in commands:
            options = {
                name: value.replace("N", str(latents)) for name, value in COMMANDS[command].items()
            }
            files = {
                name: str(Path(folder) / value)
                for name, value in options.items()
                if name in ("--labels", "--out", "--real")
            }
            words = [f"{name}={value}" for name, value in (options | files).items()]
            printed = python(
                "-c", CHILD, command, "--network=memory:small", "--device=cpu", *words, **place
            )
    return int(printed.split()[-1])


def small() -> nn.Module:
    """The generator: StyleGAN2, 16 units in each layer."""
    torch.manual_seed(0)
    return stylegan2(SIDE, width=256)


def look(images: Tensor) -> Tensor:
    """The features: coarse pixels."""
    return nn.functional.adaptive_avg_pool2d(images, 4)


def provide(folder: str) -> None:
    """Write labels for some seeds, every other one an artifact, and real images."""
    (real := Path(folder) / REAL).mkdir()
    for number in range(2 * LABELLED):
        noise = np.random.RandomState(number).randint(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(real / f"{number:02}.png")
    kinds = (ARTIFACT, NORMAL)
    labels = tuple(Label(seed, kinds[seed % 2], "nobody") for seed in range(2 * LABELLED))
    write(Labels(Generator.of(small()).fingerprint, labels), Path(folder) / LABELS)


def peak(words: list[str]) -> int:
    """MB at the peak of this process, after a command."""
    from ganfix_plugin.cli import main

    torch.set_num_threads(1)
    main(words, standalone_mode=False)
    return _peak()


def _peak() -> int:
    """Not getrusage's: that of a new process begins with the peak of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
