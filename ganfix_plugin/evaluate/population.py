"""A generator's images as features, uncorrected or corrected, beside those of real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.prepare import real_features, seed_features
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Extractor, load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.generators.find import find_adapter
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, seed_batches
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import device_of, random_state_kept
from ganfix_plugin.workers import progress


@dataclass(frozen=True, eq=False)
class Population:
    """The generations of some seeds.

    Attributes:
        G, adapter: the generator.
        extractor: whose features they are.
        seeds: the host's own.
        features: float32 [n, D] of the uncorrected generations, in the order of the seeds.
        real: float32 [m, D] of the real images.
    """

    G: nn.Module
    adapter: Adapter
    extractor: Extractor
    seeds: tuple[int, ...]
    features: Tensor
    real: Tensor

    @classmethod
    def of(
        cls,
        G: nn.Module,
        seeds: Sequence[int],
        real: Path,
        extractor: str | None = None,
        adapter: str | None = None,
        num_real: int | None = None,
    ) -> Population:
        """Render the seeds and read the real images.

        Args:
            real: a folder or zip of images of the generator's size.
            extractor: by name; None is the default one.
            adapter: by name, where none or several recognise G.
            num_real: so many of the real images, chosen by a seed; all by default.

        Raises:
            GanfixError: if there are no or too few images of the right size, or no such extractor.
        """
        known, used = find_adapter(G, adapter), load_extractor(extractor)
        there = real_features(Generator(G, known), real, used, num_real)
        return cls(
            G, known, used, tuple(seeds), seed_features(Generator(G, known), used, seeds), there
        )

    @cached_property
    def real_gaussian(self) -> Gaussian:
        """The real images' features as a Gaussian."""
        return Gaussian.of(self.real)

    @cached_property
    def manifold(self) -> Manifold:
        """The real images' features as a manifold."""
        return Manifold.of(self.real)

    @cached_property
    def realism(self) -> Tensor:
        """The realism score of every uncorrected generation, float32 [n]."""
        return self.manifold.realism(self.features)

    def artifacts(self, count: int) -> list[int]:
        """The seeds of least realism, the lowest first: artifacts, where nobody labelled any.

        Raises:
            GanfixError: if there are not so many.
        """
        if not 1 < count <= len(self.seeds):
            raise GanfixError(
                f"artifacts: found {count} of {len(self.seeds)} generations, expected from 2 on"
            )
        order = self.realism.argsort(stable=True)[:count]
        return [self.seeds[place] for place in order.tolist()]

    def features_of(self, seeds: Sequence[int]) -> Tensor:
        """The uncorrected features [n, D] of some of the seeds."""
        places = {seed: place for place, seed in enumerate(self.seeds)}
        return self.features[[places[seed] for seed in seeds]]

    def corrected(self, spec: BoundSpec, seeds: Sequence[int], batch: int = BATCH) -> Tensor:
        """Features [n, D] of some seeds generated with a correction.

        Raises:
            GanfixError: on a spec that this generator does not suit, or is not prepared for.
        """
        found = []
        extractor = self.extractor.to(device_of(self.G))
        batches = seed_batches(Generator(self.G, self.adapter), seeds, batch)
        steps = progress(batches, -(-len(seeds) // batch), str(spec))
        with attach(self.G, spec, adapter=self.adapter.name), torch.no_grad():
            for z, c in steps:
                with random_state_kept(self.G, seed=0):
                    images = self.adapter.synthesize(self.G, z, c)
                found.append(extractor.features(images).cpu())
        return torch.cat(found)

    def distance(self, features: Tensor) -> float:
        """The Fréchet distance of features [n, D] to the real images."""
        return self.real_gaussian.distance_to_samples(features)
