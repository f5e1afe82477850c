"""Every system of both papers on the same labelled faces, in one table.

Labels are split in two by seed: the classifier and the unit scores see one half, the figures are of
the other. ``labels.csv`` was made by eye, by one rater, before anything was corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import legacy
import torch
from torch import Tensor

import ganfix_plugin as ganfix
from ganfix_plugin.detection.extractors import load_extractor
from ganfix_plugin.detection.preparing import fit_classifier, score_units, score_units_by_fid
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, latents_of, read
from ganfix_plugin.metrics.frechet import Gaussian
from ganfix_plugin.profiling.fingerprint import fingerprint
from ganfix_plugin.profiling.store import classifier_path

HERE = Path(__file__).parent
SYSTEMS = (
    "random:of=neurons",
    "random:of=units,portion=10%",
    "fid-units:layer=1",
    "ds:layer=1",
    "seqc",
    "seqc:normalize=rank",
    "seqc:normalize=rank,scale=0,stop=1,top=40%",
    "seqc:local=yes",
    "seqabl:dead=with",
    "seqabl:rate=0.15,layers=4x4+8x8",
    "seqabl:lowest=30%,layers=4x4+8x8",
    "truncation:psi=0.7",
)
GATE = "gate=lr:70%"


@click.command()
@click.option("--labels", default=str(HERE / "labels.csv"), show_default=True, help="Label file.")
@click.option("--num", default=4000, show_default=True, help="Generations for the unit FIDs.")
@click.option("--top", default=200, show_default=True, help="Images per unit for the unit FIDs.")
@click.option("--samples", default=10_000, show_default=True, help="Latents of the profile.")
def compare(labels: str, num: int, top: int, samples: int) -> None:
    """Print how far corrected artifacts are from clean images, and what clean images lose."""
    G = legacy.generator()
    seen, unseen = halves(read(Path(labels)).check(fingerprint(G)))
    classifier = fit_classifier(G, seen, extractor="efficientnet-lite0")
    classifier.save(classifier_path(classifier.generator))
    score_units(G, seen, classifier, samples=samples)
    score_units_by_fid(G, seen, classifier, samples=samples, num=num, top=top, layers="1")

    shape = (legacy.Z_DIM, 1, 1)
    artifacts, normals = (latents_of(unseen.seeds(kind), shape) for kind in (ARTIFACT, NORMAL))
    clean = Gaussian.of(features(render(G, normals)))
    before = clean.distance_to_samples(features(render(G, artifacts)))
    plain = render(G, normals)
    click.echo(f"{len(artifacts)} artifacts, {len(normals)} clean images, efficientnet-lite0")
    click.echo(
        "| system | artifacts | of uncorrected | normals moved | gated: artifacts | of "
        "uncorrected | normals untouched |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    click.echo(f"| none | {before:.0f} | 100 % | 0 | {before:.0f} | 100 % | 100 % |")
    for system in SYSTEMS:
        cells = [f"`{system}`"]
        for gated in (False, True):
            spec = with_keys(system, f"samples={samples}", *([GATE] if gated else []))
            with ganfix.attach(G, spec):
                distance = clean.distance_to_samples(features(render(G, artifacts)))
                corrected = render(G, normals)
            cells += [f"{distance:.0f}", f"{distance / before:.0%}"]
            if gated:
                same = (corrected == plain).flatten(1).all(dim=1)
                cells.append(f"{same.float().mean():.0%}")
            else:
                cells.append(f"{clean.distance_to_samples(features(corrected)):.0f}")
        click.echo(f"| {' | '.join(cells)} |")


def with_keys(spec: str, *keys: str) -> str:
    """A spec with more keys."""
    return spec + (":" if ":" not in spec else ",") + ",".join(keys)


def halves(labels: Labels) -> tuple[Labels, Labels]:
    """Even and odd seeds."""
    parts = ([item for item in labels.items if item.seed % 2 == rest] for rest in (0, 1))
    seen, unseen = (replace(labels, items=tuple(part)) for part in parts)
    return seen, unseen


def render(G: torch.nn.Module, z: Tensor) -> Tensor:
    """Images [N, 3, 64, 64]."""
    with torch.no_grad():
        return torch.cat([G(batch) for batch in z.split(50)])


def features(images: Tensor) -> Tensor:
    """[N, 1280]."""
    extractor = load_extractor("efficientnet-lite0")
    parts: Sequence[Tensor] = [extractor.features(batch) for batch in images.split(50)]
    return torch.cat(list(parts))


if __name__ == "__main__":
    compare()
