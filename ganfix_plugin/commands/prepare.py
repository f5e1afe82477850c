"""`ganfix fit`, `score` and `prepare`: what `--correct seqc` needs, step by step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ganfix_plugin import api
from ganfix_plugin.artifacts import prepare as preparing
from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import (
    COUNT,
    EACH_END,
    FILE,
    Fraction,
    Network,
    gathers,
    merged,
    preset,
    tell,
)
from ganfix_plugin.evaluation.tables import table
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.files import ready
from ganfix_plugin.labels import keep
from ganfix_plugin.profiling.store import classifier_path


@main.command()
@options.network
@options.labels("Label file(s).", required=True)
@click.option("--real", type=options.PATH, help="Real images, a folder or zip, to learn from, too.")
@options.extractor
@preset("--seed", 0, "Seed of the split into labels to learn from and held-out ones.")
@click.option("--out", type=FILE, help="Write the classifier here, not to the store.")
@options.as_json
def fit(
    network: Network, files: tuple[Path, ...], out: Path | None, as_json: bool, **how: Any
) -> None:
    """Train the artifact classifier: a linear head on a frozen feature extractor."""
    labels = merged(files)
    if out:
        ready(out)
    with network.opened() as generator:
        head = preparing.fit_classifier(generator, labels, **how)
        more_labels = generator.command("label")
    path = out or classifier_path(head.generator)
    head.save(path)
    keep(labels)
    head.warn(more_labels)
    tell(as_json, _record(head, classifier=str(path)), *_lines(head), f"classifier: {path}")


@main.command()
@options.network
@options.labels("Label file(s).", required=True)
@options.classifier
@preset("--layers", "all", "auto, all, 0+1+3 or 4x4+8x8.")
@options.samples("Latents for the thresholds.")
@preset(
    "--tau", 0.005, "The share of activations above a unit's threshold.", type=Fraction(True, True)
)
@preset("--cam", 0.5, "A mask is where Grad-CAM reaches it.", type=Fraction())
@preset(
    "--active",
    0.5,
    "A unit is on where its map, 1 above the threshold and 0 elsewhere, upsampled, reaches this.",
    type=Fraction(),
)
@options.extractor
@gathers(
    measured=lambda layers, samples: {"layers": layers, "samples": samples},
    masks=lambda tau, cam, active: {"tau": tau, "cam": cam, "active": active},
)
@options.as_json
def score(
    network: Network,
    files: tuple[Path, ...],
    classifier: Path | None,
    measured: dict[str, Any],
    masks: dict[str, Any],
    extractor: str | None,
    as_json: bool,
) -> None:
    """Score every unit by how well it overlaps with the artifacts that the classifier sees."""
    labels = merged(files)
    with network.opened() as generator:
        path = classifier or classifier_path(generator.fingerprint)
        head = Classifier.load(path, generator.fingerprint)
        if extractor:
            load_extractor(extractor, generator.discriminator)
        profile, path = score_units(generator, labels, head, **masks, **measured)
    rows = [
        (name, f"{float(scores.max()):.4f}", f"{float(scores.median()):.4f}", len(scores))
        for name, scores in profile.defective.items()
    ]
    tell(
        as_json,
        {
            "profile": str(path),
            "layers": {name: scores.tolist() for name, scores in profile.defective.items()},
        },
        table(("layer", "largest DS", "median DS", "units"), *rows),
        f"profile: {path}",
    )


@main.command()
@options.network
@options.real
@options.extractor
@click.option("--num", type=COUNT, help=f"Generations to label.  [default: {preparing.NUM}]")
@click.option("--top", type=COUNT, help=f"{EACH_END}.  [default: {preparing.TOP}]")
@options.samples("Latents to measure on.")
@click.option("--layers", help="auto, all, 0+1+3 or 4x4+8x8.  [default: those that seqc corrects]")
@options.exact
@options.as_json
def prepare(network: Network, exact: bool, as_json: bool, **how: Any) -> None:
    """Make what --correct seqc needs beforehand, without a person.

    \b
    ganfix prepare --network ffhq.pkl

    A corrector that finds nothing prepared does the same by itself, when it is first used. Labels
    of your own, which ganfix fit has kept of this network, are used; else the generations with
    most and fewest active low-rate neurons (with --real: the least and the most realistic) are
    labelled. Each step is kept: stopped, it goes on from there.
    """
    with network.opened() as generator:
        _, head = api.prepare(generator, exact=exact, **how)
        head.warn(generator.command("label"))
    samples = how["samples"]
    keys = [] if samples is None else [f"samples={samples}"]  # which profiles are kept by
    keys += ["exact=yes"] if exact else []
    keys += [f"extractor={head.extractor}"] if ":" in head.extractor else []
    spec = ":".join(filter(None, ("seqc", ",".join(keys))))
    tell(as_json, _record(head, correct=spec), *_lines(head), f"ready for --correct {spec}")


def _record(head: Classifier, **more: str) -> dict[str, Any]:
    """What scripts hear of a classifier."""
    how = {"extractor": head.extractor, "classes": head.classes, "counts": head.counts}
    return {**more, "generator": head.generator, **how, "held_out": asdict(head.held_out)}


def _lines(head: Classifier) -> tuple[str, ...]:
    """What people hear of it."""
    held_out = head.held_out
    rows = [(name, *counts) for name, counts in zip(head.classes, held_out.confusion)]
    return (
        f"extractor {head.extractor}",
        f"{held_out.text}, accuracy {held_out.accuracy:.3f}",
        table(("is \\ taken for", *head.classes), *rows),
    )
