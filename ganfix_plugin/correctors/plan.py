"""What a bound spec comes to on one generator, measured as far as it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.corrector import Subject
from ganfix_plugin.correctors.gates import ArtifactScorer, lr_scorer
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.fingerprint import fingerprint
from ganfix_plugin.generators.layers import Adapter, select
from ganfix_plugin.hooks.attachment import Correction, Gated
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import checked, classifier_path, ensure
from ganfix_plugin.spec import LayerChoice, Portion


def correction_of(G: nn.Module, adapter: Adapter, spec: BoundSpec, measure_on: Any) -> Correction:
    """What a spec comes to on G, measured as far as it needs."""
    all_layers = adapter.layers(G)
    given = spec.options
    choice = getattr(given, "layers", None)
    chosen = all_layers if choice is None else select(adapter, all_layers, choice)
    measured = measured_for(G, adapter, spec, measure_on)
    entry = Layer(-1, adapter.entry(G), (0, 0), 0, item=adapter.image_item(G))
    subject = Subject(tuple(chosen), measured, entry, adapter.mean_latent(G))
    edits = spec.corrector.edits(given, subject)
    gate = None
    if given.gate and measured and given.gate.score == "lr":
        gate_layers = select(adapter, all_layers, LayerChoice())
        threshold = given.gate.threshold
        if isinstance(threshold, Portion):
            threshold = measured.score_at(threshold, gate_layers)
        gate = Gated(lr_scorer(measured, gate_layers, entry.name), threshold)
    elif given.gate:
        path = getattr(given, "classifier", None) or classifier_path(fingerprint(G))
        head = Classifier.load(path)
        scorer = ArtifactScorer(head, head.load_extractor(), entry)
        gate = Gated(scorer, given.gate.threshold)
    return Correction(str(spec), entry, edits, gate, measured.text if measured else "")


def measured_for(
    G: nn.Module, adapter: Adapter, spec: BoundSpec, measure_on: Any = None
) -> Profile | None:
    """The profile that a spec's corrector and gate read, measured as far as they need.

    None where they need nothing.
    """
    given, all_layers = spec.options, adapter.layers(G)
    needed, gate_layers = layers_read(adapter, spec, all_layers)
    if not spec.corrector.needs and not gate_layers:
        return None
    if given.profile is not None:
        return checked(Path(given.profile), fingerprint(G))
    settings = Settings(given.samples, class_index=given.class_index)
    by_quantile = given.gate and isinstance(given.gate.threshold, Portion)
    layers, scored = (*needed, *gate_layers), gate_layers if by_quantile else ()
    return ensure(G, adapter, settings, layers, scored, measure_on=measure_on)[0]


def layers_read(
    adapter: Adapter, spec: BoundSpec, layers: Sequence[Layer]
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers whose activation rates a corrector needs, and those its gate counts over."""
    given = spec.options
    needed: tuple[Layer, ...] = ()
    if "rates" in spec.corrector.needs:
        choice = getattr(given, "layers", None)
        needed = tuple(layers) if choice is None else select(adapter, layers, choice)
    by_count = given.gate is not None and given.gate.score == "lr"
    return needed, select(adapter, layers, LayerChoice()) if by_count else ()
