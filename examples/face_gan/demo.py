"""``make demo``: find the worst faces among a few thousand, correct them, and show it.

The images come from ``generate.py`` beside this file, run twice: as it is, and with ``--correct``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import legacy
import numpy as np
import torch
from PIL import Image

import ganfix_plugin as ganfix
from ganfix_plugin.artifacts.heatmap import lr_heatmap
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.pictures.palette import difference, heat
from ganfix_plugin.pictures.sheet import Band, Row, sheet
from ganfix_plugin.profiling.profile import GATE_RATE

HERE = Path(__file__).parent
CORRECT = "seqabl:lowest=30%,layers=4x4+8x8,gate=lr:70%"


@click.command()
@click.option("--num", default=3000, show_default=True, help="Seeds to search for artifacts.")
@click.option("--shown", default=12, show_default=True, help="Images per band of the sheet.")
@click.option("--correct", default=CORRECT, show_default=True, help="The correction to show.")
@click.option("--outdir", default="out", show_default=True, help="Where to write.")
def demo(num: int, shown: int, correct: str, outdir: str) -> None:
    """Correct the worst faces of the face GAN and write before, after and a contact sheet."""
    G = legacy.generator()
    latents = np.stack(
        [np.random.RandomState(seed).randn(legacy.Z_DIM, 1, 1) for seed in range(num)]
    )
    z = torch.from_numpy(latents).float()

    click.echo(f"Scoring {num} seeds by their active low-rate neurons …")
    order = ganfix.detect(G, z).argsort(descending=True, stable=True).tolist()
    worst, cleanest = order[:shown], order[-shown:]

    out = Path(outdir).resolve()
    seeds = ",".join(map(str, worst + cleanest))
    generate(seeds, out / "before")
    generate(seeds, out / "after", "--correct", correct)

    bands = [
        band(f"The {shown} most artifact-prone of {num} seeds", worst, out, heatmaps(G, z[worst])),
        band(f"The {shown} least artifact-prone", cleanest, out, heatmaps(G, z[cleanest])),
    ]
    title = "Face GAN, uncorrected and corrected"
    sheet(title, f"--correct {correct}", bands).save(out / "sheet.png")

    changed = [seed for seed in worst + cleanest if not same(out, seed)]
    click.echo(f"\nContact sheet: {out / 'sheet.png'}")
    click.echo(f"Images:        {out / 'before'}, {out / 'after'}")
    click.echo(
        f"Changed:       {len(set(changed) & set(worst))} of the {shown} worst seeds, "
        f"{len(set(changed) & set(cleanest))} of the {shown} cleanest; the others are identical"
    )


def generate(seeds: str, outdir: Path, *options: str) -> None:
    """Run generate.py under ganfix."""
    script = [str(HERE / "generate.py"), f"--seeds={seeds}", f"--outdir={outdir}"]
    command = [sys.executable, "-m", "ganfix_plugin", "run", *script, *options]
    if status := subprocess.run(command).returncode:
        sys.exit(status)


def heatmaps(G: torch.nn.Module, z: torch.Tensor) -> np.ndarray:
    """The heat maps of some latents [n, 64, 64]."""
    generator = Generator.of(G)
    profile = ganfix.profile(G)
    low_rate = [(layer, profile.low_rate(layer, GATE_RATE)) for layer in generator.auto]
    return lr_heatmap(generator, low_rate, z).numpy()


def band(heading: str, seeds: list[int], out: Path, heats: np.ndarray) -> Band:
    """Before, after, what changed, and where the low-rate neurons are, one column per seed."""
    before = [Image.open(out / "before" / f"seed{seed:04d}.png") for seed in seeds]
    after = [Image.open(out / "after" / f"seed{seed:04d}.png") for seed in seeds]
    return Band(
        heading,
        [f"seed {seed}" for seed in seeds],
        [
            Row("before", "as generated", before),
            Row("after", "corrected", after),
            Row("difference", "dark: none", [difference(*pair) for pair in zip(before, after)]),
            Row("heat map", "low-rate neurons", [heat(each, 0, 0.08) for each in heats]),
        ],
    )


def same(out: Path, seed: int) -> bool:
    """Whether a seed's image is the same with and without the correction."""
    files = (out / side / f"seed{seed:04d}.png" for side in ("before", "after"))
    before, after = (np.asarray(Image.open(file)) for file in files)
    return bool(np.array_equal(before, after))


if __name__ == "__main__":
    demo()
