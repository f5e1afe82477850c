"""`ganfix labels`, `fit`, `score` and `prepare`: what `--correct seqc` needs, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganfix_plugin.commands.options import Command, network_options, one_line_errors, opened, table

if TYPE_CHECKING:
    from ganfix_plugin.features.classifier import Classifier

FILE = click.Path(dir_okay=False, path_type=Path)
IMAGES = click.Path(path_type=Path)


def extractor_option(command: Command) -> Command:
    """``--extractor``, the same everywhere."""
    return click.option(
        "--extractor",
        metavar="NAME",
        help="resnet18 (the paper's), efficientnet-lite0, discriminator (NVIDIA's pickles), or "
        "module:callable from images [N,3,H,W] in [-1,1] to feature maps. [default: resnet18 if "
        "its weights are on disk, else efficientnet-lite0]",
    )(command)


def _real_option(command: Command) -> Command:
    return click.option("--real", type=IMAGES, help="Real images, a folder or zip.")(command)


@click.group()
def labels() -> None:
    """Label files: which generations are artifacts."""


@labels.command("check")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, help="Write the merged labels here (.csv or .json).")
@one_line_errors
def check(files: tuple[Path, ...], out: Path | None) -> None:
    """Check label FILES of one generator, merge them, and say what they hold."""
    from ganfix_plugin.labels import KINDS, merge, read, write

    merged = merge(read(file) for file in files)
    raters = sorted({item.rater for item in merged.items})
    mark, count = merged.generator[:16], len(merged.items)
    click.echo(f"generator {mark}, {count} labels by {len(raters)} raters")
    for kind in KINDS:
        click.echo(f"{kind}: {len(merged.samples(kind))} images by majority")
    if out:
        write(merged, out)
        click.echo(f"written to {out}")


@labels.command("auto")
@network_options
@_real_option
@extractor_option
@click.option("--num", default=2000, show_default=True, help="Generations to rank, seeds 0 on.")
@click.option("--top", default=300, show_default=True, help="How many to label of each kind.")
@click.option("--samples", default=10_000, show_default=True, help="Latents for the LR count.")
@click.option("--out", type=FILE, required=True, help="The label file (.csv or .json).")
@one_line_errors
def auto(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    real: Path | None,
    extractor: str | None,
    num: int,
    top: int,
    samples: int,
    out: Path,
) -> None:
    """Label without a person: by the LR count, or by realism when real images are given."""
    from ganfix_plugin.artifacts.prepare import auto_labels
    from ganfix_plugin.files import ready
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import write

    ready(out)
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        ways = {"real": real, "extractor": extractor}
        found = auto_labels(generator, num, top, samples=samples, **ways)  # type: ignore[arg-type]
    write(found, out)
    click.echo(f"{top} artifacts and {top} normals of {num} generations: {out}")


@click.command()
@network_options
@click.option("--labels", "files", type=FILE, multiple=True, required=True, help="Label file(s).")
@_real_option
@extractor_option
@click.option("--seed", default=0, show_default=True, help="Of the split into train and held out.")
@click.option("--out", type=FILE, help="Write the classifier here, not to the store.")
@one_line_errors
def fit(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    files: tuple[Path, ...],
    real: Path | None,
    extractor: str | None,
    seed: int,
    out: Path | None,
) -> None:
    """Train the artifact classifier: a linear head on a frozen feature extractor."""
    from ganfix_plugin.artifacts.prepare import fit_classifier
    from ganfix_plugin.files import ready
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import keep, merge, read
    from ganfix_plugin.profiling.store import classifier_path

    merged = merge(read(file) for file in files)
    if out:
        ready(out)
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        head = fit_classifier(generator, merged, real=real, extractor=extractor, seed=seed)
    path = out or classifier_path(head.generator)
    head.save(path)
    keep(merged)
    _show(head)
    click.echo(f"classifier: {path}")


@click.command()
@network_options
@click.option("--labels", "files", type=FILE, multiple=True, required=True, help="Label file(s).")
@click.option("--classifier", type=FILE, help="[default: the one that ganfix fit left]")
@click.option("--layers", default="all", show_default=True, help="all, auto, or as 1+2+3.")
@click.option("--samples", default=10_000, show_default=True, help="Latents for the thresholds.")
@click.option("--tau", default=0.005, show_default=True, help="P(activation > threshold).")
@click.option("--cam", default=0.5, show_default=True, help="A mask is where Grad-CAM reaches it.")
@click.option("--active", default=0.5, show_default=True, help="As cam, for upsampled activations.")
@click.option("--fid-units", is_flag=True, help="Also the FID of every unit (GAN Dissection).")
@_real_option
@click.option("--num", default=200_000, show_default=True, help="Generations for the unit FIDs.")
@click.option("--top", default=10_000, show_default=True, help="Top-activating images per unit.")
@one_line_errors
def score(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    files: tuple[Path, ...],
    classifier: Path | None,
    layers: str,
    samples: int,
    tau: float,
    cam: float,
    active: float,
    fid_units: bool,
    real: Path | None,
    num: int,
    top: int,
) -> None:
    """Score every unit by how well it overlaps with the artifacts that the classifier sees."""
    from ganfix_plugin.artifacts.prepare import score_units, score_units_by_fid
    from ganfix_plugin.features.classifier import Classifier
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.labels import merge, read
    from ganfix_plugin.profiling.store import classifier_path

    merged = merge(read(file) for file in files)
    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        head = Classifier.load(classifier or classifier_path(generator.fingerprint))
        common = {"layers": layers, "samples": samples}
        profile, path = score_units(
            generator,
            merged,
            head,
            tau=tau,
            cam=cam,
            active=active,
            **common,  # type: ignore[arg-type]
        )
        if fid_units:
            profile, path = score_units_by_fid(
                generator,
                merged,
                head,
                real=real,
                num=num,
                top=top,
                **common,  # type: ignore[arg-type]
            )
    rows: list[tuple[str, ...]] = [("layer", "largest DS", "median DS", "units")]
    for name, scores in profile.defective.items():
        middle = float(scores.median())
        rows.append((name, f"{float(scores.max()):.4f}", f"{middle:.4f}", str(len(scores))))
    click.echo(table(rows))
    click.echo(f"profile: {path}")


@click.command()
@network_options
@_real_option
@extractor_option
@click.option("--num", default=2000, show_default=True, help="Generations to label.")
@click.option("--top", default=300, show_default=True, help="Labels of each kind.")
@click.option("--samples", default=10_000, show_default=True, help="Latents to measure on.")
@one_line_errors
def prepare(
    network: str,
    host: Path | None,
    device: str | None,
    adapter: str | None,
    real: Path | None,
    extractor: str | None,
    num: int,
    top: int,
    samples: int,
) -> None:
    """Labels, classifier and scores in one go, without a person: a first result with seqc."""
    from ganfix_plugin.artifacts.prepare import auto_labels, fit_classifier, score_units
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.profiling.store import classifier_path

    with opened(network, host, device) as G:
        generator = Generator.of(G, adapter)
        ways = {"real": real, "extractor": extractor}
        found = auto_labels(generator, num, top, samples=samples, **ways)  # type: ignore[arg-type]
        head = fit_classifier(generator, found, **ways)  # type: ignore[arg-type]
        head.save(classifier_path(head.generator))
        _show(head)
        _, path = score_units(generator, found, head, samples=samples)
    # Profiles are kept by the number of samples.
    where = "" if samples == 10_000 else f":samples={samples}"
    click.echo(f"profile: {path}\nready for --correct seqc{where}")


def _show(head: Classifier) -> None:
    held = head.held_out
    click.echo(f"extractor {head.extractor}")
    click.echo(f"held out: accuracy {held.accuracy:.3f}, AUC artifact/normal {held.auc:.3f}")
    rows = [("is \\ taken for", *head.classes)]
    for name, row in zip(head.classes, held.confusion):
        rows.append((name, *map(str, row)))
    click.echo(table(rows))
