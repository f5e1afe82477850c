"""`steer`: move the latents of flagged samples until the generator's own units call them normal.

A probe reads the first layers' units, at the price of an early exit, and its gradient with respect
to the latent costs the same few layers backwards. One or two Newton steps bring a flagged sample
under the probe's threshold, and the generator renders an image of its own making.

Kin: InterFaceGAN's artifact boundary (Shen et al., CVPR 2020; here `boundary`), discriminator
gradient flow (DGflow; Ansari et al., ICLR 2021), discriminator optimal transport (Tanaka, NeurIPS
2019), truncation, rejection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganfix_plugin.artifacts.probes import ProbeChoice
from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.correctors.moving import Moving, MovingOptions
from ganfix_plugin.generators.entry import Latent, of_rows
from ganfix_plugin.spec import LayerChoice, Portion, option, some, whole

SHORTEST = 0.005  # of a step, as a share of the scale
OVERSHOT = (
    1.2  # the score bends upwards along its gradient, so that a plain Newton step falls short
)
_HALF_GAIN = 1024.0  # keeps gradients through half precision from vanishing
_FEW = 0.6  # of a batch: a second pass of so few rows costs less than going back through all


@dataclass(frozen=True, kw_only=True)
class SteerOptions(MovingOptions):
    """How far latents are moved, and what tells artifacts."""

    layers: LayerChoice = option(
        LayerChoice(),
        LayerChoice.parse,
        "whose units are read: auto (the first three, or four, up to 8x8 in most), numbers as "
        "0+1+2, or resolutions as 4x4+8x8",
    )
    steps: int = option(3, whole(1), "at most so many steps for a sample")
    cap: Portion = option(
        Portion(0.3),
        some,
        "the longest step, as a share of the norm of z, or of the mean distance of ws from their "
        "mean",
    )

    @property
    def probe(self) -> ProbeChoice:
        """By which artifacts are told."""
        return ProbeChoice(self.source, self.labels, self.layers)


@dataclass(frozen=True, eq=False)
class Steering(Moving):
    """Newton steps along the probe's gradient.

    Attributes:
        steps: at most so many.
        cap: the longest step, as a share of the scale: the norm of a z, and the mean distance of
            ws from their mean.
    """

    steps: int
    cap: float

    def _moved(self, entry: nn.Module, latent: Latent) -> Tensor:
        start = latent.x.to(torch.promote_types(latent.x.dtype, torch.float32))
        x, norms = start.clone(), start.flatten(1).norm(dim=1)
        scales = torch.full_like(norms, self.scorer.probe.scale) if latent.styled else norms
        stops, classes = self.stops(latent), self.scorer.reader.classes(latent)

        def placed(rows: Tensor, here: Tensor) -> Tensor:
            """Some rows, a z back on its sphere."""
            if latent.styled:
                return here
            return here * _rows_like(norms[rows] / here.flatten(1).norm(dim=1), here)

        left = torch.arange(len(x), device=x.device)
        for _ in range(self.steps):
            score, shift = self._scored(entry, latent, x, left, classes)
            above = score.detach() > stops[left]
            if not above.any():
                break
            if above.float().mean() < _FEW:
                left, above = left[above], above[above]
                score, shift = self._scored(entry, latent, x, left, classes)
            gain = _HALF_GAIN if latent.x.dtype == torch.float16 else 1.0
            (gradient,) = torch.autograd.grad(score, shift, gain * above.to(score))
            left, score = left[above], score.detach()[above]
            here, gradient = x[left], gradient[above] / gain
            excess = score - stops[left]
            step = self._step(latent.styled, here, gradient.flatten(1), excess, scales[left])
            x[left] = placed(left, here - step.view_as(gradient))
        return x

    def _step(
        self, styled: bool, x: Tensor, gradient: Tensor, excess: Tensor, scales: Tensor
    ) -> Tensor:
        """To take off an excess [n] of the scores of rows x, whose gradient is [n, d].

        z moves along the gradient on its sphere. Ws move where they themselves vary, too: along the
        gradient times the square root of their covariance, half-way to the shortest way by
        Mahalanobis' distance.
        """
        root = self.scorer.probe.root
        if not styled:
            outward = x.flatten(1) / scales[:, None]
            way = gradient - outward * (gradient * outward).sum(dim=1, keepdim=True)
        else:
            way = gradient if root is None else gradient @ root.to(gradient)
        way = way / way.norm(dim=1, keepdim=True).clamp(min=1e-12)
        slope = (gradient * way).sum(dim=1).clamp(min=1e-12)
        length = (OVERSHOT * excess / slope).clamp(SHORTEST * scales, self.cap * scales)
        return way * length[:, None]

    def _scored(
        self, entry: nn.Module, latent: Latent, x: Tensor, rows: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores [n] of some rows at x, and the shift from there that they can be derived by."""
        here = x[rows]
        shape = (len(here), *(1 for _ in here.shape[1:-1]), here.shape[-1])
        with torch.enable_grad():
            shift = here.new_zeros(shape if latent.styled else here.shape).requires_grad_()
            call = of_rows(latent.call(latent.x), rows, len(latent.x))
            part = self._opened(entry, *call)
            args, kwargs = part.call((here + shift).to(part.x.dtype))
            units = self.scorer.reader.units(entry, args, kwargs, gradients=True)
            # A sample stays of its class, wherever its w goes.
            score = self.scorer.probe.score(torch.cat([units, classes[rows].to(units)], dim=1))
        return score, shift


def _rows_like(factor: Tensor, x: Tensor) -> Tensor:
    """One number for each row [n], in a shape that multiplies x [n, …]."""
    return factor.view(-1, *(1 for _ in x.shape[1:]))


def edits(options: SteerOptions, context: CorrectorContext) -> Steering:
    """What moves the latents of a call."""
    assert context.probe is not None
    target = options.target.of(context.probe.probe, options.below)
    return Steering(context.probe, target, options.below, options.steps, options.cap)


CORRECTOR = Corrector(
    name="steer",
    help="move the latent until the generator's own units call the image normal",
    options=SteerOptions,
    edits=edits,
    needs=("probe",),
)
