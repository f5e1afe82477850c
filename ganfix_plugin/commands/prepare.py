"""`ganfix fit`, `score` and `prepare`: what `--correct seqc` needs, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganfix_plugin.commands import options
from ganfix_plugin.commands.options import FILE, Network, command, gathers, merged, table

if TYPE_CHECKING:
    from ganfix_plugin.features.classifier import Classifier


@command()
@options.network
@options.labels("Label file(s).", required=True)
@options.real
@options.extractor
@options.count("--seed", 0, "Of the split into train and held out.")
@click.option("--out", type=FILE, help="Write the classifier here, not to the store.")
def fit(network: Network, files: tuple[Path, ...], out: Path | None, **how: Any) -> None:
    """Train the artifact classifier: a linear head on a frozen feature extractor."""
    from ganfix_plugin.artifacts.prepare import fit_classifier
    from ganfix_plugin.files import ready
    from ganfix_plugin.labels import keep
    from ganfix_plugin.profiling.store import classifier_path

    labels = merged(files)
    if out:
        ready(out)
    with network.opened() as generator:
        head = fit_classifier(generator, labels, **how)
    path = out or classifier_path(head.generator)
    head.save(path)
    keep(labels)
    _show(head)
    click.echo(f"classifier: {path}")


@command()
@options.network
@options.labels("Label file(s).", required=True)
@click.option("--classifier", type=FILE, help="[default: the one that ganfix fit left]")
@click.option("--layers", default="all", show_default=True, help="all, auto, or as 1+2+3.")
@options.samples("Latents for the thresholds.")
@click.option("--tau", default=0.005, show_default=True, help="P(activation > threshold).")
@click.option("--cam", default=0.5, show_default=True, help="A mask is where Grad-CAM reaches it.")
@click.option("--active", default=0.5, show_default=True, help="As cam, for upsampled activations.")
@click.option("--fid-units", is_flag=True, help="Also the FID of every unit (GAN Dissection).")
@options.real
@options.count("--num", 200_000, "Generations for the unit FIDs.")
@options.count("--top", 10_000, "Top-activating images per unit.")
@gathers(
    measured=lambda layers, samples: {"layers": layers, "samples": samples},
    masks=lambda tau, cam, active: {"tau": tau, "cam": cam, "active": active},
)
def score(
    network: Network,
    files: tuple[Path, ...],
    classifier: Path | None,
    measured: dict[str, Any],
    masks: dict[str, Any],
    fid_units: bool,
    **fid: Any,
) -> None:
    """Score every unit by how well it overlaps with the artifacts that the classifier sees."""
    from ganfix_plugin.artifacts.prepare import score_units, score_units_by_fid
    from ganfix_plugin.features.classifier import Classifier
    from ganfix_plugin.profiling.store import classifier_path

    labels = merged(files)
    with network.opened() as generator:
        head = Classifier.load(classifier or classifier_path(generator.fingerprint))
        profile, path = score_units(generator, labels, head, **masks, **measured)
        if fid_units:
            profile, path = score_units_by_fid(generator, labels, head, **fid, **measured)
    rows: list[tuple[str, ...]] = [("layer", "largest DS", "median DS", "units")]
    for name, scores in profile.defective.items():
        middle = float(scores.median())
        rows.append((name, f"{float(scores.max()):.4f}", f"{middle:.4f}", str(len(scores))))
    click.echo(table(rows))
    click.echo(f"profile: {path}")


@command()
@options.network
@options.real
@options.extractor
@options.count("--num", 2000, "Generations to label.")
@options.count("--top", 300, "Labels of each kind.")
@options.samples("Latents to measure on.")
def prepare(network: Network, num: int, top: int, samples: int, **how: Any) -> None:
    """Labels, classifier and scores in one go, without a person: a first result with seqc."""
    from ganfix_plugin.artifacts.prepare import auto_labels, fit_classifier, score_units
    from ganfix_plugin.profiling.store import classifier_path

    with network.opened() as generator:
        labels = auto_labels(generator, num, top, samples=samples, **how)
        head = fit_classifier(generator, labels, **how)
        head.save(classifier_path(head.generator))
        _show(head)
        _, path = score_units(generator, labels, head, samples=samples)
    # Profiles are kept by the number of samples.
    keys = "" if samples == 10_000 else f":samples={samples}"
    click.echo(f"profile: {path}\nready for --correct seqc{keys}")


def _show(head: Classifier) -> None:
    held_out = head.held_out
    click.echo(f"extractor {head.extractor}")
    click.echo(
        f"held out: accuracy {held_out.accuracy:.3f}, AUC artifact/normal {held_out.auc:.3f}"
    )
    rows = [("is \\ taken for", *head.classes)]
    for name, row in zip(head.classes, held_out.confusion):
        rows.append((name, *map(str, row)))
    click.echo(table(rows))
