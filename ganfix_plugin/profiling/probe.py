"""The probe: a linear reading of the first layers' units, high for what looks like an artifact.

It is fitted on labelled generations, or on the tails of another score, and calibrated on the
generator's own population, so that a threshold is a share of what the generator makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import auc, auc_interval, moments, regression
from ganfix_plugin.files import fields_from_json, parsed
from ganfix_plugin.hooks.crossing import quantile

QUANTILES = 1001
FOLDS = 5
REGULARISATION = 0.01  # C of a support vector machine's or scikit-learn's logistic regression
Shown = tuple[Tensor, Tensor]
"""Unit means [k, D] of generations, and the kinds of content [k] that they show."""
_TENSORS = ("weight", "mean", "deviation", "quantiles")
_OF_CLASSES = ("centres", "kinds", "offsets", "spreads")
_OPTIONAL = ("root", *_OF_CLASSES)
_MATRICES = ("root", "centres", "kinds")


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe.

    Attributes:
        weight: [D], on standardised unit means.
        mean, deviation: [D], of the unit means that it was fitted on.
        quantiles: [1001], of its scores over the population.
        scale: the mean distance of the population's ws from their mean; 0 where there are none.
        auc: area under the ROC curve of artifact against normal, cross-validated, and its 95 %
            ``interval``; None if it was fitted elsewhere.
        source: what it was fitted on: "labels", "discriminator", "lr", or "direction" if elsewhere.
        made: how it was fitted, for people.
        request: what it was fitted on, to know whether it must be fitted again.
        root: [d, d], the square root of the covariance of the population's ws, by whose help they
            are moved; None where there are none.
        centres: [K, e], where thresholds go by class: the mean of what tells each class.
        kinds: [K, D], where they go by kind of content: the means of standardised unit means, of
            which the nearest tells the kind.
        offsets, spreads: [K], mean and standard deviation of the scores of each class or kind, by
            which scores are made comparable.
    """

    weight: Tensor
    mean: Tensor
    deviation: Tensor
    quantiles: Tensor
    scale: float
    auc: float | None
    interval: tuple[float, float] | None
    source: str
    made: str
    request: str
    root: Tensor | None = None
    centres: Tensor | None = None
    kinds: Tensor | None = None
    offsets: Tensor | None = None
    spreads: Tensor | None = None

    def score(self, features: Tensor) -> Tensor:
        """Of unit means [N, D], followed by one-hot classes [N, K] where thresholds go by class:
        [N], higher is more artifact-like."""
        units, classes = features[:, : len(self.weight)], features[:, len(self.weight) :]
        mean, deviation = self.mean.to(features), self.deviation.to(features)
        x = (units - mean) / deviation
        score: Tensor = x @ self.weight.to(features)
        if self.offsets is None or self.spreads is None:
            return score
        if self.kinds is not None:
            nearest = torch.cdist(x.detach(), self.kinds.to(x)).argmin(dim=1)
            classes = one_hot(nearest, len(self.kinds)).to(x)
        return (score - classes @ self.offsets.to(score)) / (classes @ self.spreads.to(score))

    def threshold(self, shares: Tensor) -> Tensor:
        """The scores below which shares [N] from 0 to 1 of the population lie: float32 [N]."""
        return quantile(self.quantiles, shares)

    @property
    def text(self) -> str:
        """What it is and how well it does, in one line."""
        if self.auc is None or self.interval is None:
            return self.made
        low, high = self.interval
        return f"{self.made}, cross-validated AUC {self.auc:.3f} ({low:.3f} to {high:.3f})"

    def tensors(self) -> dict[str, Tensor]:
        """What it consists of, by name."""
        named = {name: getattr(self, name) for name in (*_TENSORS, *_OPTIONAL)}
        return {name: x.contiguous() for name, x in named.items() if x is not None}

    def note(self) -> str:
        """Everything else of it, as JSON."""
        names = (field.name for field in fields(self))
        others = [name for name in names if name not in (*_TENSORS, *_OPTIONAL)]
        return json.dumps({name: getattr(self, name) for name in others})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], note: str) -> Probe:
        """The probe of `tensors` and `note`.

        Raises:
            ValueError, TypeError, KeyError: if they are none, or do not belong together.
        """
        about = fields_from_json(cls, parsed(note))
        named: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
        named |= {name: tensors[name] for name in _OPTIONAL if name in tensors}
        for name, x in named.items():
            if x.dtype is not torch.float32 or x.dim() != (2 if name in _MATRICES else 1):
                raise ValueError(f"{name} of a probe is {x.dtype} {list(x.shape)}")
            if not len(x) or not torch.isfinite(x).all():
                raise ValueError(f"{name} of a probe is empty, NaN or infinite")
        if "root" in named and named["root"].shape[0] != named["root"].shape[1]:
            raise ValueError(f"root of a probe is {list(named['root'].shape)}, not square")
        for names in (_TENSORS[:3], [name for name in _OF_CLASSES if name in named]):
            if len({len(named[name]) for name in names}) > 1:
                raise ValueError(f"{', '.join(names)} of a probe do not fit")
        if "kinds" in named and named["kinds"].shape[1] != len(named["weight"]):
            raise ValueError(f"kinds of a probe are {list(named['kinds'].shape)}")
        return cls(**named, **about)


