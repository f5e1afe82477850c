"""The classifier's artifact probability as the scorer of a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.adapters import Layer
from ganfix_plugin.detection.classifier import Classifier
from ganfix_plugin.detection.extractors import Extractor
from ganfix_plugin.edits import Shared
from ganfix_plugin.passes import bare


@dataclass(frozen=True, eq=False)
class ArtifactScorer(Shared):
    """Renders the uncorrected images of a call and asks the classifier.

    Attributes:
        entry: where the image is in what the called module returns.
    """

    classifier: Classifier
    extractor: Extractor
    entry: Layer

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        with torch.no_grad():
            images = self.entry.read(bare(module)(*args, **kwargs))
        features = self.extractor.to(images.device).features(images)
        return self.classifier.artifact_probability(features)
