"""Every system of both papers on the same labelled faces, in one table.

Labels are split in two by seed: the classifier and the unit scores see one half, the figures are of
the other. ``labels.csv`` was made by eye, by one rater, before anything was corrected.

A Fréchet distance between a few hundred images of 1280 features each is far from 0 even where
nothing is wrong. So the table begins with what as many other clean images come to, the floor, and
every distance is also given as the share of the way from there to the uncorrected artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import legacy
import torch
from PIL import Image
from torch import Tensor

import ganfix_plugin as ganfix
from ganfix_plugin.artifacts.prepare import fit_classifier, score_units, score_units_by_fid
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.fingerprint import fingerprint
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, read
from ganfix_plugin.pictures.sheet import Band, Row, sheet
from ganfix_plugin.profiling.store import classifier_path

HERE = Path(__file__).parent
SYSTEMS = (
    "random:of=neurons",
    "random:of=units,portion=10%",
    "fid-units:layer=0",
    "ds:layer=0",
    "seqc",
    "seqc:start=0,stop=1",
    "seqc:start=0,stop=1,normalize=rank",
    "seqc:start=0,stop=1,local=yes",
    "seqabl:dead=with",
    "seqabl:rate=0.1",
    "seqabl:lowest=30%,layers=4x4+8x8",
    "truncation:psi=0.7",
)
SHOWN = {
    "seqc:start=0,stop=1": "4×4, 8×8",
    "seqc:start=0,stop=1,normalize=rank": "by rank",
    "seqabl:lowest=30%,layers=4x4+8x8": "lowest=30%",
    "truncation:psi=0.7": "psi=0.7",
}
GATE = "gate=lr:70%"


@click.command()
@click.option("--labels", default=str(HERE / "labels.csv"), show_default=True, help="Label file.")
@click.option("--num", default=4000, show_default=True, help="Generations for the unit FIDs.")
@click.option("--top", default=200, show_default=True, help="Images per unit for the unit FIDs.")
@click.option("--samples", default=10_000, show_default=True, help="Latents of the profile.")
@click.option("--sheet", "picture", type=click.Path(dir_okay=False), help="Also draw some faces.")
def compare(labels: str, num: int, top: int, samples: int, picture: str | None) -> None:
    """Print how far corrected artifacts are from clean images, and what clean images lose."""
    G = legacy.generator()
    seen, unseen = halves(read(Path(labels)).check(fingerprint(G)))
    classifier = fit_classifier(Generator.of(G), seen, extractor="efficientnet-lite0")
    classifier.save(classifier_path(classifier.generator))
    score_units(Generator.of(G), seen, classifier, samples=samples)
    score_units_by_fid(
        Generator.of(G), seen, classifier, samples=samples, num=num, top=top, layers="0"
    )

    shape = (legacy.Z_DIM, 1, 1)
    artifacts, normals = (latents_of(unseen.seeds(kind), shape) for kind in (ARTIFACT, NORMAL))
    others = latents_of(seen.seeds(NORMAL)[: len(artifacts)], shape)
    plain = render(G, normals)
    clean = Gaussian.of(features(plain))
    floor = clean.distance_to_samples(features(render(G, others)))
    before = clean.distance_to_samples(features(render(G, artifacts)))
    click.echo(f"{len(artifacts)} artifacts, {len(normals)} clean images, efficientnet-lite0")
    click.echo(f"as many other clean images: {floor:.1f}; artifacts: {before:.1f}\n")
    click.echo(
        "| system | all corrected | above the floor | clean images change by | gated | above the "
        "floor | clean images untouched |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    click.echo(f"| none | {before:.1f} | 100 % | 0 | {before:.1f} | 100 % | 100 % |")
    for system in SYSTEMS:
        cells = [f"`{system}`"]
        for gated in (False, True):
            spec = with_keys(system, f"samples={samples}", *([GATE] if gated else []))
            with ganfix.attach(G, spec):
                distance = clean.distance_to_samples(features(render(G, artifacts)))
                corrected = render(G, normals)
            cells += [f"{distance:.1f}", f"{(distance - floor) / (before - floor):.0%}"]
            change = (corrected - plain).abs().flatten(1)
            untouched = (change == 0).all(dim=1).float().mean()
            cells.append(f"{untouched:.0%}" if gated else f"{127.5 * change.mean():.1f}")
        click.echo(f"| {' | '.join(cells)} |")
    if picture:
        faces(G, unseen.seeds(ARTIFACT), samples).save(picture)


def faces(G: torch.nn.Module, seeds: list[int], samples: int, shown: int = 12) -> Image.Image:
    """The first labelled artifacts, uncorrected and by each of some systems, gated."""
    z = latents_of(seeds[:shown], (legacy.Z_DIM, 1, 1))
    rows = [Row("before", "as generated", to_images(render(G, z)))]
    for system, note in SHOWN.items():
        with ganfix.attach(G, with_keys(system, f"samples={samples}", GATE)):
            rows.append(Row(system.partition(":")[0], note, to_images(render(G, z))))
    band = Band("Labelled artifacts, held out", [f"seed {seed}" for seed in seeds[:shown]], rows)
    return sheet("Face GAN, before and after", f"every system with {GATE}", [band])


def to_images(images: Tensor) -> list[Image.Image]:
    """Images [N, 3, H, W] in [-1, 1] as pictures."""
    pixels = ((images + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(image) for image in pixels]


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
