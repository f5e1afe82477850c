"""`ganfix render`: the images of seeds, corrected or not, and the record of how."""

from __future__ import annotations

from pathlib import Path

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import PATH, Network
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.files import ready, written
from ganfix_plugin.generators.latents import check_class


@main.command()
@options.network
@options.seeds_option("0-9")
@options.class_index
@options.correct("A correction; several are applied in a row.", required=False)
@click.option("--out", type=PATH, required=True, help="The folder for the images and ganfix.json.")
def render(
    network: Network,
    seeds: list[int],
    class_index: int | None,
    specs: tuple[str, ...],
    out: Path,
) -> None:
    """Write images of seeds, corrected or not, of any generator.

    \b
    ganfix render --network ffhq.pkl --seeds 3,8-10 --correct steer --out images

    At truncation psi 1 and with constant noise: where the codebase has a generate.py, these are
    its images. ganfix.json beside them says how each was made.
    """
    from ganfix_plugin.web import takeaway
    from ganfix_plugin.web.studio import Studio

    bound = tuple(parse_specs(specs))
    ready(out, folder=True)
    with network.opened() as generator:
        check_class(generator, class_index, needed=False)
        studio = Studio(generator, class_index=class_index)
        for name, content in takeaway.files(studio.counted, studio, seeds, bound):
            with written(out / name) as temporary:
                temporary.write_bytes(content)
    click.echo(f"{len(seeds)} images and ganfix.json: {out}")
