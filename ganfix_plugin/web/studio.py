"""A generator to look at: the images of seeds and between them, corrected in whatever way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ganfix_plugin.artifacts.ranking import score_batches
from ganfix_plugin.artifacts.scores import Score
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.plan import correction_of
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.forward import Args, Kwargs
from ganfix_plugin.hooks.standalone import bare, random_state_kept
from ganfix_plugin.pictures.palette import brightest, heat, overlay
from ganfix_plugin.pictures.sheet import pictured
from ganfix_plugin.profiling.unit_means import entry_call
from ganfix_plugin.web.renderer import SMALL, as_png, encoded

CORRECTIONS = 32  # kept ready, so that a slider that goes back and forth costs a pass only
_SCALED = 8  # seeds by whose heat maps the colours of all are scaled
_MAP = 128  # side of the largest heat map


@dataclass(frozen=True)
class Shot:
    """What can be looked at.

    Attributes:
        seeds: one, or several that a path goes through.
        frame: of the path, with ``per`` of them from one seed to the next; 0 is the first seed.
        specs: what corrects it, in order.
        heat: the name of a score: not the image, but where what it counts lies.
        small: reduced for a grid.
    """

    seeds: tuple[int, ...]
    frame: int = 0
    per: int = 1
    specs: tuple[BoundSpec, ...] = ()
    heat: str = ""
    small: bool = False


class Studio:
    """Draws shots of a generator; for the thread that opened it.

    Args:
        score_of: a score by its name, for heat maps.
        class_index: of conditional generators; None deals the classes round by seed.
    """

    def __init__(
        self,
        generator: Generator,
        score_of: Callable[[str], Score] | None = None,
        class_index: int | None = None,
    ):
        self.generator, self.class_index, self._score_of = generator, class_index, score_of
        self.correction = functools.lru_cache(CORRECTIONS)(self._correction)
        self._high: dict[str, float] = {}

    def draw(self, shot: Shot) -> bytes:
        """A shot as PNG; of the same bits whenever it is drawn."""
        return self._heat(shot) if shot.heat else self.counted(shot)[0]

    @property
    def large(self) -> bool:
        """Whether images are larger than a grid shows them."""
        return max(max(layer.resolution) for layer in self.generator.layers) > SMALL

    def counted(self, shot: Shot) -> tuple[bytes, bool]:
        """A shot as PNG, and whether its corrections took it for one to correct."""
        with self._corrected(shot.specs) as attachment:
            content = encoded(self._image(shot), shot.small)
            return content, any(count.corrected for count in attachment.counts)

    def _correction(self, spec: BoundSpec) -> Correction:
        """A spec's correction; what it reads is measured at its first use, and is the same at any
        strength."""
        whole = spec.replaced({"strength": "100%"})
        if whole == spec:
            return correction_of(self.generator, spec)
        strength = float(spec.options.strength)
        return replace(self.correction(whole), text=str(spec), strength=strength)

    def _corrected(self, specs: Sequence[BoundSpec]) -> Attachment:
        return Attachment(self.generator.G, [*map(self.correction, specs)])

    def _image(self, shot: Shot) -> Tensor:
        """[1, C, H, W]; one by one, as the hosts' scripts render."""
        if not shot.frame % shot.per:
            (batch,) = self._batches([shot.seeds[shot.frame // shot.per]])
            return render(self.generator, *batch, bool(shot.specs))
        _, args, kwargs = self.call(shot)
        view = self.generator.G if shot.specs else bare(self.generator.G)
        with torch.no_grad(), random_state_kept(self.generator.G, seed=0):
            return self.generator.entry.read(
                view.get_submodule(self.generator.entry.name)(*args, **kwargs)
            )

    def call(self, shot: Shot) -> tuple[nn.Module, Args, Kwargs]:
        """The entry, and what it is called with: as for the nearer seed, with the latent of a frame
        of a path."""
        place, step = divmod(shot.frame, shot.per)
        ends = [self._latent(seed) for seed in shot.seeds[place : place + 2]]
        share = step / shot.per
        x = between(ends[0], ends[1].x, share) if step else ends[0].x
        entry = self.generator.G.get_submodule(self.generator.entry.name)
        return entry, *ends[round(share)].call(x)

    def _latent(self, seed: int) -> Latent:
        """What the generator's entry is called with for a seed."""
        generator, ((z, c),) = self.generator, self._batches([seed])
        call = entry_call(generator, lambda view: generator.synthesize(z, c, view))
        return generator.adapter.latent(*call)

    def _batches(self, seeds: Sequence[int]) -> list[tuple[Tensor, Tensor | None]]:
        return list(seed_batches(self.generator, seeds, 1, self.class_index))

    def _heat(self, shot: Shot) -> bytes:
        assert self._score_of is not None
        score = self._score_of(shot.heat)

        def maps(seed: int) -> np.ndarray:
            (batch,) = self._batches([seed])
            return score.heat(*batch, _MAP)[0].numpy()

        if shot.heat not in self._high:
            self._high[shot.heat] = brightest([maps(seed) for seed in range(_SCALED)])
        (image,) = pictured(self._image(shot).float())
        colours = heat(maps(shot.seeds[0]), 0, self._high[shot.heat])
        return as_png(overlay(image, colours))

    def score(self, score: Score, seeds: Sequence[int]) -> Tensor:
        """float32 [n]."""
        batches = seed_batches(self.generator, seeds, score.batch, self.class_index)
        return score_batches(self.generator, score, batches)


def between(latent: Latent, other: Tensor, share: float) -> Tensor:
    """A latent on the way from one to another of its shape: ws go straight, as in the hosts'
    videos, z [1, …] over the sphere (White, 2016), their norms evenly."""
    start, end = latent.x, other
    if latent.styled:
        return start.lerp(end, share)
    norms = [x.flatten(1).norm(dim=1).view(-1, *(1 for _ in x.shape[1:])) for x in (start, end)]
    a, b = start / norms[0], end / norms[1]
    angle = (a * b).sum().clamp(-1, 1).acos()
    if angle < 1e-4:
        return start.lerp(end, share)
    way = ((1 - share) * angle).sin() * a + (share * angle).sin() * b
    return way / angle.sin() * norms[0].lerp(norms[1], share)
