"""Gates: the scorers that decide which samples of a call are corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.hooks.forward import Args, Kwargs, device_of
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Shared, bare
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.profiling.rates import lr_count
from ganfix_plugin.profiling.unit_means import Reader


@dataclass(frozen=True)
class LRScorer:
    """Counts the activated LR-neurons of each sample of a call, before it is rendered.

    Attributes:
        low_rate: layers, named relative to the module that is called, with bool [C, H, W].
        unfuses: the adapter that has a CPU count quickly; None counts with the call's arithmetic.
    """

    low_rate: tuple[tuple[Layer, Tensor], ...]
    unfuses: Adapter | None

    def __call__(self, module: nn.Module, args: Args, kwargs: Kwargs) -> Tensor:
        def call(view: nn.Module) -> Any:
            if self.unfuses and device_of(module).type == "cpu":
                self.unfuses.make_quick(view)
            return view(*args, **kwargs)

        return lr_count(module, self.low_rate, call)


@dataclass(frozen=True, eq=False)
class ProbeScorer(Shared):
    """Reads the first layers of a call, before it is rendered, and scores them by a probe."""

    reader: Reader
    probe: Probe

    def __call__(self, module: nn.Module, args: Args, kwargs: Kwargs) -> Tensor:
        with torch.no_grad():
            return self.probe.score(self.reader.read(module, args, kwargs))


@dataclass(frozen=True, eq=False)
class ArtifactScorer(Shared):
    """Renders the uncorrected images of a call and asks the classifier."""

    classifier: Classifier
    extractor: Extractor
    entry: Layer  # where the image is in what the called module returns

    def __call__(self, module: nn.Module, args: Args, kwargs: Kwargs) -> Tensor:
        with torch.no_grad():
            images = self.entry.read(bare(module)(*args, **kwargs))
        features = self.extractor.to(images.device).features(images)
        return self.classifier.artifact_probability(features)
