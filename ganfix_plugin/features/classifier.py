"""The classifier of [T21], 3.1: a linear head on a frozen extractor, and its file.

[T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.extractors import Extractor, named_in_file
from ganfix_plugin.files import fields_from_json, reading, save_tensors
from ganfix_plugin.labels import ARTIFACT, KINDS

FORMAT = "ganfix-classifier-1"
FEWEST = 20  # per class; below that, a held-out figure means nothing
HELD_OUT = 0.2  # of each class
DOUBTFUL = 0.7  # an AUC below which a classifier is warned of
PENALTY = 1e-2
AUTOMATIC = "automatic labels"  # how `Classifier.made` begins without a person's


@dataclass(frozen=True)
class Report:
    """How a head does on samples that it was not trained on."""

    accuracy: float  # the share of right answers
    auc: float  # the area under the ROC curve of artifact against normal
    interval: tuple[float, float]  # the 95 % interval of the AUC
    confusion: list[list[int]]  # confusion[i][j] samples of class i were taken for class j

    @property
    def text(self) -> str:
        """The AUC and its interval."""
        low, high = self.interval
        return f"held-out AUC {self.auc:.3f}, 95 % interval {low:.3f} to {high:.3f}"

    @property
    def doubtful(self) -> bool:
        """Whether the head may be no better than chance, or is hardly better."""
        return self.auc < DOUBTFUL or self.interval[0] <= 0.5


_TENSORS = ("weight", "bias", "mean", "deviation")


@dataclass(frozen=True)
class Classifier:
    """A trained linear head.

    Attributes:
        weight: [classes, D] on standardised features; ``bias``: [classes].
        mean, deviation: [D], of the training features.
        classes: their names, "artifact" among them.
        extractor: the extractor's name.
        generator: fingerprint of the generator whose images it learned from.
        held_out: how it does.
        counts: training and held-out samples by class.
        made: from what it was made without being asked, for `artifacts.prepare`; empty otherwise.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    classes: tuple[str, ...]
    extractor: str
    generator: str
    held_out: Report
    counts: dict[str, int] = field(default_factory=dict)
    made: str = ""

    @property
    def by_count(self) -> bool:
        """Whether what it takes for artifacts is only what the LR count found."""
        return self.made.startswith(AUTOMATIC) and "real=None" in self.made

    def logits(self, features: Tensor) -> Tensor:
        """[N, classes] of features [N, D]."""
        if features.shape[1] != len(self.mean):
            raise GanfixError(
                f"classifier: learned from {len(self.mean)} features of {self.extractor}, which "
                f"now gives {features.shape[1]}; make it again by ganfix fit"
            )
        standard = (features - self.mean.to(features)) / self.deviation.to(features)
        return standard @ self.weight.to(features).T + self.bias.to(features)

    def artifact_probability(self, features: Tensor) -> Tensor:
        """P(artifact) [N] of features [N, D]."""
        return self.logits(features).softmax(dim=1)[:, self.classes.index(ARTIFACT)]

    def is_artifact(self, features: Tensor) -> Tensor:
        """bool [N]: the artifact class is the most probable one."""
        return self.logits(features).argmax(dim=1) == self.classes.index(ARTIFACT)

    def cam(self, maps: Tensor) -> Tensor:
        """Grad-CAM of the artifact class (Selvaraju et al., ICCV 2017) in [0, 1], [N, h, w].

        For a linear head on the mean of feature maps [N, D, h, w] the gradients are its weights,
        so that no backward pass is needed. A map without any positive evidence stays all zero.
        """
        weight = self.weight[self.classes.index(ARTIFACT)] / self.deviation
        evidence = torch.einsum("ndhw,d->nhw", maps, weight.to(maps)).relu()
        tiny = torch.finfo(evidence.dtype).tiny
        return evidence / evidence.amax(dim=(1, 2), keepdim=True).clamp(min=tiny)

    def digest(self) -> str:
        """16 hexadecimal digits that change with the head; scores are tied to it."""
        numbers = torch.cat([self.weight.flatten(), self.bias, self.mean, self.deviation])
        return hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the file whole or not at all; raises GanfixError if it cannot be written."""
        meta: dict[str, Any] = asdict(self)
        tensors = {name: meta.pop(name).contiguous() for name in _TENSORS}
        save_tensors(path, tensors, {FORMAT: json.dumps(meta)}, "classifier")

    @classmethod
    def load(cls, path: Path, generator: str | None = None) -> Classifier:
        """Read a file.

        Args:
            generator: fingerprint of the one whose images it is to judge, if it is to judge any: it
                may be another than it learned from, but not by the discriminator of that.

        Raises:
            GanfixError: if the file is missing, damaged or no classifier, or cannot judge those.
        """
        make = "; make it by ganfix fit"
        with reading(path, "classifier", FORMAT, how_to_make=make, remedy=make) as (meta, tensors):
            named: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
            head = cls(**named, **fields_from_json(cls, meta))
            head._check()
        if generator not in (None, head.generator) and head.extractor == "discriminator":
            raise GanfixError(
                f"classifier {path}: sees by the discriminator of another generator; make one that "
                "any generator can use by ganfix fit --extractor resnet18 (or efficientnet-lite0)"
            )
        return head

    def _check(self) -> None:
        """Raise ValueError if what belongs together does not fit."""
        size = (len(self.classes), len(self.mean))
        shapes = (size, size[:1], size[1:], size[1:])
        for name, shape in zip(_TENSORS, shapes):
            x = getattr(self, name)
            if x.shape != shape or x.dtype is not torch.float32 or not torch.isfinite(x).all():
                raise ValueError(f"{name} is {x.dtype} {list(x.shape)}, expected {list(shape)}")
        if not self.mean.numel() or not (self.deviation > 0).all():
            raise ValueError("deviation is not above 0")
        if len(set(self.classes)) != len(self.classes) or not {*KINDS} <= {*self.classes}:
            raise ValueError(f"classes are {', '.join(self.classes)}")

    def load_extractor(self, D: nn.Module | None = None) -> Extractor:
        """The extractor that this head was trained on; the discriminator D, if it was that."""
        return named_in_file(self.extractor, D)

    def warn(self, more_labels: str) -> None:
        """Warn where the head hardly tells artifacts from normal images.

        Args:
            more_labels: the command that makes labels.
        """
        if self.held_out.doubtful:
            warnings.warn(
                f"the classifier hardly tells artifacts from normal images ({self.held_out.text}): "
                "what is corrected by it may be no better than chance; give it real images "
                "(--real of ganfix fit and prepare, real= after --correct), or 100 to 200 labels "
                f"of each kind: {more_labels}",
                GanfixWarning,
                stacklevel=3,
            )


def fit(
    features: Sequence[Tensor],
    classes: Sequence[str],
    extractor: str,
    generator: str,
    seed: int = 0,
) -> Classifier:
    """Train a head on the features [n, D] of each class.

    A multinomial logistic regression with an L2 penalty, by L-BFGS to convergence; classes weigh
    the same whatever their sizes. A share of each class is held out and reported.

    Raises:
        GanfixError: on too few samples of a class, or NaN in features.
    """
    chance, train, test = torch.Generator().manual_seed(seed), [], []
    for name, samples in zip(classes, features):
        if len(samples) < FEWEST:
            few = f"found {len(samples)} samples, expected at least {FEWEST}; label more"
            raise GanfixError(f"class {name}: {few}")
        if not torch.isfinite(samples).all():
            raise GanfixError(f"class {name}: found NaN or infinite features")
        order = torch.randperm(len(samples), generator=chance)
        cut = round(HELD_OUT * len(samples))
        test.append(samples[order[:cut]].float())
        train.append(samples[order[cut:]].float())
    x, y = torch.cat(train), _targets(train)
    mean, deviation = moments(x)
    weight, bias = regression((x - mean) / deviation, y, len(classes), PENALTY)
    counts = {f"{name}/train": len(samples) for name, samples in zip(classes, train)}
    counts |= {f"{name}/held out": len(samples) for name, samples in zip(classes, test)}
    head = (weight, bias, mean, deviation, tuple(classes), extractor, generator)
    classifier = Classifier(*head, held_out=Report(0.0, 0.0, (0.0, 1.0), []), counts=counts)
    return replace(classifier, held_out=_report(classifier, test))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D] of features [n, D]."""
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    # A feature that never varied would blow up as soon as it does.
    return mean, torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1)


