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
from ganfix_plugin.correctors.moving import Moving, MovingOptions, signs
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.hooks.crossing import Cross
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

    cross: Cross

    def _moved(self, entry: nn.Module, latent: Latent) -> Tensor:
        return self.cross(latent.x)


def edits(options: BoundaryOptions, context: CorrectorContext) -> Crossing:
    """What moves the latents of a call."""
    assert context.probe is not None
    probe = context.probe.probe
    target = options.target.of(probe, options.below)
    weight = probe.weight / probe.deviation
    cross = Cross(
        weight,
        -float(weight.double() @ probe.mean.double()),
        probe.quantiles,
        target.share,
        options.below,
        signs(len(weight)).float(),
        probe.scale,
    )
    return Crossing(context.probe, target, options.below, cross)


CORRECTOR = Corrector(
    name="boundary",
    help="cross a linear boundary of artifacts in the latent space (InterFaceGAN), a baseline",
    options=BoundaryOptions,
    edits=edits,
    needs=("probe",),
)
