"""Every system of both papers on the same labelled faces, in one table.

Labels are split in two: the classifier, the unit scores and the probe see one half, the figures are
of the other. ``labels.csv`` was made by eye, by one rater, before anything was corrected.

A Fréchet distance between a few hundred images of 1280 features each is far from 0 even where
nothing is wrong. So the table begins with what as many other clean images come to, the floor, and
every distance is also given as the share of the way from there to the uncorrected artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
import legacy
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import ganfix_plugin as ganfix
from ganfix_plugin.artifacts.prepare import fit_classifier, score_units
from ganfix_plugin.artifacts.unit_scores import score_units_by_fid
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.labels import ARTIFACT, NORMAL, Labels, read, write
from ganfix_plugin.pictures.sheet import Band, Row, sheet
from ganfix_plugin.profiling.store import classifier_path

HERE = Path(__file__).parent
# By name: a spec, with the files of the seen labels and of 200 of them.
SYSTEMS = {
    "none": "none",
    "random:of=neurons": "random:of=neurons",
    "random:of=activated": "random:of=activated",
    "random:of=units,portion=10%": "random:of=units,portion=10%",
    "fid-units:layer=0": "fid-units:layer=0",
    "ds:layer=0": "ds:layer=0",
    "seqc": "seqc",
    "seqc:start=0,stop=1": "seqc:start=0,stop=1",
    "seqc:start=0,stop=1,normalize=rank": "seqc:start=0,stop=1,normalize=rank",
    "seqc:start=0,stop=1,local=yes": "seqc:start=0,stop=1,local=yes",
    "seqc:start=0,stop=1,local=yes,mask=binary": "seqc:start=0,stop=1,local=yes,mask=binary",
    "seqabl": "seqabl",
    "seqabl:rate=0.3": "seqabl:rate=0.3",
    "seqabl:rate=0.1": "seqabl:rate=0.1",
    "seqabl:lowest=30%,layers=4x4+8x8": "seqabl:lowest=30%,layers=4x4+8x8",
    "truncation:psi=0.7": "truncation:psi=0.7",
    "boundary": "boundary:labels={half}",
    "steer": "steer:labels={half}",
    "steer, 200 labels": "steer:labels={few}",
    "steer:from=lr": "steer:from=lr",
}
PREPARED = ("fid-units", "ds", "seqc")  # need a classifier and unit scores
OWN_GATE = ("steer", "boundary")
HEAD = (
    "| system | all corrected | above the floor | clean images change by | gated | above the floor "
    "| clean images untouched | AUC of the gate |"
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
@click.option("--splits", default=1, show_default=True, help="Ways to halve the labels; averaged.")
@click.option("--only", multiple=True, help="Systems whose names begin like this. [default: all]")
@click.option("--sheet", "picture", type=click.Path(dir_okay=False), help="Also draw some faces.")
def compare(
    labels: str,
    num: int,
    top: int,
    samples: int,
    splits: int,
    only: tuple[str, ...],
    picture: str | None,
) -> None:
    """Print how far corrected artifacts are from clean images, and what clean images lose."""
    G = legacy.generator()
    generator = Generator.of(G)
    systems = {name: spec for name, spec in SYSTEMS.items() if not only or name.startswith(only)}
    figures: dict[str, list[Figures]] = {name: [] for name in systems}
    for split in range(splits):
        seen, unseen = halves(read(Path(labels)).check(generator.fingerprint), split)
        if any(name.startswith(PREPARED) for name in systems):
            classifier = fit_classifier(generator, seen, extractor="efficientnet-lite0")
            classifier.save(classifier_path(classifier.generator))
            score_units(generator, seen, classifier, samples=samples)
            clean, way = seen.samples(NORMAL), {"samples": samples, "num": num, "top": top}
            score_units_by_fid(generator, clean, extractor=classifier.extractor, layers="0", **way)
        with TemporaryDirectory() as folder:
            files = {"half": Path(folder, "half.csv"), "few": Path(folder, "few.csv")}
            write(seen, files["half"])
            write(some(seen, 200, split), files["few"])
            task = Task.of(G, seen, unseen)
            click.echo(task.text)
            for name, spec in systems.items():
                full = with_keys(spec.format(**files), f"samples={samples}")
                figures[name].append(task.measure(full))
                click.echo(f"split {split}: {name}: {' | '.join(figures[name][-1].cells())}")
    click.echo(f"\n{HEAD}\n{'|---' * HEAD.count(' | ')}|---|")
    for name, rows in figures.items():
        click.echo(f"| `{name}` | {' | '.join(averaged(rows).cells())} |")
    if picture:
        faces(G, unseen.seeds(ARTIFACT), samples).save(picture)


class Figures(NamedTuple):
    """Of one system: all corrected, where it needs no gate, and only what its gate flags."""

    distance: float | None
    left: float | None
    change: float | None
    gated_distance: float
    gated_left: float
    untouched: float
    auc: float

    def cells(self) -> list[str]:
        """As they stand in the table."""
        formats = (".1f", ".0%", ".1f", ".1f", ".0%", ".0%", ".3f")
        return ["–" if each is None else format(each, form) for each, form in zip(self, formats)]


def averaged(rows: Sequence[Figures]) -> Figures:
    """The means over splits."""
    return Figures(*(None if None in column else mean(column) for column in zip(*rows)))


@dataclass(frozen=True)
class Task:
    """Held-out artifacts z and clean images' z, and what is known of them uncorrected."""

    G: torch.nn.Module
    artifacts: Tensor
    normals: Tensor
    plain: Tensor
    clean: Gaussian
    floor: float
    before: float

    @classmethod
    def of(cls, G: torch.nn.Module, seen: Labels, unseen: Labels) -> Task:
        """Render the half of the labels that nothing was fitted on."""
        shape = (legacy.Z_DIM, 1, 1)
        artifacts, normals = (latents_of(unseen.seeds(kind), shape) for kind in (ARTIFACT, NORMAL))
        others = latents_of(seen.seeds(NORMAL)[: len(artifacts)], shape)
        plain = render(G, normals)
        clean = Gaussian.of(features(plain))
        distances = (clean.distance_to_samples(features(render(G, z))) for z in (others, artifacts))
        return cls(G, artifacts, normals, plain, clean, *distances)

    @property
    def text(self) -> str:
        """How many there are, and how far apart they are uncorrected."""
        return (
            f"{len(self.artifacts)} artifacts, {len(self.normals)} clean images, "
            f"efficientnet-lite0; as many other clean images: {self.floor:.1f}; "
            f"artifacts: {self.before:.1f}"
        )

    def measure(self, spec: str) -> Figures:
        """Correct everything, and what the gate flags; what moves latents has a gate of its own."""
        own_gate = spec.startswith(OWN_GATE)
        ungated: tuple[float | None, ...] = (None, None, None)
        if not own_gate:
            images, left, _ = self._corrected(with_keys(spec, "gate=off"))
            ungated = (
                self._distance(left),
                left,
                127.5 * float((images - self.plain).abs().mean()),
            )
        images, left, attachment = self._corrected(spec if own_gate else with_keys(spec, GATE))
        scorer = attachment.corrections[0].gate
        assert scorer is not None
        scores = (scorer.scorer(self.G, (z,), {}) for z in (self.artifacts, self.normals))
        untouched = ((images - self.plain).flatten(1) == 0).all(dim=1).float().mean()
        return Figures(*ungated, self._distance(left), left, float(untouched), auc(*scores))

    def _distance(self, left: float) -> float:
        return self.floor + left * (self.before - self.floor)

    def _corrected(self, spec: str) -> tuple[Tensor, float, Any]:
        """Clean images corrected, and the share of the artifacts' distance that remains."""
        with ganfix.attach(self.G, spec) as attachment:
            distance = self.clean.distance_to_samples(features(render(self.G, self.artifacts)))
            images = render(self.G, self.normals)
        return images, (distance - self.floor) / (self.before - self.floor), attachment


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
    for key in keys:
        spec += f"{',' if ':' in spec else ':'}{key}"
    return spec


def halves(labels: Labels, split: int = 0) -> tuple[Labels, Labels]:
    """Even and odd seeds; for further splits, halves by chance."""
    items = list(labels.items)
    chance = np.random.RandomState(split)
    first = [item.seed % 2 == 0 for item in items]
    if split:
        first = list(chance.permutation(len(items)) < len(items) / 2)
    parts = ([item for item, one in zip(items, first) if one == side] for side in (True, False))
    seen, unseen = (replace(labels, items=tuple(part)) for part in parts)
    return seen, unseen


def some(labels: Labels, count: int, seed: int) -> Labels:
    """As many labels by chance."""
    chosen = np.random.RandomState(seed).permutation(len(labels.items))[:count]
    return replace(labels, items=tuple(labels.items[place] for place in sorted(chosen)))


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
