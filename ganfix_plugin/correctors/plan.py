"""From a bound spec to a `Correction` of one generator, measured as far as it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ganfix_plugin.artifacts.probes import ProbeChoice, ensure_probe
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.corrector import CorrectorContext
from ganfix_plugin.correctors.gates import ArtifactScorer, ProbeScorer, lr_scorer
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.correction import Correction, Gated, kind_of
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import checked, classifier_path, ensure
from ganfix_plugin.spec import LayerChoice, Portion


def correction_of(generator: Generator, spec: BoundSpec, measure_on: Any) -> Correction:
    """The correction that a spec asks for, measured as far as it needs."""
    options = spec.options
    choice = getattr(options, "layers", None)
    chosen = generator.layers if choice is None else generator.select(choice)
    measured = measured_for(generator, spec, measure_on)
    G, adapter = generator.G, generator.adapter
    entry = Layer(-1, adapter.entry(G), (0, 0), 0, item=adapter.image_item(G))
    mean_latent, discriminator = adapter.mean_latent(G), generator.discriminator
    probe = probe_for(generator, spec, measure_on)
    context = CorrectorContext(chosen, measured, entry, mean_latent, discriminator, probe)
    edits = spec.corrector.edits(options, context)
    gate = None
    if options.gate and probe and options.gate.score == "probe":
        gate = Gated(probe, float(probe.probe.threshold(torch.tensor([options.gate.threshold]))))
    elif options.gate and measured and options.gate.score == "lr":
        gate_layers = generator.select(LayerChoice())
        threshold = options.gate.threshold
        if isinstance(threshold, Portion):
            threshold = measured.score_at(threshold, gate_layers)
        gate = Gated(lr_scorer(measured, gate_layers, entry.name), threshold)
    elif options.gate:
        path = getattr(options, "classifier", None) or classifier_path(generator.fingerprint)
        head = Classifier.load(path)
        scorer = ArtifactScorer(head, head.load_extractor(discriminator), entry)
        gate = Gated(scorer, options.gate.threshold)
    numbers = measured.text if measured else ""
    if probe:
        numbers += f",probe={probe.probe.request}"
    return kind_of(edits)(str(spec), entry, edits, gate, numbers)


def probe_for(generator: Generator, spec: BoundSpec, measure_on: Any = None) -> ProbeScorer | None:
    """The probe that a spec's corrector or gate reads, fitted if it is not there; None where they
    read none."""
    options = spec.options
    if "probe" not in spec.corrector.needs and not (options.gate and options.gate.score == "probe"):
        return None
    choice = getattr(options, "probe", ProbeChoice())
    settings = Settings(options.samples, class_index=options.class_index)
    reader, probe, _ = ensure_probe(
        generator, choice, settings, profile=options.profile, measure_on=measure_on
    )
    return ProbeScorer(reader, probe)


def measured_for(generator: Generator, spec: BoundSpec, measure_on: Any = None) -> Profile | None:
    """The profile that a spec's corrector and gate read, measured as far as they need.

    None where they need nothing.
    """
    options = spec.options
    needed, gate_layers = layers_read(generator, spec)
    by_probe = options.gate is not None and options.gate.score == "probe"
    if not spec.corrector.needs and not gate_layers and not by_probe:
        return None
    if options.profile is not None:
        return checked(Path(options.profile), generator.fingerprint)
    settings = Settings(options.samples, class_index=options.class_index)
    by_quantile = options.gate and isinstance(options.gate.threshold, Portion)
    layers, scored = (*needed, *gate_layers), gate_layers if by_quantile else ()
    return ensure(generator, settings, layers, scored, measure_on=measure_on)[0]


def layers_read(
    generator: Generator, spec: BoundSpec
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers whose activation rates a corrector needs, and those its gate counts over."""
    options = spec.options
    needed: tuple[Layer, ...] = ()
    if "rates" in spec.corrector.needs:
        choice = getattr(options, "layers", None)
        needed = generator.layers if choice is None else generator.select(choice)
    by_count = options.gate is not None and options.gate.score == "lr"
    return needed, generator.select(LayerChoice()) if by_count else ()
