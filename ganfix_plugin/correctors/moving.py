"""Moving the latents of flagged samples, before anything is rendered, to where a probe is content.

What is moved is what the entry takes. All ws of a sample get one and the same shift, so that style
mixing and truncation keep their meaning. Rows that are not flagged stay bit for bit, and where a
row goes depends neither on its batch nor on anybody's random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganfix_plugin.artifacts.probes import SOURCES
from ganfix_plugin.correctors.gates import ProbeScorer
from ganfix_plugin.generators.entry import Latent, of_rows
from ganfix_plugin.hooks.crossing import between, wave
from ganfix_plugin.hooks.forward import Call
from ganfix_plugin.hooks.standalone import Shared, blended
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.spec import Gate, Options, Portion, choice, option, some

BELOW = 0.7  # the default gate
FIXED = 0.2


@dataclass(frozen=True)
class Target:
    """Down to which quantile of the generator's own scores.

    Attributes:
        share: the same for all samples; None spreads them over all quantiles below the gate.
        auto: spread, if the probe learned from labels. One that learned from another score tells
            less, and leaves artifacts among what it puts just below the gate: `FIXED`.
    """

    share: Portion | None = None
    auto: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse ``auto``, ``spread`` or ``30%``."""
        if text in ("auto", "spread"):
            return cls(auto=text == "auto")
        try:
            return cls(some(text))
        except ValueError:
            raise ValueError("auto, spread, or a share above 0% and up to 100%") from None

    def __str__(self) -> str:
        return "auto" if self.auto else "spread" if self.share is None else str(self.share)

    def of(self, probe: Probe, below: float) -> Target:
        """The target for a probe, where a gate leaves a share of the population alone."""
        if not self.auto:
            return self
        tells = probe.source in ("labels", "direction")
        return Target(None if tells else Portion(min(FIXED, below)))


@dataclass(frozen=True, kw_only=True)
class MovingOptions(Options):
    """The keys of correctors that move latents by a probe."""

    gate: Gate | None = option(
        Gate("probe", Portion(BELOW)),
        Gate.parse,
        "which samples are moved, as of all correctors",
        tune=("probe:50%", "probe:60%", "probe:80%", "probe:90%"),
    )
    target: Target = option(
        Target(auto=True),
        Target.parse,
        "to below which quantile of the generator's own scores flagged samples are moved; spread: "
        "each to one of its own, evenly below the gate; auto: spread, or 20% where the probe "
        "learned from no labels",
        tune=("spread", "20%", "30%", "50%"),
    )
    source: str = option(
        "auto",
        choice("auto", *SOURCES),
        "what tells artifacts: labels of people; the network's own discriminator, where its file "
        "has one; lr, the count of low-rate neurons; auto: the first of these that there is",
        key="from",
    )
    labels: Path | None = option(
        None, Path, "a label file [default: the labels that ganfix fit was given]"
    )

    def __post_init__(self) -> None:
        if self.target.share is not None and self.target.share > self.below:
            raise ValueError(f"target={self.target} lies above the gate, {Portion(self.below)}")
        if self.labels is not None and self.source not in ("auto", "labels"):
            raise ValueError(f"labels= and from={self.source} exclude each other; give one")

    @property
    def below(self) -> float:
        """The share of the population that a gate by the probe leaves alone; its default's, where
        another gate decides."""
        by_probe = self.gate is not None and self.gate.score == "probe"
        return self.gate.threshold if self.gate and by_probe else BELOW


@dataclass(frozen=True, eq=False)
class Moving(Shared):
    """Moves latents of a call.

    Attributes:
        scorer: says how artifact-like a call is.
        target: where flagged samples are to go.
        below: the share of the population that the gate leaves alone.
    """

    scorer: ProbeScorer
    target: Target
    below: float

    def latent(self, entry: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The latents [N, …] that the entry is called with."""
        return self._opened(entry, args, kwargs).x

    def _opened(self, entry: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        return self.scorer.reader.adapter.latent(entry, args, kwargs)

    def __call__(
        self, entry: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], amounts: Tensor
    ) -> Call:
        """The same call with latents moved.

        Args:
            entry: the module that is called, which stays as it is.
            amounts: [N], on the CPU, how much of its way each row goes.
        """
        latent = self._opened(entry, args, kwargs)
        # Tensors that were made in inference mode take part in no gradient; copies of them do.
        with torch.inference_mode(False), torch.no_grad():
            chosen, n = amounts.nonzero()[:, 0].to(latent.x.device), len(latent.x)
            part = self._opened(entry, *of_rows(latent.call(latent.x), chosen, n))
            moved, mix = self._moved(entry, part), partial(between, styled=latent.styled)
            moved = blended(part.x.to(moved.dtype), moved, amounts[amounts > 0], mix)
            x = latent.x.clone()
            x[chosen] = moved.to(x.dtype)
        if latent.x.requires_grad:
            x = x + (latent.x - latent.x.detach())  # for gradients, a constant was added
        return latent.call(x)

    def _moved(self, entry: nn.Module, latent: Latent) -> Tensor:
        """The moved latents, like ``latent.x`` but not of less than single precision."""
        raise NotImplementedError

    def stops(self, latent: Latent) -> Tensor:
        """The scores [n] to get below."""
        vectors, probe = latent.vectors, self.scorer.probe
        if self.target.share is None:
            shares = self.below * portions(vectors, probe.scale)
        else:
            shares = torch.full_like(vectors[:, 0], self.target.share)
        return probe.threshold(shares)


def portions(vectors: Tensor, scale: float) -> Tensor:
    """The `wave` [n] of latents' vectors [n, d], whose projection has the same signs always."""
    return wave(vectors, signs(vectors.shape[1]).to(vectors), scale)


def signs(width: int) -> Tensor:
    """Of the `wave`, for vectors of so many numbers: float [width], 1 or -1."""
    return torch.from_numpy(np.random.RandomState(0).choice([-1.0, 1.0], width))
