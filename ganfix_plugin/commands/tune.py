"""`ganfix tune`: the options of a corrector that suit one generator."""

from __future__ import annotations

import json
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from ganfix_plugin.artifacts.prepare import auto_labels
from ganfix_plugin.commands import options
from ganfix_plugin.commands.evaluate import trial_rows
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import EACH_END, FOLDER, PATH, Network, merged, preset, tell
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.evaluation import tune as tuning
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.files import ready, write_text
from ganfix_plugin.pictures import plots


@main.command()
@options.network
@preset(
    "--correct",
    "seqabl",
    "The corrector; keys given here stay as they are.",
    metavar="NAME[:key=value,…]",
)
@options.labels(
    "Label file(s). [default: the generations with most and fewest active low-rate neurons]"
)
@click.option(
    "--real",
    type=PATH,
    help="Real images, a folder or zip, to measure against. [default: a part of the normal ones]",
)
@options.extractor
@preset("--trials", 32, "How many settings to try.")
@preset("--seed", 0, "Seed of the split and of the search.")
@preset("--num", 2000, "Generations to rank without labels, seeds 0 on.")
@preset("--top", 300, f"{EACH_END}, without labels.")
@click.option("--out", type=FOLDER, help="Folder to write to.")
@options.as_json
def tune(
    network: Network,
    correct: str,
    files: tuple[Path, ...],
    num: int,
    top: int,
    out: Path | None,
    as_json: bool,
    **search: Any,
) -> None:
    """Search a corrector's options for the best trade between repairing artifacts and keeping
    clean images, and print the --correct to paste.

    A setting is judged by the Fréchet distance of all labelled generations, corrected, to clean
    images. What is found on one half of the labels is judged on the other, beside the defaults of
    the papers. With --out: trials.json and a plot of every trial, pareto.png.
    """
    if out:
        ready(out, folder=True)
        plots.needed()
    spec, labels = parse_spec(correct), merged(files) if files else None
    with network.opened() as generator:
        labels = labels or auto_labels(generator, num, top)
        result = tuning.tune(generator, spec, labels, **search)
    lines = ["held out:", table(*trial_rows(*result.held_out))]
    none, best = result.held_out[0], result.held_out[-1]
    for trial in result.held_out[1:-1]:
        gain = trial.overall - best.overall
        verdict = f"{gain:.2f} closer than" if gain > 0 else f"{-gain:.2f} farther than"
        lines.append(f"the best setting is {verdict} {trial.spec.partition(':')[0]} by default")
    if best.overall >= none.overall:
        lines.append("no setting helps on this generator: leave it uncorrected")
    record = {
        "network": network.name,
        "labels": [str(file) for file in files] or f"lr-count, {top} of {num}",
        "trials": [asdict(trial) for trial in result.trials],
        "held_out": [asdict(trial) for trial in result.held_out],
        "best": best.spec,
    }
    tell(as_json, record, *lines, f"\n--correct {best.spec}")
    if out:
        write_text(out / "trials.json", json.dumps(record, indent=1) + "\n")
        _draw(result, spec.corrector.name, network.name, out)
        click.echo(f"written to {out}")


def _draw(result: tuning.Tuning, corrector: str, network: str, out: Path) -> None:
    settings, best = len(result.trials) - 1, result.held_out[-1].spec
    point = attrgetter("change", "artifacts")
    words = plots.Words(
        f"What {corrector} repairs and what it costs",
        f"{network}, {settings} settings on the searched half; best: {best}",
        "mean change of clean images, of 255",
        "Fréchet distance of artifacts to clean images",
    )
    plots.trade(
        out / "pareto.png",
        words,
        list(map(point, result.trials)),
        list(map(point, result.front)),
        {
            "uncorrected": point(result.trials[0]),
            "defaults": point(result.trials[1]),
            "best": point(result.best),
        },
    )
