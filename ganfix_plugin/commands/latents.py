"""`ganfix latents`: corrected latents for scripts that render latents, without ganfix."""

from __future__ import annotations

from pathlib import Path

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import FILE, Network, preset
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.files import ready
from ganfix_plugin.moved_latents import (
    SUFFIXES,
    check_suffix,
    entry_name,
    latents_of_seeds,
    save_latents,
)


@main.command()
@options.network
@options.seeds_option("0-9")
@options.class_index
@preset("--trunc", 1.0, "The script's own truncation psi (NVIDIA's generators).")
@options.correct(
    "What corrects them: steer, boundary or truncation; several are applied in a row.",
    required=False,
)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="The file: " + "; ".join(f"{suffix}, {text}" for suffix, text in SUFFIXES.items()) + ".",
)
def latents(
    network: Network,
    seeds: list[int],
    class_index: int | None,
    trunc: float,
    specs: tuple[str, ...],
    out: Path,
) -> None:
    """Write the corrected latents of seeds, for scripts that render latents without ganfix.

    \b
    ganfix latents --network ffhq.pkl --seeds 0-99 --correct steer --out w.npz
    python generate.py --network=ffhq.pkl --projected-w=w.npz --outdir=out

    The images are those of generate.py --seeds=0-99 --correct steer, in their order. Where a
    generator takes z and no w, the file holds z.
    """
    check_suffix(out)
    bound = parse_specs(specs)
    ready(out)
    with network.opened() as generator:
        name = entry_name(generator)
        ws = latents_of_seeds(generator, seeds, bound, trunc, class_index)
        shape, moved = save_latents(out, ws, len(seeds), name, seeds, bound)
    numbers = ", ".join(map(str, shape))
    click.echo(f"{out}: {name} [{numbers}], {moved} of {len(seeds)} moved")
