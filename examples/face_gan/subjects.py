"""What correctors are compared on: a generator, labels of it, and networks that look at its images.

The judge is a network that neither the labels nor any probe came from, and distances are by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import legacy
import numpy as np
import torch
from torch import Tensor, nn

from ganfix_plugin.evaluation.bench import Bench
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.images import read_images
from ganfix_plugin.features.render import Look
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import Labels, read

HERE = Path(__file__).parent
FOOTWEAR = HERE.parent / "footwear"
REAL = HERE.parent / "stylegan2_small" / "data" / "footwear32_test.zip"
POOL = 2400  # generations of footwear that are labelled for a split
NUM_REAL = 1000
JUDGE = "judge"


@dataclass(frozen=True)
class Subject:
    """A generator on one split of its labels.

    Attributes:
        seen, unseen: labels to learn from, and labels to measure on.
        looks: by name; `JUDGE` is the one that distances are by.
        label_look: the one by which the labels, or else the kinds of content, were made.
        real: features of real images by look; None where nobody has any.
        extractor: of the classifier of seqc.
        pixels: real images [n, …] where realism is also measured by pixels.
        by_itself: what a probe is fitted on where there are no labels.
    """

    generator: Generator
    seen: Labels
    unseen: Labels
    looks: Mapping[str, Look]
    label_look: str
    real: Mapping[str, Tensor] | None
    extractor: str
    by_itself: str


def faces(split: int) -> Subject:
    """The face GAN, labelled by one rater; the clean images of the unseen half stand for real."""
    generator = Generator.of(legacy.generator())
    labels = read(HERE / "labels.csv").check(generator.fingerprint)
    looks = {JUDGE: load_extractor("efficientnet-lite0").features}
    parts = halves(labels, split)
    return Subject(generator, *parts, looks, JUDGE, None, "efficientnet-lite0", "lr")


def footwear(name: str, split: int, within_kinds: bool = True) -> Subject:
    """A footwear network, labelled by realism within kinds; or, not ``within_kinds``, with labels
    to learn from that nobody balanced: the least realistic of all, mostly one kind of shoe."""
    sys.path.append(str(FOOTWEAR))
    import classifier
    import networks
    import photographs
    from balanced import balanced

    opened: Mapping[str, nn.Module] = getattr(networks, name)()
    generator = Generator.of(opened["G_ema"], discriminator=opened["D"])
    looks: dict[str, Look] = {
        JUDGE: photographs.features,
        "classifier": classifier.features,
        "pixels": pixels,
        "discriminator": partial(d_values, opened["D"]),
    }
    images = list(read_images(REAL, num=NUM_REAL))
    without_d = {name: look for name, look in looks.items() if name != "discriminator"}
    real = {name: torch.cat([look(batch) for batch in images]) for name, look in without_d.items()}
    # Every split has generations of its own.
    seeds = range(100_000 * split, 100_000 * split + POOL)
    pool = Bench(generator, {"classifier": classifier.features}, seeds).plain
    by_look = pool.features["classifier"], real["classifier"]
    seen, unseen = halves(balanced(generator.fingerprint, seeds, *by_look), split)
    if not within_kinds:
        seen = without(balanced(generator.fingerprint, seeds, *by_look, count=1), unseen)
    extractor, by = "classifier:maps", "discriminator"
    return Subject(generator, seen, unseen, looks, "classifier", real, extractor, by)


SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "faces": faces,
    "stylegan2": partial(footwear, "stylegan2"),
    "pggan": partial(footwear, "pggan"),
    "stylegan2-worst": partial(footwear, "stylegan2", within_kinds=False),
    "pggan-worst": partial(footwear, "pggan", within_kinds=False),
}
TITLES = {
    "faces": "Face GAN, labels by a person",
    "stylegan2": "StyleGAN2 of footwear, labels by realism within kinds",
    "pggan": "PGGAN of footwear, labels by realism within kinds",
    "stylegan2-worst": "StyleGAN2 of footwear, learning from the least realistic of all",
    "pggan-worst": "PGGAN of footwear, learning from the least realistic of all",
}


def pixels(images: Tensor) -> Tensor:
    """The grey values themselves [n, H · W]."""
    return images.mean(dim=1).flatten(1)


def d_values(D: nn.Module, images: Tensor) -> Tensor:
    """What the generator's own discriminator says of each image by itself, [n, 1]."""
    with torch.no_grad():
        return torch.cat([D(image[None], image.new_zeros(1, 0)) for image in images])


def halves(labels: Labels, split: int = 0) -> tuple[Labels, Labels]:
    """Even and odd seeds; for further splits, halves by chance."""
    items = list(labels.items)
    chance = np.random.RandomState(split)
    first = [item.seed is not None and item.seed % 2 == 0 for item in items]
    if split:
        first = list(chance.permutation(len(items)) < len(items) / 2)
    parts = ([item for item, one in zip(items, first) if one == side] for side in (True, False))
    seen, unseen = (replace(labels, items=tuple(part)) for part in parts)
    return seen, unseen


def without(labels: Labels, others: Labels) -> Labels:
    """Those of the labels whose samples are not among others."""
    left_out = {item.sample for item in others.items}
    return replace(labels, items=tuple(i for i in labels.items if i.sample not in left_out))


def some(labels: Labels, count: int, seed: int) -> Labels:
    """As many labels by chance."""
    chosen = np.random.RandomState(seed).permutation(len(labels.items))[:count]
    return replace(labels, items=tuple(labels.items[place] for place in sorted(chosen)))
