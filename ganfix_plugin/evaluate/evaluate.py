"""`ganfix evaluate`: figures of a generator with and without corrections, on the same latents."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin._version import __version__
from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.features import bootstrap as comparison
from ganfix_plugin.features.bootstrap import RESAMPLES, Bootstrap, Figure
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.images import read_images
from ganfix_plugin.features.manifold import K, Manifold
from ganfix_plugin.features.render import BATCH, both_sides, joined
from ganfix_plugin.files import write_text
from ganfix_plugin.generators.find import find_adapter
from ganfix_plugin.generators.fingerprint import fingerprint
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.forward import bare, device_of
from ganfix_plugin.workers import Ranks

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
        """Write figures and record as JSON, whole or not at all.

        Raises:
            GanfixError: if it cannot be written.
        """
        values = {figure.name: figure.values() for figure in self.figures}
        text = json.dumps({"results": values, **self.record}, indent=1) + "\n"
        write_text(path, text)


def evaluate(
    G: nn.Module,
    real: Path,
    latents: str,
    specs: Sequence[str | BoundSpec] = (),
    *,
    extractor: str,
    num: int | None = None,
    num_real: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    adapter: str | None = None,
    batch: int = BATCH,
    share: Ranks | None = None,
) -> Evaluation:
    """Compare generations of given latents, uncorrected and corrected, with real images.

    Args:
        G: a generator in evaluation mode; it is left as it was.
        real: a folder or zip of images of the generator's size.
        latents: as `latents.read_latents` takes them.
        specs: corrections, in order; none measures the generator as it is.
        extractor: of features, by name.
        num: at most this many latents, from the top.
        num_real: this many of the real images, chosen by the seed; all by default.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of that choice and of the bootstrap.
        share: this process's place among the ranks; the result does not depend on how many.

    Raises:
        GanfixError: on a bad spec, latents of another width, missing or too few images, features
            that are no numbers.
    """
    share = share or Ranks()
    known = find_adapter(G, adapter)
    chosen = share.agree(lambda: read_latents(latents, Generator(G, known), num))
    used = share.agree(lambda: load_extractor(extractor).to(device_of(G)))
    z, c = chosen.part(slice(1), device_of(G))
    with torch.no_grad():
        size = known.synthesize(bare(G), z, c).shape[-1]

    def seen() -> Iterator[Tensor]:
        for number, images in enumerate(read_images(real, size, num=num_real, seed=seed)):
            if number % share.size == share.rank:
                yield used.features(images.to(device_of(G))).cpu()

    reference = torch.cat(share.batches(seen))
    attached = share.agree(lambda: attach(G, *specs, adapter=adapter) if specs else None)
    try:
        batches = share.batches(
            lambda: both_sides(
                G, known, chosen, used.features, corrected=bool(specs), share=share, batch=batch
            )
        )
    finally:
        if attached:
            attached.detach()
    where = device_of(G) if device_of(G).type == "cuda" else torch.device("cpu")
    before, *after = (side.to(where) for side in joined(batches))
    made = attached.corrections if attached else ()
    record = {
        "generator": fingerprint(G),
        "correct": [each.text for each in made],
        "profile": sorted({each.profile for each in made if each.profile}),
        "ganfix": __version__,
        "latents": latents,
        "num": len(chosen),
        "real": str(real),
        "num_real": len(reference),
        "extractor": used.name,
        "k": K,
        "resamples": resamples if specs else 0,
        "seed": seed,
    }
    how = Bootstrap(resamples, seed)
    if after and resamples:
        log.info("intervals: %d resamples of %d generations", resamples, len(chosen))
    found = figures(reference.to(where), before, after[0] if after else None, how)
    return Evaluation(found, record)


def figures(
    real: Tensor, before: Tensor, after: Tensor | None = None, how: Bootstrap | None = None
) -> tuple[Figure, ...]:
    """Fréchet distance, precision, recall and realism of features [n, D] against real [m, D]."""
    manifold = Manifold.of(real)
    first = comparison.frechet(Gaussian.of(real), before, after, how)
    kinds = (comparison.precision, comparison.recall, comparison.realism)
    return (first, *(kind(manifold, before, after, how) for kind in kinds))