def fit_probe(
    artifacts: Tensor,
    normals: Tensor,
    population: Tensor,
    *,
    apart: Tensor | None = None,
    shown: Shown | None = None,
    scale: float = 0.0,
    root: Tensor | None = None,
    source: str = "labels",
    made: str = "",
    request: str = "",
) -> Probe:
    """Fit a probe on unit means of artifacts [n, D] and normals [m, D].

    A logistic regression on standardised features, both kinds weighing the same.

    Args:
        population: unit means [N, D] of anything that the generator makes.
        apart: directions [m, D] of unit means that the probe is not to read, such as those from one
            kind of content to another. The weight is orthogonal to them, as InterFaceGAN's
            conditional directions are to one another (Shen et al., CVPR 2020).
        shown: what thresholds go by kind of content by, as `by_kind` takes it; None for one
            threshold of all.

    Raises:
        GanfixError: on fewer of a kind than there are folds of the cross-validation.
    """
    if min(len(artifacts), len(normals)) < FOLDS:
        raise GanfixError(
            f"probe: found {len(artifacts)} artifacts and {len(normals)} normals, expected at "
            f"least {FOLDS} of each; label more"
        )
    area = cross_validated(artifacts, normals, population, apart, shown)
    return replace(
        _calibrated_fit(artifacts, normals, population, apart, shown),
        scale=scale,
        source=source,
        made=made,
        request=request,
        root=root,
        auc=area,
        interval=auc_interval(area, len(artifacts), len(normals)),
    )


def _calibrated_fit(
    artifacts: Tensor,
    normals: Tensor,
    population: Tensor,
    apart: Tensor | None,
    shown: Shown | None,
) -> Probe:
    mean, deviation, weight, _ = _fitted(artifacts, normals, apart)
    probe = calibrated(weight, (population - mean) / deviation)
    probe = replace(probe, mean=mean, deviation=deviation)
    return by_kind(probe, population, shown) if shown else probe


def artifact_probability(artifacts: Tensor, normals: Tensor, features: Tensor) -> Tensor:
    """P(artifact) [N] of unit means [N, D], where both kinds are equally frequent, by a probe that
    learned from those of artifacts [n, D] and normals [m, D]."""
    mean, deviation, weight, bias = _fitted(artifacts, normals)
    return (((features - mean) / deviation) @ weight + bias).sigmoid()


def calibrated(
    weight: Tensor, population: Tensor, scale: float = 0.0, made: str = "", request: str = ""
) -> Probe:
    """A probe of weights [D] that were found elsewhere, on features [N, D] as they are."""
    quantiles = _quantiles(population @ weight)
    mean, deviation = torch.zeros_like(weight), torch.ones_like(weight)
    return Probe(weight, mean, deviation, quantiles, scale, None, None, "direction", made, request)


