"""From a bound spec to its correction of one generator."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganfix_plugin.artifacts.first_use import announce
from ganfix_plugin.artifacts.prepare import Training, prepared
from ganfix_plugin.artifacts.probes import ProbeChoice, ensure_probe
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.correctors.corrector import CorrectorContext, UnitNeeds
from ganfix_plugin.correctors.gates import ArtifactScorer, LRScorer, ProbeScorer
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.correction import Correction, kind_of
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Gated
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import checked, classifier_path, ensure, on_device
from ganfix_plugin.spec import Options, Portion

log = logging.getLogger("ganfix")


def correction_of(generator: Generator, spec: BoundSpec, measure_on: Any = None) -> Correction:
    """A spec's correction of a generator; what it reads is measured first, unless it is known."""
    generator = generator.measured_exactly(bool(spec.options.exact))
    options, entry = spec.options, generator.entry
    layers = _chosen(generator, options)
    profile, classifier = measured_for(generator, spec, measure_on)
    probe = None
    if reads_probe(spec):
        choice, file = getattr(options, "probe", ProbeChoice()), options.profile
        reader, fitted, _ = ensure_probe(
            generator, choice, _settings(options), profile=file, measure_on=measure_on
        )
        probe = ProbeScorer(reader, fitted)
    mean_latent, discriminator = generator.adapter.mean_latent(generator.G), generator.discriminator
    context = CorrectorContext(
        layers, profile, entry, mean_latent, discriminator, probe, classifier
    )
    spec = replace(spec, options=spec.corrector.settle(options, context))
    edits = spec.corrector.edits(spec.options, context)
    gate = _gate(generator, options, context) if options.gate else None
    numbers = profile.text if profile else ""
    numbers += f",probe={probe.probe.request}" if probe else ""
    numbers += f",classifier={classifier.digest()}" if classifier else ""
    prefix = f"{entry.name}." if entry.name else ""
    inside = tuple(layer.name for layer in generator.layers if layer.name.startswith(prefix))
    strength = float(spec.options.strength)
    return kind_of(edits)(str(spec), entry, edits, gate, strength, numbers, inside)


def measured_for(
    generator: Generator, spec: BoundSpec, measure_on: Any = None
) -> tuple[Profile | None, Classifier | None]:
    """The profile and the classifier that a spec's corrector and gate read, or None of what they do
    not; what the store lacks of them is measured, unless a profile is named."""
    generator = generator.measured_exactly(bool(spec.options.exact))
    options, needs, score = spec.options, spec.corrector.needs, _score(spec.options)
    units, reads_profile = _unit_needs(generator, spec), needs or score in ("lr", "probe")
    if options.extractor:
        load_extractor(options.extractor, generator.discriminator)
    if options.profile is not None:
        profile = checked(options.profile, generator) if reads_profile else None
        file = _file(generator, spec)
        loaded = Classifier.load(file, generator.fingerprint) if units.classifier else None
        return profile, loaded
    classifier = _prepared(generator, spec, units, measure_on)
    if not reads_profile:
        return None, classifier
    edited, counted = layers_read(generator, spec)
    by_quantile = options.gate and isinstance(options.gate.threshold, Portion)
    scored, needed = counted if by_quantile else (), (*edited, *counted)
    profile, _ = ensure(generator, _settings(options), needed, scored, measure_on=measure_on)
    if "unit_fid" in needs:
        _check_fids(generator, spec, profile)
    return profile, classifier


def _unit_needs(generator: Generator, spec: BoundSpec) -> UnitNeeds:
    """What a spec's corrector and gate must know of units and of artifacts."""
    units = UnitNeeds((), scores=False)
    if "defective" in spec.corrector.needs:
        units = spec.corrector.units(spec.options, generator.layers)
    return replace(units, classifier=units.classifier or _score(spec.options) == "artifact")


def _prepared(
    generator: Generator, spec: BoundSpec, units: UnitNeeds, measure_on: Any
) -> Classifier | None:
    """The classifier, after making it, thresholds and scores as far as the store lacks them."""
    options, settings = spec.options, _settings(spec.options)
    training = Training(real=options.real, extractor=options.extractor)
    file: Path | None = getattr(options, "classifier", None)
    if not (units.layers or units.classifier):
        return None
    if not (units.classifier or file or _file(generator, spec).exists()) and training == Training():
        # Scores may be there of a classifier that is kept elsewhere.
        profile, _ = ensure(generator, settings, ())
        if all(layer.name in profile.defective for layer in units.layers):
            return None
    measured = on_device(generator, measure_on)
    announce(measured, units.layers, settings, units.scores, file, training)
    _, classifier = prepared(
        measured, units.layers, settings, scores=units.scores, classifier=file, training=training
    )
    log.info("classifier on %s: %s", classifier.extractor, classifier.held_out.text)
    classifier.warn(generator.command("label"))
    return classifier


def _file(generator: Generator, spec: BoundSpec) -> Path:
    """Where a spec's classifier is."""
    return getattr(spec.options, "classifier", None) or classifier_path(generator.fingerprint)


def _check_fids(generator: Generator, spec: BoundSpec, profile: Profile) -> None:
    missing = [
        str(layer.index)
        for layer in spec.corrector.units(spec.options, generator.layers).layers
        if layer.name not in profile.unit_fid
    ]
    if missing:
        words = f"units --layers {'+'.join(missing)} --real IMAGES"
        words += "" if spec.options.samples is None else f" --samples {spec.options.samples}"
        raise GanfixError(
            f"{spec.corrector.name}: the FIDs of the units of layer {'+'.join(missing)} were not "
            f"measured; run {generator.command(words)}"
        )


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
    gate, profile, probe = options.gate, context.profile, context.probe
    ends = [gate.threshold, gate.threshold if gate.full is None else gate.full]
    if probe and gate.score == "probe":
        return Gated(probe, *probe.probe.threshold(torch.tensor(ends)).tolist())
    if profile and gate.score == "lr":
        layers, entry = generator.choose("auto"), context.entry.name
        if isinstance(gate.threshold, Portion):
            ends = [profile.score_at(share, layers) for share in ends]
        counted = tuple((layer.within(entry), x) for layer, x in profile.low_rates(layers))
        adapter = None if generator.exact else generator.adapter
        return Gated(LRScorer(counted, adapter), *ends)
    assert context.classifier is not None
    extractor = context.classifier.load_extractor(generator.discriminator)
    return Gated(ArtifactScorer(context.classifier, extractor, context.entry), *ends)
