"""`seqc`: sequential correction of units by their defective scores ([T21], Algorithm 1).

Units of highest defective score are faded, h_u ← λ (1 − DS_u) h_u: of one score for all samples,
or, where kernels differ by sample (style-based and BigGAN-type generators; 5.4), of scores of each
sample that a classifier calls an artifact, in a second pass. Or, by h_u ← (1 − L) h_u, only where
the sample's mask L is (4.2). [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext, UnitNeeds
from ganfix_plugin.correctors.units import overlapping
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import Extractor
from ganfix_plugin.hooks.correction import SecondPass
from ganfix_plugin.hooks.fade import Fade
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Edit, Scale, Shared
from ganfix_plugin.profiling.defective import (
    binary_masks,
    exceeding,
    normalized,
    unit_overlap,
    upsampled_cams,
)
from ganfix_plugin.spec import Options, Portion, choice, number, option, some, whole, yes_no


@dataclass(frozen=True, kw_only=True)
class SeqcOptions(Options):
    """The paper's three hyper-parameters, and the variants of both papers' discussions."""

    start: int = option(
        1,
        whole(0),
        "the first corrected layer; 1 is the paper's, 0 adds the dense 4x4 layer before it",
        tune=("0",),
    )
    stop: int | None = option(
        None,
        whole(0),
        "the stopping layer [default: 6, the paper's; for generators of fewer than 10 layers a "
        "third of them, rounded up]",
        tune=("0", "1", "2", "4", "6", "8"),
    )
    top: Portion = option(
        Portion(0.2),
        some,
        "share of each layer's units to correct, at most: only such as overlap with artifacts",
        tune=("5%", "10%", "40%", "60%"),
    )
    scale: float = option(
        0.9, number(0, 1), "λ; 0 is plain zero ablation", tune=("0", "0.3", "0.6")
    )
    normalize: str = option(
        "max",
        choice("max", "rank"),
        "how scores are brought to [0, 1]: max (the paper's), or rank (stronger where raw "
        "scores are small)",
        tune=("rank",),
    )
    mode: str = option(
        "auto",
        choice("auto", "global", "sample"),
        "one score per unit, or one per unit and sample in a second pass; auto: sample for "
        "style-based and BigGAN-type generators",
    )
    local: bool = option(
        False, yes_no, "yes: fade the units only where the sample's own mask is (two passes)"
    )
    mask: str = option(
        "soft",
        choice("soft", "binary"),
        "of local=yes: soft fades by as much as the Grad-CAM says (the paper's), binary takes the "
        "units out where it reaches cam",
    )
    rows: str = option(
        "auto",
        choice("auto", "artifacts", "all"),
        "which samples: those that the classifier calls artifacts (in two passes), or all; auto: "
        "all where one pass will do",
    )
    cam: float = option(0.5, number(0, 1), "a sample is defective where its Grad-CAM reaches this")
    classifier: Path | None = option(
        None,
        Path,
        "a classifier file [default: the store's, of ganfix fit or of the first use]",
    )

    def __post_init__(self) -> None:
        if self.mask == "binary" and not self.local:
            raise ValueError("mask=binary says how local=yes fades; give both, or neither")


def stopping_layer(options: SeqcOptions, layers: Sequence[Layer]) -> int:
    """The number of the last corrected layer.

    Raises:
        GanfixError: if there is none such, or it comes before the first.
    """
    third = -(-len(layers) // 3)
    default = 6 if len(layers) >= 10 else max(third, options.start)
    stop = default if options.stop is None else options.stop
    last = max(layer.index for layer in layers)
    if not options.start <= stop <= last:
        raise GanfixError(f"stop={stop}: expected a layer from start={options.start} to {last}")
    return stop


def corrected_units(scores: Tensor, top: float) -> Tensor:
    """The units of highest score, bool like ``scores`` [C] or [N, C]: a share of all, at least one,
    as far as so many overlap with artifacts at all."""
    return overlapping(scores, max(1, round(top * scores.shape[-1])))


def factors(scores: Tensor, options: SeqcOptions) -> Tensor:
    """λ (1 − DS) at the corrected units, 1 elsewhere: float32 like ``scores`` [C] or [N, C]."""
    faded = options.scale * (1 - normalized(scores, options.normalize))
    return torch.where(corrected_units(scores, options.top), faded, 1).float()


def unit_needs(options: SeqcOptions, layers: Sequence[Layer]) -> UnitNeeds:
    """The corrected layers, and whether their units have one score for all samples."""
    stop = stopping_layer(options, layers)
    chosen = [layer for layer in layers if options.start <= layer.index <= stop]
    differ = any(layer.by_sample for layer in chosen)
    by_sample = options.mode == "sample" or (options.mode == "auto" and differ)
    twice = by_sample or options.local or options.rows == "artifacts"
    return UnitNeeds(chosen, scores=not by_sample, classifier=twice)


def edits(options: SeqcOptions, context: CorrectorContext) -> Mapping[Layer, Edit] | SecondPass:
    """Edits by layer, or what decides about them after a first pass."""
    profile = context.profile
    assert profile is not None
    needs = unit_needs(options, context.layers)
    numbers = "defective" if needs.scores else "thresholds"
    of_units = {layer.name: profile.of_units(numbers, layer) for layer in needs.layers}
    if not needs.classifier:
        return {layer: _scaled(layer, of_units[layer.name], options) for layer in needs.layers}
    assert context.classifier is not None
    extractor = context.classifier.load_extractor(context.discriminator)
    layers, each_sample = tuple(needs.layers), not needs.scores
    return ArtifactPass(layers, options, context.classifier, extractor, each_sample, of_units)


def _scaled(layer: Layer, scores: Tensor, options: SeqcOptions) -> Scale:
    if not scores.any():
        warnings.warn(
            f"seqc: no unit of layer {layer} overlaps with artifacts; nothing changes there",
            GanfixWarning,
            stacklevel=3,
        )
    return Scale(factors(scores, options))


@dataclass(frozen=True, eq=False)
class ArtifactPass(Shared):
    """Looks at a first pass: which rows to correct, and how to correct each of them."""

    layers: tuple[Layer, ...]
    options: SeqcOptions
    classifier: Classifier
    extractor: Extractor
    by_sample: bool  # the units of each sample are scored against its own mask
    of_units: dict[str, Tensor]  # by layer name: for that, T_u, or else defective scores

    def keep(self, layer: Layer, x: Tensor) -> Tensor:
        """Where the layer's units exceed their thresholds, if that is needed."""
        return exceeding(x, self.of_units[layer.name]) if self.by_sample else x.new_empty(len(x), 0)

    def decide(
        self, images: Tensor, kept: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[Layer, Edit]]:
        """The rows that the classifier calls artifacts, or all of them, as far as units of theirs
        overlap with their masks; and a correction of each."""
        maps = self.extractor.to(images.device).maps(images)
        rows = self.classifier.is_artifact(maps.mean(dim=(2, 3)))
        if self.options.rows == "all":
            rows = torch.ones_like(rows)
        if not rows.any():
            return rows, {}
        cams, side = self.classifier.cam(maps[rows]), images.shape[-1]
        masks = binary_masks(cams, self.options.cam, side)
        shades = masks.float() if self.options.mask == "binary" else upsampled_cams(cams, side)
        changed = torch.zeros(len(cams), dtype=torch.bool)
        edits: dict[Layer, Edit] = {}
        for layer in self.layers:
            scores = self._scores(layer, kept, rows, masks)
            edits[layer] = self._edit(layer, scores, rows, shades)
            changed |= corrected_units(scores, self.options.top).any(dim=1)
        if self.options.local:
            changed &= shades.flatten(1).any(dim=1).cpu()
        return _at(rows, changed, False), edits

    def _scores(
        self, layer: Layer, kept: Mapping[str, Tensor], rows: Tensor, masks: Tensor
    ) -> Tensor:
        """Defective scores [n, C] of some rows."""
        if self.by_sample:
            return unit_overlap(kept[layer.name][rows], masks)
        return self.of_units[layer.name].expand(len(masks), -1)

    def _edit(self, layer: Layer, scores: Tensor, rows: Tensor, shades: Tensor) -> Edit:
        if not self.options.local:
            return Scale(_at(rows, factors(scores, self.options), 1))
        # Area averages keep a mask that is zero all over a pixel exactly zero there.
        mask = interpolate(shades[:, None], size=layer.resolution, mode="area")[:, 0]
        units = corrected_units(scores, self.options.top)
        return Fade(_at(rows, units, False), _at(rows, mask.cpu(), 0))


def _at(rows: Tensor, values: Tensor, others: float) -> Tensor:
    """Values [n, …] of some rows, bool [N], in a tensor of all rows [N, …] on the CPU."""
    full = torch.full((len(rows), *values.shape[1:]), others, dtype=values.dtype)
    full[rows.cpu()] = values
    return full


CORRECTOR = Corrector(
    name="seqc",
    help="sequential correction of the most defective units, layer after layer (CVPR 2021)",
    options=SeqcOptions,
    edits=edits,
    needs=("defective",),
    units=unit_needs,
)
