"""`ganfix tune`: the options of a corrector that suit one generator."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands.options import network_options, one_line_errors, opened, table
from ganfix_plugin.commands.prepare import FILE, IMAGES, extractor_option

if TYPE_CHECKING:
    from ganfix_plugin.evaluate.tune import Trial


@click.command()
@network_options
@click.option(
    "--correct",
    default="seqabl",
    show_default=True,
    metavar="NAME[:key=value,…]",
    help="The corrector; keys given here stay as they are.",
)
@click.option(
    "--labels",
    "files",
    type=FILE,
    multiple=True,
    help="Label file(s). [default: the generations with most and fewest active low-rate neurons]",
)
@click.option("--real", type=IMAGES, help="Clean images to measure against. [default: normals]")
@extractor_option
@click.option("--trials", type=click.IntRange(1), default=32, show_default=True, help="Settings.")
@click.option("--seed", default=0, show_default=True, help="Of the split and of the search.")
@click.option("--num", default=2000, show_default=True, help="Without labels: seeds to rank.")
@click.option("--top", default=300, show_default=True, help="Without labels: images of each kind.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.")
@one_line_errors
def tune(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    correct: str,
    files: tuple[Path, ...],
    real: Path | None,
    extractor: str | None,
    trials: int,
    seed: int,
    num: int,
    top: int,
    out: Path | None,
) -> None:
    """Search a corrector's options for the best trade between repairing artifacts and keeping
    clean images, and print the --correct to paste.

    A setting is judged by the Fréchet distance of all labelled generations, corrected, to clean
    images. What is found on one half of the labels is judged on the other, beside the defaults of
    the papers. With --out: trials.json and a plot of every trial, pareto.png.
    """
    from ganfix_plugin.artifacts.prepare import auto_labels
    from ganfix_plugin.correctors.bind import parse_spec
    from ganfix_plugin.evaluate.tune import tune as search
    from ganfix_plugin.files import ready, write_text
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import merge, read
    from ganfix_plugin.pictures import plots

    if out:
        ready(out, folder=True)
        plots.needed()
    spec = parse_spec(correct)
    given = merge(read(file) for file in files) if files else None
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        labels = given or auto_labels(generator, num, top)
        found = search(
            generator, spec, labels, trials=trials, seed=seed, extractor=extractor, real=real
        )
    click.echo("held out:")
    click.echo(_rows(found.held_out))
    none, best = found.held_out[0], found.held_out[-1]
    for each in found.held_out[1:-1]:
        gain = each.overall - best.overall
        verdict = f"{gain:.2f} closer than" if gain > 0 else f"{-gain:.2f} farther than"
        click.echo(f"the best setting is {verdict} {each.spec.partition(':')[0]} by default")
    if best.overall >= none.overall:
        click.echo("no setting helps on this generator: leave it uncorrected")
    click.echo(f"\n--correct {best.spec}")
    if out:
        record = {
            "network": network,
            "labels": [str(file) for file in files] or f"lr-count, {top} of {num}",
            "trials": [asdict(each) for each in found.trials],
            "held_out": [asdict(each) for each in found.held_out],
            "best": best.spec,
        }
        write_text(out / "trials.json", json.dumps(record, indent=1) + "\n")
        plots.trade(
            out / "pareto.png",
            f"What {spec.corrector.name} repairs and what it costs",
            f"{network}, {len(found.trials) - 1} settings on the searched half; best: {best.spec}",
            (
                "mean change of clean images, of 255",
                "Fréchet distance of artifacts to clean images",
            ),
            [_point(each) for each in found.trials],
            [_point(each) for each in found.front],
            {
                "uncorrected": _point(found.trials[0]),
                "defaults": _point(found.trials[1]),
                "best": _point(found.best),
            },
        )
        click.echo(f"written to {out}")


def _point(trial: Trial) -> tuple[float, float]:
    return trial.change, trial.artifacts


def _rows(trials: tuple[Trial, ...]) -> str:
    rows: list[tuple[str, ...]] = [
        ("all to clean", "artifacts to clean", "normals change by", "untouched", "correction")
    ]
    for each in trials:
        numbers = (f"{each.overall:.2f}", f"{each.artifacts:.2f}", f"{each.change:.1f} of 255")
        rows.append((*numbers, f"{each.untouched:.0%}", each.spec or "none"))
    return table(rows)