def auc(positive: Tensor, negative: Tensor) -> float:
    """Area under the ROC curve: how often a positive scores above a negative; ties count half."""
    scores = torch.cat([negative, positive]).double()
    values, places, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0).double() - (counts.double() - 1) / 2)[places]
    above = ranks[len(negative) :].sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))


def auc_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95 % interval of an AUC (Hanley and McNeil, Radiology 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    reach = 1.96 * (max(variance, 0) / (positives * negatives)) ** 0.5
    return max(area - reach, 0.0), min(area + reach, 1.0)


def regression(x: Tensor, y: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight [classes, D] and bias [classes] of a logistic regression by L-BFGS.

    Of standardised features x, float32 [n, D], on classes y, int64 [n], which all weigh the same
    whatever their sizes. The penalty is of the sum of squared weights, beside the mean cross
    entropy.
    """
    weight = x.new_zeros(classes, x.shape[1]).requires_grad_()
    bias = x.new_zeros(classes).requires_grad_()
    balance = len(y) / (classes * y.bincount(minlength=classes).to(x))
    descent = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        value = cross_entropy(x @ weight.T + bias, y, balance) + penalty * weight.square().sum()
        value.backward()
        return value

    descent.step(loss)
    return weight.detach(), bias.detach()


def _report(head: Classifier, test: Sequence[Tensor]) -> Report:
    right = _targets(test)
    answers = head.logits(torch.cat(list(test))).argmax(dim=1)
    size = len(head.classes)
    confusion = (right * size + answers).bincount(minlength=size**2).view(size, size)
    kinds = (test[head.classes.index(name)] for name in KINDS)
    artifact, normal = map(head.artifact_probability, kinds)
    accuracy, area = float((answers == right).float().mean()), auc(artifact, normal)
    interval = auc_interval(area, len(artifact), len(normal))
    return Report(accuracy, area, interval, confusion.tolist())


def _targets(groups: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.full((len(group),), i) for i, group in enumerate(groups)])
