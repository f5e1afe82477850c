"""ganfix on latents that somebody else drew, by the layers' numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from networks import FixedLatents
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import LatentList
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import count_active, lr_counts

RATE = 0.3


@dataclass
class Ours:
    """What ganfix does with a generator."""

    G: nn.Module
    batch: int
    exact: bool = False

    @cached_property
    def generator(self) -> Generator:
        return Generator.of(self.G).measured_exactly(self.exact)

    def layers(self, numbers: Sequence[int]) -> list[Layer]:
        return [layer for layer in self.generator.layers if layer.index in numbers]

    def count(self, z: Tensor, numbers: Sequence[int], batch: int = 0) -> dict[str, Tensor]:
        layers, size = self.layers(numbers), batch or self.batch
        return count_active(self.generator, layers, FixedLatents(z), len(z), size)  # type: ignore[arg-type]

    def profile(self, z: Tensor, numbers: Sequence[int]) -> Profile:
        profile = Profile.of(self.generator, Settings(len(z)))
        return replace(profile, counts=self.count(z, numbers))

    def low_rate(self, profile: Profile) -> list[tuple[Layer, Tensor]]:
        return [(layer, profile.low_rate(layer, RATE, dead=False)) for layer in self.generator.auto]

    def detect(self, z: Tensor, low_rate: list[tuple[Layer, Tensor]], batch: int = 0) -> Tensor:
        batches = LatentList(z, None).batches(self.generator, batch or self.batch)
        return lr_counts(self.generator, low_rate, batches)

    def correct(self, z: Tensor, profile: Profile) -> Tensor:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "profile.safetensors"
            profile.save(path)
            with ganfix.attach(self.G, f"seqabl:rate={RATE},dead=without,profile={path}"):
                image: Tensor = self.G(z)["image"]
        return image
