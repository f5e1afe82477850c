"""What ganfix costs where it should cost nothing: imports, scripts without --correct, corrections.

    python benchmarks/overhead.py [--script PATH] [--resolution 256]

Processor time, not wall time, which other programs on the machine would spoil.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import torch

from ganfix_plugin.edits import Cap

EXAMPLE = Path(__file__).parents[1] / "examples" / "stylegan2_small" / "generate.py"
IMPORT = (
    "import time, torch; start = time.process_time(); import ganfix_plugin; {}"
    "print(time.process_time() - start)"
)


def child_seconds(*command: str) -> float:
    """Processor time of a command."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return spent() - before


def printed_seconds(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def correction(resolution: int, repeats: int) -> tuple[float, float]:
    """Seconds of one generation by the example's StyleGAN2, of paper's width, and of its hooks."""
    sys.path.insert(0, str(EXAMPLE.parent))
    from training.networks import Generator

    G = Generator(z_dim=512, c_dim=0, w_dim=512, img_resolution=resolution, img_channels=3)
    G = G.eval().requires_grad_(False)
    z = torch.randn(1, 512)
    maps = [(512, 4, 4), (512, 8, 8), (512, 16, 16)]
    edits = [(Cap(torch.rand(shape) < 0.5), torch.randn(1, *shape)) for shape in maps]
    whole, hooks = [], []
    for _ in range(repeats):
        start = time.process_time()
        G(z, None)
        whole.append(time.process_time() - start)
        for turn in range(20):
            start = time.process_time()
            for edit, x in edits:
                edit(x)
            if turn:
                hooks.append(time.process_time() - start)
    return statistics.median(whole), statistics.median(hooks)


@click.command()
@click.option("--script", default=str(EXAMPLE), type=click.Path(exists=True), show_default=True)
@click.option("--resolution", default=256, show_default=True)
@click.option("--repeats", default=7, show_default=True, help="Interleaved runs of each.")
def main(script: str, resolution: int, repeats: int) -> None:
    """Print a Markdown table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    imports, used, plain, under = [], [], [], []
    for _ in range(repeats):
        imports.append(printed_seconds(IMPORT.format("")))
        used.append(printed_seconds(IMPORT.format("ganfix_plugin.attach; ")))
        plain.append(child_seconds(script, "--help"))
        under.append(child_seconds("-m", "ganfix_plugin", "run", "--device=cpu", script, "--help"))
    extra = [one - other for one, other in zip(under, plain)]
    whole, hooks = correction(resolution, repeats)
    click.echo("| | median | smallest |\n|---|---|---|")
    for title, values in (
        ("`import ganfix_plugin`, beyond torch", imports),
        ("… and what `attach` needs", used),
        (f"{Path(script).name} --help under ganfix run, more than without", extra),
    ):
        median, least = 1e3 * statistics.median(values), 1e3 * min(values)
        click.echo(f"| {title} | {median:.0f} ms | {least:.0f} ms |")
    click.echo(
        f"\nOne StyleGAN2 image of {resolution} pixels: {whole:.2f} s; three layers' corrections: "
        f"{1e6 * hooks:.0f} µs, {hooks / whole:.4%}"
    )


if __name__ == "__main__":
    main()
