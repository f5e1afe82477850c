"""Every measurement in one go: a table, and a plot of how the times grow.

    python benchmarks/run.py [--authors DIR] [--gandissect DIR] [--ada DIR] [--out DIR]

README.md beside this file says what each row means.
"""

from __future__ import annotations

import importlib
import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # before anybody imports tqdm
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy start their threads
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import click
import torch
from core import HEAD, Curve, Row, Setup, children, machine, processor
from curves import draw

from ganfix_plugin.pictures.plots import needed

PARTS = {  # by name, the module whose `measure` it is, in the order in which a user meets them
    "first": "first",
    "overhead": "overhead",
    "steering": "steering",
    "screening": "screening",
    "prepare": "preparing",
    "frechet": "frechet",
    "authors": "authors.speed",
    "equality": "authors.equality",
    "gandissect": "gandissect",
    "export": "export",
    "memory": "memory",
    "hooks": "hooks",
    "ops": "ops",
    "growth": "growth",
}
NEEDED = {"authors": "authors", "equality": "authors", "gandissect": "gandissect"}
"""The checkout without which a part is left out."""

CHECKOUT = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


@click.command()
@click.option("--authors", type=CHECKOUT, help="Checkout of the code of the IJCAI 2022 paper.")
@click.option("--genforce", type=CHECKOUT, help="For the file that the authors' code lacks.")
@click.option("--gandissect", type=CHECKOUT, help="Checkout of GAN Dissection.")
@click.option("--ada", type=CHECKOUT, help="stylegan2-ada-pytorch, in the example's place.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="May be repeated.")
@click.option(
    "--quick", is_flag=True, help="Smallest sizes: does it run? The figures mean nothing."
)
@click.option("--repeats", default=3, show_default=True, help="Turns of each; medians are shown.")
@click.option("--threads", default=1, show_default=True, help="More than one: by wall time.")
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    type=int,
    default=(256, 1024),
    show_default=True,
    help="Of the authors' parts; of prepare, the smaller one.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(["stylegan2", "pggan"]),
    default=("stylegan2", "pggan"),
    show_default=True,
    help="Of the authors' parts.",
)
def main(only: tuple[str, ...], threads: int, out: Path | None, **options: object) -> None:
    """Compare ganfix with the authors' code, GAN Dissection, scipy and plain PyTorch."""
    setup = Setup(**options)  # type: ignore[arg-type]
    if setup.ada and find_spec("requests") is None:
        raise click.UsageError("--ada: its scripts need requests; pip install 'ganfix[hosts]'")
    torch.set_num_threads(threads)
    needed()
    lines: list[str] = []
    curves: list[Curve] = []

    def say(line: str) -> None:
        click.echo(line)
        lines.append(line)

    start = time.perf_counter()
    where = machine()
    say(f"{where}\n")
    left_out = [n for n in only or PARTS if n in NEEDED and not getattr(setup, NEEDED[n])]
    say(HEAD)
    for name in only or PARTS:
        if name in left_out:
            continue
        begun = time.perf_counter()
        for result in importlib.import_module(PARTS[name]).measure(setup):
            if isinstance(result, Row):
                say(str(replace(result, met=None) if setup.quick else result))
            else:
                curves.append(result)
        click.echo(f"{name}: {time.perf_counter() - begun:.0f} s", err=True)
    say("")
    for name in left_out:
        say(f"Left out: {name}, which needs --{NEEDED[name]} DIR.")
    took, busy = time.perf_counter() - start, processor() + children()
    say(f"Took {took / 60:.1f} minutes, {busy / 60:.1f} of processor time.")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "benchmarks.md").write_text("\n".join(lines) + "\n")
        if curves:
            draw(out / "growth.png", "How the times grow", where, _panels(curves))


def _panels(curves: list[Curve]) -> dict[str, dict[str, dict[float, float]]]:
    panels: dict[str, dict[str, dict[float, float]]] = {}
    for curve in curves:
        panels.setdefault(curve.panel, {})[curve.name] = dict(curve.points)
    return panels


if __name__ == "__main__":
    main()