def by_class(probe: Probe, means: Tensor, conditions: Tensor, classes: Tensor) -> Probe:
    """The same probe with thresholds by class: what is usual for one may be rare for another.

    Scores are standardised within each class, so that a share of the population above a threshold
    is about that share of every class.

    Args:
        means, conditions, classes: unit means [N, D], what tells a class [N, e] and the classes
            int64 [N] of a population.
    """
    present = classes.unique()
    centres = torch.stack([conditions[classes == number].mean(dim=0) for number in present])
    # As they will be told where nobody says which class a call is of.
    nearest = torch.cdist(conditions, centres).argmin(dim=1)
    probe = replace(_standardised(probe, means, nearest, len(present)), centres=centres)
    scores = probe.score(torch.cat([means, one_hot(nearest, len(present)).to(means)], dim=1))
    return replace(probe, quantiles=_quantiles(scores))


def by_kind(probe: Probe, means: Tensor, shown: Shown) -> Probe:
    """The same probe with thresholds by kind of content, as `by_class`: boots are compared with
    boots.

    Args:
        means: unit means [N, D] of a population.
        shown: unit means [k, D] of generations whose kinds int64 [k] are known.
    """
    units, kinds = shown
    x = (units - probe.mean) / probe.deviation
    centres = torch.stack([x[kinds == kind].mean(dim=0) for kind in kinds.unique()])
    nearest = torch.cdist((means - probe.mean) / probe.deviation, centres).argmin(dim=1)
    probe = replace(_standardised(probe, means, nearest, len(centres)), kinds=centres)
    return replace(probe, quantiles=_quantiles(probe.score(means)))


def _standardised(probe: Probe, means: Tensor, groups: Tensor, count: int) -> Probe:
    """A probe that knows location and spread of its scores in each of so many groups [N]."""
    scores = probe.score(means)
    offsets, spreads = scores.new_zeros(count), scores.new_ones(count)
    for number in groups.unique():
        offsets[number], spreads[number] = _location(scores[groups == number])
    return replace(probe, offsets=offsets, spreads=spreads)


def _location(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, which is 1 where there is none."""
    deviation = scores.std(correction=0)
    return scores.mean(), torch.where(deviation > 0, deviation, 1)


def cross_validated(
    artifacts: Tensor,
    normals: Tensor,
    population: Tensor,
    apart: Tensor | None = None,
    shown: Shown | None = None,
) -> float:
    """The mean AUC of probes on the fold of samples that each did not see."""
    areas = []
    chance = torch.Generator().manual_seed(0)
    sides = (artifacts, normals)
    folds = [torch.randperm(len(side), generator=chance) % FOLDS for side in sides]
    for fold in range(FOLDS):
        seen = [side[place != fold] for side, place in zip(sides, folds)]
        probe = _calibrated_fit(seen[0], seen[1], population, apart, shown)
        held_out = [side[place == fold] for side, place in zip(sides, folds)]
        areas.append(auc(*map(probe.score, held_out)))
    return sum(areas) / FOLDS


def _quantiles(scores: Tensor) -> Tensor:
    shares = torch.linspace(0, 1, QUANTILES, dtype=torch.float64)
    return torch.quantile(scores.double(), shares).float()


def _fitted(
    artifacts: Tensor, normals: Tensor, apart: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, deviation and weight [D], and bias."""
    x = torch.cat([normals, artifacts]).float()
    y = torch.cat([torch.zeros(len(normals)), torch.ones(len(artifacts))]).long()
    mean, deviation = moments(x)
    # The softmax of two classes halves the norm that a single weight vector would have.
    penalty = 1 / (REGULARISATION * len(y))
    x = (x - mean) / deviation
    if apart is not None:
        basis, _ = torch.linalg.qr((apart / deviation).T)
        x = x - (x @ basis) @ basis.T
    weight, bias = regression(x, y, 2, penalty)
    return mean, deviation, weight[1] - weight[0], bias[1] - bias[0]
