"""Which generations a probe is fitted on, and the stored profile that keeps it.

Labels of this generator, if there are any; else what the network's own discriminator finds least
real; else the LR count of [C22], which needs neither (Choi, Chang, Choi, IJCAI 2022).
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ganfix_plugin import labels as label_files
from ganfix_plugin.artifacts.discriminator import cannot_judge
from ganfix_plugin.artifacts.probe_fit import Plan, fitted
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import FEWEST
from ganfix_plugin.files import read_array
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, NORMAL, Sample
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import (
    checked,
    ensure,
    on_device,
    partials,
    profile_path,
    update,
)
from ganfix_plugin.profiling.unit_means import Reader, read_batches
from ganfix_plugin.spec import LayerChoice

log = logging.getLogger("ganfix")

SOURCES = ("labels", "discriminator", "lr")  # the first that there is, is taken
DOUBTFUL = 0.75  # an AUC below which little is repaired


@dataclass(frozen=True)
class ProbeChoice:
    """Which probe.

    Attributes:
        source: one of `SOURCES`, or "auto" for the first that there is.
        labels: a label file; None takes the labels that the store has of the generator.
        layers: whose units; "auto" is `Generator.early`. None reads the latent itself.
        direction: a file with a direction in the latent space, instead of fitting one.
    """

    source: str = "auto"
    labels: Path | None = None
    layers: LayerChoice | None = LayerChoice()
    direction: Path | None = None


def ensure_probe(
    generator: Generator,
    choice: ProbeChoice,
    settings: Settings,
    *,
    profile: Path | None = None,
    measure_on: Any = None,
) -> tuple[Reader, Probe, Profile]:
    """The stored probe of a generator, after fitting it if it is not there.

    Args:
        settings: of the stored profile; the probe's population is at most `probe_fit.POPULATION`.
        profile: read this file instead, and fit nothing.
        measure_on: measure a copy of the generator on this device.

    Raises:
        GanfixError: on labels or a source that are not there, or too few labels.
    """
    layers = _layers(generator, choice)
    reader = Reader.of(generator, layers)
    if profile is not None:
        kept = checked(profile, generator)
        of_file = _any(kept, choice, layers)
        (latent,) = seed_batches(generator, [0], 1)
        width = read_batches(generator, reader, [latent]).means.shape[1]
        if width != len(of_file.weight):
            raise GanfixError(
                f"profile {profile}: its probe reads {len(of_file.weight)} numbers, this generator "
                f"has {width}; the file is damaged: leave profile= out"
            )
        return _telling(reader, of_file, kept)
    plan = _planned(generator, choice, layers, settings)
    if plan.source != "lr":
        kept, _ = ensure(generator, settings, ())
        by_default = plan.source == "discriminator" and choice.source == "auto"
        if by_default and not _is_there(kept, plan) and (reason := cannot_judge(generator)):
            log.warning("%s, and does", reason)
            plan = replace(plan, source="lr")
    if plan.source == "lr":
        kept, _ = ensure(generator, settings, generator.auto, measure_on=measure_on)
    if not _is_there(kept, plan):
        measured = on_device(generator, measure_on)
        partial = partials(profile_path(generator, settings))(("probe", plan.request))

        def with_probe(profile: Profile) -> Profile:
            # Another process may have fitted the same one while this one waited.
            if _is_there(profile, plan):
                return profile
            return profile.with_probe(plan.name, fitted(measured, plan, profile, partial))

        kept, _ = update(generator, settings, with_probe)
        partial.remove()
    probe = kept.probe(plan.name)
    assert probe is not None
    log.info("probe: %s", probe.text)
    _warn(generator, plan, probe)
    return _telling(reader, probe, kept)


def _telling(reader: Reader, probe: Probe, profile: Profile) -> tuple[Reader, Probe, Profile]:
    """The reader told how classes are told apart, if the probe needs them."""
    return replace(reader, centres=probe.centres), probe, profile


def at_hand(generator: Generator, settings: Settings) -> bool:
    """Whether a probe is fitted already that knows better than the LR count, or can be at
    the price of a few hundred images, since the store has labels."""
    choice = ProbeChoice()
    plan = _planned(generator, choice, _layers(generator, choice), settings)
    stored, _ = ensure(generator, settings, ())
    return plan.source == "labels" or (plan.source != "lr" and _is_there(stored, plan))


def learned_from(generator: Generator, probe: Probe) -> frozenset[Sample]:
    """The labelled generations in the store, if a probe learned from labels."""
    path = label_files.stored_path(generator.fingerprint)
    if probe.source != "labels" or not path.exists():
        return frozenset()
    return frozenset(item.sample for item in label_files.read(path).items)


def _layers(generator: Generator, choice: ProbeChoice) -> tuple[Layer, ...]:
    if choice.layers is None:
        return ()
    return generator.select(choice.layers) if choice.layers.items else generator.early


def _planned(
    generator: Generator, choice: ProbeChoice, layers: tuple[Layer, ...], settings: Settings
) -> Plan:
    """Find out what there is to fit a probe on."""
    if choice.direction is not None:
        direction = _direction(choice.direction)
        return Plan("direction", layers, settings, None, choice.direction.name, direction)
    if choice.source in ("auto", "labels"):
        path = choice.labels or label_files.stored_path(generator.fingerprint)
        if choice.labels or path.exists():
            labels = label_files.read(path).check(generator.fingerprint)
            counts = [len(labels.samples(kind)) for kind in (ARTIFACT, NORMAL)]
            if min(counts) >= FEWEST:
                return Plan("labels", layers, settings, labels, path.name)
            if choice.labels or choice.source == "labels":
                raise GanfixError(
                    f"labels {path}: found {counts[0]} artifacts and {counts[1]} normals, expected "
                    f"at least {FEWEST} of each; label more"
                )
        elif choice.source == "labels":
            raise GanfixError(
                f"from=labels: no labels of this {generator.name} in the store ({path}); give "
                f"labels=FILE, or make some by: {generator.command('label')}"
            )
    source = choice.source
    if source == "auto":
        source = "discriminator" if generator.discriminator is not None else "lr"
    return Plan(source, layers, settings)


def _is_there(profile: Profile, plan: Plan) -> bool:
    probe = profile.probe(plan.name)
    return probe is not None and probe.request == plan.request


def _any(profile: Profile, choice: ProbeChoice, layers: tuple[Layer, ...]) -> Probe:
    """The preferred one of the probes that a profile holds of some layers."""
    for source in ("direction",) if choice.direction else SOURCES:
        probe = profile.probe(Plan(source, layers, profile.settings).name)
        if probe and (choice.source in ("auto", source) or choice.direction):
            return probe
    held = ", ".join(sorted({key.partition("/")[0] for key in profile.probes})) or "none"
    raise GanfixError(
        f"profile of {profile.generator}: holds no such probe, only {held}; leave profile= out to "
        "have it fitted"
    )


def _direction(path: Path) -> Tensor:
    """A direction [d] out of an array [d] or [1, d], as InterFaceGAN publishes them."""
    direction = read_array(path, "direction").float().flatten()
    if not 0 < float(direction.norm()) < math.inf:
        raise GanfixError(f"direction {path}: expected numbers that are finite and not all zero")
    return direction


def _warn(generator: Generator, plan: Plan, probe: Probe) -> None:
    label = generator.command("label")
    if plan.source == "lr":
        warnings.warn(
            "this probe is fitted on the LR count, which says little of artifacts on some "
            "networks: there are no labels of this one, nor a discriminator that judges it. With "
            "100 to 200 labels over all kinds of content it repairs more; make them by: "
            f"{label}",
            GanfixWarning,
            stacklevel=3,
        )
    elif plan.source == "discriminator":
        log.info(
            "probe: 100 to 200 labels over all kinds of content do better than a discriminator: %s",
            label,
        )
    if probe.auc is not None and probe.auc < DOUBTFUL:
        warnings.warn(
            f"the probe hardly tells artifacts from normal images ({probe.text}); label more, over "
            f"all kinds of content: {label}",
            GanfixWarning,
            stacklevel=3,
        )
