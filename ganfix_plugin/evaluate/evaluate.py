"""`ganfix evaluate`: figures of a generator with and without corrections, on the same latents."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin._version import __version__
from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.features.bootstrap import RESAMPLES, Bootstrap, Figure, frechet, mean
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import K, Manifold
from ganfix_plugin.features.render import PAIR_BATCH, both_sides, image_side, real_batches
from ganfix_plugin.files import cache_folder, write_text
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.profiling.store import classifier_path
from ganfix_plugin.workers import Tensors, joined, meeting_folder, numbered, shared

log = logging.getLogger("ganfix")


@dataclass(frozen=True)
class Evaluation:
    """The figures, and everything that they depend on.

    Attributes:
        figures: Fréchet distance, precision, recall and realism.
        record: of what, corrected how, against what, seen by what: what a file should keep.
    """

    figures: tuple[Figure, ...]
    record: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write figures and record as JSON, whole or not at all."""
        values = {figure.name: figure.values() for figure in self.figures}
        write_text(path, json.dumps({"results": values, **self.record}, indent=1) + "\n")


def evaluate(
    generator: Generator,
    real: Path,
    latents: str,
    specs: Sequence[BoundSpec] = (),
    *,
    extractor: str | None,
    num: int | None = None,
    num_real: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    batch: int = PAIR_BATCH,
    share: bool = False,
) -> Evaluation:
    """Compare generations of given latents, uncorrected and corrected, with real images.

    Args:
        generator: it is left as it was.
        real: a folder or zip of images of the generator's size.
        latents: as `latent_files.read_latents` takes them.
        specs: corrections, in order; none measures the generator as it is.
        extractor: of features, by name; None is the default one.
        num: at most this many latents, from the top.
        num_real: this many of the real images, chosen by the seed; all by default.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of that choice and of the bootstrap.
        batch: latents per pass.
        share: let the ranks that were started together (torchrun) do a part each; all of them
            return the same, bit for bit what one process does.

    Raises:
        GanfixError: on a spec that does not suit the generator, latents of another width, missing
            or too few images, features that are no numbers.
    """
    chosen = read_latents(latents, generator, num)
    network = load_extractor(extractor, generator.discriminator).to(generator.device)
    group = None if share else (0, 1)

    def of_real(part: int, parts: int) -> Tensors:
        batches = real_batches(generator, real, network, num_real, seed, (part, parts))
        return numbered(({"real": features} for features in batches), part, parts)

    def of_generated(part: int, parts: int) -> Tensors:
        batches = chosen.batches(generator, batch, (part, parts))
        return numbered(both_sides(generator, batches, network.features, bool(specs)), part, parts)

    place = cache_folder() / "evaluations" / generator.fingerprint[:16]
    depends_on: tuple[object, ...] = (__version__, generator.device.type, network.name)
    chosen_images = (num_real, seed, image_side(generator), _states(real))
    folder = meeting_folder(place, *depends_on, *chosen_images)
    real_parts = shared(folder, of_real, group=group)
    with attach(generator, *specs) if specs else nullcontext() as attachment:
        corrections = attachment.corrections if attachment else ()
        texts = [correction.text for correction in corrections]
        profiles = sorted({done.profile for done in corrections if done.profile})
        classifiers = [getattr(spec.options, "classifier", None) for spec in specs]
        files = _states(Path(latents), classifier_path(generator.fingerprint), *classifiers)
        depends_on = (*depends_on, generator.adapter.name, latents, len(chosen), batch)
        folder = meeting_folder(place, *depends_on, texts, profiles, files)
        parts = shared(folder, of_generated, group=group)
    where = generator.device if generator.device.type == "cuda" else torch.device("cpu")
    reference = joined(real_parts, "real").to(where)
    names = ("uncorrected", "corrected") if specs else ("uncorrected",)
    sides = [joined(parts, name).to(where) for name in names]
    record = {
        "generator": generator.fingerprint,
        "correct": texts,
        "profile": profiles,
        "ganfix": __version__,
        "latents": latents,
        "num": len(chosen),
        "real": str(real),
        "num_real": len(reference),
        "extractor": network.name,
        "k": K,
        "resamples": resamples if specs else 0,
        "seed": seed,
    }
    if specs and resamples:
        log.info("intervals: %d resamples of %d generations", resamples, len(chosen))
    return Evaluation(figures(reference, sides, Bootstrap(resamples, seed)), record)


def _states(*paths: Path | None) -> list[tuple[str, int, int]]:
    """What tells whether files, and those in folders, are still the same: size and time."""
    files = sorted(file for path in paths if path for file in (path, *path.rglob("*")))
    states = ((str(file), file.stat()) for file in files if file.is_file())
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def figures(real: Tensor, sides: Sequence[Tensor], how: Bootstrap) -> tuple[Figure, ...]:
    """Fréchet distance, precision, recall and realism of features [n, D] against real [m, D]."""
    manifold, means = Manifold.of(real), ("precision", "recall", "realism")
    distance = frechet(Gaussian.of(real), sides, how)
    return (distance, *(mean(name, manifold, sides, how) for name in means))
