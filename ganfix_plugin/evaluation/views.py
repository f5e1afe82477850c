"""What networks see in generations and in real images, the work shared by ranks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from ganfix_plugin._version import __version__
from ganfix_plugin.api import attach
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.features import frechet
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.features.render import both_sides, image_side, real_batches
from ganfix_plugin.files import cache_folder
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Listed
from ganfix_plugin.profiling.store import classifier_path
from ganfix_plugin.workers import Tensors, joined, meeting_folder, numbered, shared

# Generations whose features are kept: what compares single images is measured on these, and of the
# others only what the Fréchet distance needs, so that memory does not grow with them.
KEPT = 10_000
SIDES = ("uncorrected", "corrected")
CHANGES = "changes"
JUDGE = " by the judge"
_SUMS = "sums of "


@dataclass(frozen=True)
class Seen:
    """What is seen of generations, and what corrected them.

    Attributes:
        rows: as `both_sides` names them, features of the first `KEPT` generations, changes of all.
        sums: by the same names, `frechet.sums` of the features of the others, if there are any.
        texts, profiles: of the corrections.
    """

    rows: Tensors
    sums: Tensors
    texts: list[str]
    profiles: list[str]


@dataclass(frozen=True)
class Views:
    """A generator, and who looks at its images.

    Attributes:
        networks: by what stands after the name of a side: nothing, and `JUDGE` if there is one.
        batch: latents per pass.
        group: this process's rank and how many there are; None as they were started.
    """

    generator: Generator
    networks: Mapping[str, Extractor]
    batch: int
    group: tuple[int, int] | None = None

    def of_real(self, path: Path, num: int | None, seed: int) -> Tensors:
        """Features of real images, "real" followed by the network's ending; arguments and errors
        are those of `real_batches`."""
        generator, networks = self.generator, self.networks

        def work(part: int, parts: int) -> Tensors:
            how = (num, seed, (part, parts))
            seen = (real_batches(generator, path, network, *how) for network in networks.values())
            names = [f"real{ending}" for ending in networks]
            return numbered((dict(zip(names, rows)) for rows in zip(*seen)), part, parts)

        folder = self._folder(num, seed, image_side(generator), _states(path))
        parts = shared(folder, work, group=self.group)
        return {name: joined(parts, name) for name in (f"real{ending}" for ending in networks)}

    def of(self, latents: Listed, source: str, specs: Sequence[BoundSpec] = ()) -> Seen:
        """Generations of latents, uncorrected and, if there are specs, corrected.

        Args:
            source: where the latents are from, a file or a text.

        Raises:
            GanfixError: on a spec that does not suit the generator.
        """
        generator = self.generator
        looks = {ending: network.features for ending, network in self.networks.items()}

        def work(part: int, parts: int) -> Tensors:
            batches = latents.batches(generator, self.batch, (part, parts))
            sides = both_sides(generator, batches, looks, bool(specs))
            return _bounded(sides, part, parts, max(KEPT // self.batch, 1))

        with attach(generator, *specs) if specs else nullcontext() as attachment:
            corrections = attachment.corrections if attachment else ()
            texts = [correction.text for correction in corrections]
            profiles = sorted({done.profile for done in corrections if done.profile})
            classifiers = [getattr(spec.options, "classifier", None) for spec in specs]
            files = _states(Path(source), classifier_path(generator.fingerprint), *classifiers)
            of_latents = (generator.adapter.name, source, len(latents), self.batch)
            folder = self._folder(*of_latents, texts, profiles, files)
            parts = shared(folder, work, group=self.group)
        sides = SIDES if specs else SIDES[:1]
        names = [side + ending for side in sides for ending in looks]
        further = {
            name: [part[_SUMS + name] for part in parts if _SUMS + name in part] for name in names
        }
        sums = {
            name: torch.stack(of_parts).sum(dim=0) for name, of_parts in further.items() if of_parts
        }
        names += [CHANGES] if specs else []
        return Seen({name: joined(parts, name) for name in names}, sums, texts, profiles)

    def _folder(self, *depends_on: object) -> Path:
        """Where ranks meet."""
        place = cache_folder() / "evaluations" / self.generator.fingerprint[:16]
        networks = [network.name for network in self.networks.values()]
        device = self.generator.device.type
        return meeting_folder(place, __version__, device, networks, *depends_on)


def _bounded(batches: Iterable[Tensors], part: int, parts: int, most: int) -> Tensors:
    """As `numbered`, but of all after the first ``most`` batches only sums of the features."""
    sums: Tensors = {}

    def kept() -> Iterator[Tensors]:
        for step, batch in enumerate(batches):
            if part + step * parts < most:
                yield batch
                continue
            for name in batch.keys() - {CHANGES}:
                of_batch = frechet.sums(batch.pop(name))
                sums[_SUMS + name] = sums.get(_SUMS + name, 0) + of_batch
            yield batch

    return numbered(kept(), part, parts) | sums


def _states(*paths: Path | None) -> list[tuple[str, int, int]]:
    """What tells whether files, and those in folders, are still the same: size and time."""
    files = sorted(file for path in paths if path for file in (path, *path.rglob("*")))
    # Not Path.is_file, which raises where a list of seeds is too long for a name.
    states = ((str(file), file.stat()) for file in files if os.path.isfile(file))
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]
