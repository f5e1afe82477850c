"""Every corrector, gated and not, on three generators with labels, in a table each.

Labels are split in two: classifier, unit scores and probes see one half, the figures are of the
other. What a correction leaves of the artifacts is a share of the way from clean images' own
distance, the floor, to the uncorrected artifacts' (`ganfix_plugin.evaluation.bench`).

``--out`` keeps what is measured, so that a run that was stopped goes on where it was, and further
splits are added to what is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import click
from PIL import Image
from subjects import SUBJECTS, TITLES
from task import (
    FURTHER,
    GATE,
    NOT_POSSIBLE,
    OWN_GATE,
    PART,
    PREPARED,
    REJECTION,
    SYSTEMS,
    TRUNCATION,
    Figures,
    Task,
    prepare,
    with_keys,
)

import ganfix_plugin as ganfix
from ganfix_plugin.features.render import render
from ganfix_plugin.files import write_text
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.labels import ARTIFACT, stored_path, write
from ganfix_plugin.pictures.sheet import Band, Row, pictured, sheet

SHOWN = {
    "steer": "labels of the other half",
    "seqabl": "",
    "seqc:start=0,stop=1": "4×4, 8×8",
}
COLUMNS = {
    "left": ("artifacts left, all corrected", ".0%"),
    "change": ("clean images change by", ".1f"),
    "gated": ("artifacts left, gated", ".0%"),
    "by_labels": ("by the labels' network", ".0%"),
    "untouched": ("clean images untouched", ".0%"),
    "identity": ("identity", ".2f"),
    "kind_kept": ("kind kept", ".0%"),
    "pixels": ("gap closed: pixels", ".0%"),
    "discriminator": ("gap closed: discriminator", ".0%"),
    "auc": ("AUC of the gate", ".3f"),
    "distance": ("distance of all", ".1f"),
    "recall": ("recall of all", ".3f"),
    "recall_by_labels": ("by the labels' network", ".3f"),
    "coverage": ("coverage of all", ".3f"),
    "coverage_by_labels": ("by the labels' network", ".3f"),
    "gradients": ("gradients of a moved one", ".1f"),
}
SUMMED = ("left", "gated", "untouched", "recall")
ALL = (*SYSTEMS, TRUNCATION, REJECTION, FURTHER)
Results = dict[str, dict[str, Figures]]
"""By split, and by system."""


@click.command()
@click.option(
    "--on",
    "names",
    multiple=True,
    default=("faces", "stylegan2", "pggan"),
    show_default=True,
    type=click.Choice([*SUBJECTS]),
    help="Which; -worst learn from labels that are not balanced within kinds.",
)
@click.option("--splits", default=1, show_default=True, help="Ways to halve the labels; averaged.")
@click.option("--first", default=0, show_default=True, help="The first of these splits.")
@click.option("--samples", default=4000, show_default=True, help="Latents of the profiles.")
@click.option("--num", default=1000, show_default=True, help="Generations for the unit FIDs.")
@click.option("--top", default=100, show_default=True, help="Images per unit for the unit FIDs.")
@click.option(
    "--population",
    default=PART,
    show_default=True,
    help="Generations whose distance, recall and coverage are measured.",
)
@click.option("--only", multiple=True, help="Systems whose names begin like this. [default: all]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Keep results here.")
@click.option("--sheet", "picture", type=click.Path(dir_okay=False), help="Also draw some faces.")
def compare(
    names: tuple[str, ...],
    splits: int,
    first: int,
    samples: int,
    num: int,
    top: int,
    population: int,
    only: tuple[str, ...],
    out: Path | None,
    picture: str | None,
) -> None:
    """Print what correctors leave of artifacts, and what they cost, as tables in Markdown."""
    systems = [system for system in ALL if not only or system.startswith(only)]
    subjects: dict[str, Results] = {}
    with TemporaryDirectory() as folder:
        # Labels are stored for gates: not among the user's own.
        os.environ["GANFIX_CACHE"] = str(out.resolve() / "cache" if out else folder)
        for name in names:
            kept = out / f"{name}.json" if out else None
            results = subjects[name] = read_results(kept)
            for split in range(first, first + splits):
                done = results.setdefault(str(split), {})
                missing = [s for s in systems if s not in done and (name, s) not in NOT_POSSIBLE]
                if not missing:
                    continue
                subject = SUBJECTS[name](split)
                task = Task(subject, split, samples, Path(folder), population)
                if any(system.startswith(PREPARED) for system in missing):
                    prepare(subject, samples, num, top)
                for system in missing:
                    done[system] = task.measure(system)
                    click.echo(
                        f"{name}, split {split}: {system}: {' | '.join(cells(done[system]))}"
                    )
                    if kept:
                        keep_results(kept, results)
            click.echo(f"\n{TITLES[name]}\n\n{table(list(results.values()))}\n")
        click.echo(f"{', '.join(COLUMNS[key][0] for key in SUMMED)}\n\n{summary(subjects)}\n")
        if picture:
            faces(samples, num, top, Path(folder)).save(picture)


def keep_results(path: Path, results: Results) -> None:
    """For `read_results`."""
    rows = {s: {name: asdict(f) for name, f in split.items()} for s, split in results.items()}
    write_text(path, json.dumps(rows, indent=1) + "\n")


def read_results(path: Path | None) -> Results:
    """What is kept of earlier runs."""
    if path is None or not path.exists():
        return {}
    texts = json.loads(path.read_text())
    return {s: {name: Figures(**f) for name, f in rows.items()} for s, rows in texts.items()}


def table(splits: Sequence[dict[str, Figures]]) -> str:
    """The means over splits, as Markdown; columns that nothing was measured for are left out."""
    means = averaged(splits)
    shown = [key for key in COLUMNS if any(getattr(row, key) is not None for row in means.values())]
    rows = [(f"`{name}`", *cells(row, shown)) for name, row in means.items()]
    return markdown(("system", *(COLUMNS[key][0] for key in shown)), rows)


def summary(subjects: dict[str, Results]) -> str:
    """What matters most of several subjects, side by side: `SUMMED`, with slashes between."""
    means = {name: averaged(list(results.values())) for name, results in subjects.items()}
    rows = []
    for system in ALL:
        figures = [of.get(system, Figures()) for of in means.values()]
        if any(system in of for of in means.values()):
            rows.append((f"`{system}`", *(" / ".join(cells(each, SUMMED)) for each in figures)))
    return markdown(("system", *(TITLES[name].partition(",")[0] for name in subjects)), rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(figures: Figures, keys: Sequence[str] = tuple(COLUMNS)) -> list[str]:
    """As they stand in a line of a table."""
    values = [(getattr(figures, key), COLUMNS[key][1]) for key in keys]
    return ["–" if value is None else format(value, form) for value, form in values]


def averaged(splits: Sequence[dict[str, Figures]]) -> dict[str, Figures]:
    """The means over splits, by system."""
    means = {}
    for system in ALL:
        if rows := [split[system] for split in splits if system in split]:
            columns = {key: [getattr(row, key) for row in rows] for key in COLUMNS}
            there = {key: [v for v in values if v is not None] for key, values in columns.items()}
            means[system] = Figures(**{key: mean(v) if v else None for key, v in there.items()})
    return means


def faces(samples: int, num: int, top: int, folder: Path, shown: int = 12) -> Image.Image:
    """The first held-out faces that a person called artifacts, uncorrected and by some systems."""
    subject = SUBJECTS["faces"](0)
    prepare(subject, samples, num, top)
    write(subject.seen, folder / "half.csv")
    write(subject.seen, stored_path(subject.generator.fingerprint))
    seeds = subject.unseen.samples(ARTIFACT)[:shown]
    ((z, c),) = seed_batches(subject.generator, seeds)
    rows = [Row("before", "as generated", pictured(render(subject.generator, z, c)))]
    for system, note in SHOWN.items():
        spec = with_keys(SYSTEMS[system].format(half=folder / "half.csv"), f"samples={samples}")
        spec = spec if spec.startswith(OWN_GATE) else with_keys(spec, GATE)
        with ganfix.attach(subject.generator, spec):
            after = render(subject.generator, z, c, corrected=True)
        rows.append(Row(system.partition(":")[0], note, pictured(after)))
    band = Band("Labelled artifacts, held out", [f"seed {seed}" for seed in seeds], rows)
    return sheet("Face GAN, before and after", f"all with {GATE}", [band])


if __name__ == "__main__":
    compare()
