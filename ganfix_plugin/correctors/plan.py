"""From a bound spec to its correction of one generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ganfix_plugin.artifacts.probes import ProbeChoice, ensure_probe
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.corrector import CorrectorContext
from ganfix_plugin.correctors.gates import ArtifactScorer, LRScorer, ProbeScorer
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.correction import Correction, kind_of
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Gated
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import checked, classifier_path, ensure
from ganfix_plugin.spec import Options, Portion


def correction_of(generator: Generator, spec: BoundSpec, measure_on: Any = None) -> Correction:
    """A spec's correction of a generator; what it reads is measured first, unless it is known."""
    options, entry = spec.options, generator.entry
    if options.extractor:
        load_extractor(options.extractor, generator.discriminator)
    layers = _chosen(generator, options)
    profile = measured_for(generator, spec, measure_on)
    probe = None
    if reads_probe(spec):
        choice, file = getattr(options, "probe", ProbeChoice()), options.profile
        reader, fitted, _ = ensure_probe(
            generator, choice, _settings(options), profile=file, measure_on=measure_on
        )
        probe = ProbeScorer(reader, fitted)
    mean_latent, discriminator = generator.adapter.mean_latent(generator.G), generator.discriminator
    context = CorrectorContext(layers, profile, entry, mean_latent, discriminator, probe)
    spec = replace(spec, options=spec.corrector.settle(options, context))
    edits = spec.corrector.edits(spec.options, context)
    gate = _gate(generator, options, context) if options.gate else None
    numbers = profile.text if profile else ""
    numbers += f",probe={probe.probe.request}" if probe else ""
    prefix = f"{entry.name}." if entry.name else ""
    inside = tuple(layer.name for layer in generator.layers if layer.name.startswith(prefix))
    return kind_of(edits)(str(spec), entry, edits, gate, numbers, inside)


def measured_for(generator: Generator, spec: BoundSpec, measure_on: Any = None) -> Profile | None:
    """The profile that a spec's corrector and gate read, measured as far as they need; or None."""
    options, (edited, counted) = spec.options, layers_read(generator, spec)
    if not spec.corrector.needs and _score(options) not in ("lr", "probe"):
        return None
    if options.profile is not None:
        return checked(options.profile, generator.fingerprint)
    by_quantile = options.gate and isinstance(options.gate.threshold, Portion)
    scored, needed = counted if by_quantile else (), (*edited, *counted)
    return ensure(generator, _settings(options), needed, scored, measure_on=measure_on)[0]


def layers_read(
    generator: Generator, spec: BoundSpec
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers whose activation rates a corrector needs, and those its gate counts over."""
    edited = _chosen(generator, spec.options) if "rates" in spec.corrector.needs else ()
    return edited, generator.choose("auto") if _score(spec.options) == "lr" else ()


def reads_probe(spec: BoundSpec) -> bool:
    """Whether a corrector or its gate goes by a probe."""
    return "probe" in spec.corrector.needs or _score(spec.options) == "probe"


def _settings(options: Options) -> Settings:
    return Settings(options.samples, class_index=options.class_index)


def _score(options: Options) -> str:
    """What the gate scores by; empty without a gate."""
    return options.gate.score if options.gate else ""


def _chosen(generator: Generator, options: Options) -> tuple[Layer, ...]:
    choice = getattr(options, "layers", None)
    return generator.layers if choice is None else generator.select(choice)


def _gate(generator: Generator, options: Any, context: CorrectorContext) -> Gated:
    threshold, profile, probe = options.gate.threshold, context.profile, context.probe
    if probe and options.gate.score == "probe":
        return Gated(probe, float(probe.probe.threshold(torch.tensor([threshold]))))
    if profile and options.gate.score == "lr":
        layers = generator.choose("auto")
        if isinstance(threshold, Portion):
            threshold = profile.score_at(threshold, layers)
        low_rate = profile.low_rates(layers)
        entry = context.entry.name
        return Gated(LRScorer(tuple((layer.within(entry), x) for layer, x in low_rate)), threshold)
    path = getattr(options, "classifier", None) or classifier_path(generator.fingerprint)
    head = Classifier.load(path)
    extractor = head.load_extractor(generator.discriminator)
    return Gated(ArtifactScorer(head, extractor, context.entry), threshold)
