"""`boundary`: InterFaceGAN's linear direction of artifacts in the latent space, as a baseline.

Shen, Gu, Tang, Zhou, CVPR 2020: a hyperplane in z or w separates artifacts from normal images, and
a latent is moved along its normal. The normal is fitted on what `steer` would be fitted on, or read
from a file as its authors publish them; flagged samples go to the target in one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ganfix_plugin.artifacts.probes import ProbeChoice
from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.correctors.moving import Moving, MovingOptions
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.spec import option


@dataclass(frozen=True, kw_only=True)
class BoundaryOptions(MovingOptions):
    """Which direction."""

    direction: Path | None = option(
        None, Path, "a .npy file with the normal, towards artifacts, instead of fitting one"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction is not None and (self.labels is not None or self.source != "auto"):
            raise ValueError("direction= leaves nothing to fit; leave labels= and from= out")

    @property
    def probe(self) -> ProbeChoice:
        """By which artifacts are told."""
        return ProbeChoice(self.source, self.labels, layers=None, direction=self.direction)


@dataclass(frozen=True, eq=False)
class Crossing(Moving):
    """One step along the normal, to the target; z stays on its sphere."""

    def _moved(self, entry: nn.Module, latent: Latent) -> Tensor:
        probe, vectors = self.scorer.probe, latent.vectors
        normal = (probe.weight / probe.deviation).to(vectors)
        length = normal.norm()
        normal = normal / length
        excess = (probe.score(vectors) - self.stops(latent)).clamp(min=0) / length
        if latent.styled:
            shift = excess[:, None] * normal
            shape = (len(shift), *(1 for _ in latent.x.shape[1:-1]), latent.x.shape[-1])
            return latent.x - shift.view(shape)
        along, radius = vectors @ normal, vectors.norm(dim=1)
        beside = vectors - along[:, None] * normal
        goal = (along - excess).clamp(min=-radius)
        # The circle of the sphere on which the component along the normal is the goal.
        around = (radius.square() - goal.square()).clamp(min=0).sqrt()
        beside = beside * (around / beside.norm(dim=1).clamp(min=1e-12))[:, None]
        moved = goal[:, None] * normal + beside
        still = (excess == 0).view(-1, *(1 for _ in latent.x.shape[1:]))
        return latent.x.where(still, moved.view_as(latent.x).to(latent.x.dtype))


def edits(options: BoundaryOptions, context: CorrectorContext) -> Crossing:
    """What moves the latents of a call."""
    assert context.probe is not None
    target = options.target.of(context.probe.probe, options.below)
    return Crossing(context.probe, target, options.below)


CORRECTOR = Corrector(
    name="boundary",
    help="cross a linear boundary of artifacts in the latent space (InterFaceGAN), a baseline",
    options=BoundaryOptions,
    edits=edits,
    needs=("probe",),
)
