"""`ganfix labels`: label files, checked and merged, made without a person, or from answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganfix_plugin.artifacts.prepare import auto_labels
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import EACH_END, FILE, Network, merged, preset, tell
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import ready
from ganfix_plugin.labels import KINDS, keep, write


@main.group()
def labels() -> None:
    """Label files: which generations are artifacts."""


@labels.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, help="Write the merged labels here (.csv or .json).")
@options.as_json
def check(files: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Check label FILES of one generator, merge them, and say what they hold."""
    labels = merged(files)
    total, raters = len(labels.items), len({item.rater for item in labels.items})
    images = {kind: len(labels.samples(kind)) for kind in KINDS}
    tell(
        as_json,
        {"generator": labels.generator, "labels": total, "raters": raters, "images": images},
        f"generator {labels.generator[:16]}, {total} labels by {raters} raters",
        *(f"{kind}: {count} images by majority" for kind, count in images.items()),
    )
    if out:
        write(labels, out)
        click.echo(f"written to {out}")


@labels.command()
@options.network
@options.real
@options.extractor
@preset("--num", 2000, "Generations to rank, seeds 0 on.")
@preset("--top", 300, f"{EACH_END} to label.")
@options.samples("Latents for the LR count.")
@click.option("--out", type=FILE, required=True, help="The label file (.csv or .json).")
def auto(network: Network, num: int, top: int, out: Path, **how: Any) -> None:
    """Label without a person: by the LR count, or by realism when real images are given."""
    ready(out)
    with network.opened() as generator:
        labels = auto_labels(generator, num, top, **how)
    write(labels, out)
    click.echo(f"{top} artifacts and {top} normals of {num} generations: {out}")


@labels.command()
@click.argument("answers", type=FILE)
@click.option("--choices", is_flag=True, help="What ganfix explore kept (normal) and rejected.")
@click.option("--out", type=FILE, required=True, help="The label file (.csv or .json).")
def export(answers: Path, choices: bool, out: Path) -> None:
    """Write the ANSWERS of ganfix label as a label file; skipped images are left out.

    With --choices, write those of ganfix explore instead: what was kept is normal, what was
    rejected an artifact. They teach a probe or a classifier your taste, whatever it is.
    """
    from ganfix_plugin.web.answers import Answers

    opened = Answers(answers)
    labels = opened.chosen_labels() if choices else opened.labels()
    ready(out)
    if not labels.items:
        what = (
            "kept or rejected yet; run ganfix explore"
            if choices
            else "labelled yet; run ganfix label"
        )
        raise GanfixError(f"answers {answers}: nothing is {what}")
    write(labels, out)
    keep(labels)
    counts = ", ".join(f"{len(labels.seeds(kind))} {kind}" for kind in KINDS)
    click.echo(f"{len(labels.items)} labels, by majority {counts}: {out}")
