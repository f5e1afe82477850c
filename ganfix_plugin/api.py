"""The public functions: from a generator and a few words to corrected images."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin import correctors, options, registry
from ganfix_plugin.adapters import Adapter, Layer, find_adapter, select, unwrap
from ganfix_plugin.attachment import Attachment, Correction, Gated, attached, baked
from ganfix_plugin.correctors import Corrector, Subject
from ganfix_plugin.detection.artifact import ArtifactScorer
from ganfix_plugin.detection.classifier import Classifier
from ganfix_plugin.detection.lr import lr_scorer
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.options import LayerChoice, Options, Portion, layer_choice
from ganfix_plugin.passes import random_state_kept
from ganfix_plugin.profiling.fingerprint import fingerprint
from ganfix_plugin.profiling.profile import GATE_RATE, Profile, Settings
from ganfix_plugin.profiling.rates import BATCH, like_parameters, lr_count
from ganfix_plugin.profiling.store import checked, classifier_path, ensure
from ganfix_plugin.spec import CorrectionSpec

log = logging.getLogger("ganfix")
BUNDLE = ".safetensors"


def attach(
    G: nn.Module,
    *specs: str | CorrectionSpec | BoundSpec,
    adapter: str | None = None,
    layers: Sequence[str] | None = None,
    measure_on: torch.device | str | None = None,
) -> Attachment:
    """Correct a generator, inside a ``with`` or for good.

        with ganfix.attach(G, "seqabl:lowest=30%,layers=4x4+8x8,gate=lr:70%"):
            images = G(z, c)

    What a corrector needs to know about the generator is measured first, once, and kept in the
    store. Copies and pickles of a corrected generator are corrected too.

    Args:
        G: a generator in evaluation mode, DataParallel and DistributedDataParallel included.
        specs: one or more ``NAME[:key=value,…]``, or bundles of `export`, applied in the order
            given.
        adapter: an adapter's name, where none or several recognise G.
        layers: module names to work on, for a generator that no adapter knows.
        measure_on: measure a copy of G on this device; by default G itself where it is.

    Raises:
        GanfixError: on a bad spec, an unknown or unsuitable generator; G is then as it was.
    """
    bound = check_specs(specs)
    if not bound:
        raise GanfixError("attach: expected at least one correction, such as 'seqabl'")
    G = _finished(G)
    known = find_adapter(G, adapter, layers)
    corrections = [_correction(G, known, each, measure_on) for each in bound]
    already, before = attached(G), baked(G)
    for correction in corrections:
        if before and correction.layers:
            _beside_baked(G, correction)
        if correction.text in already:
            raise GanfixError(f"{type(G).__name__} already carries {correction.text}; detach it")
        already += [correction.text] if correction.layers else []
    attachment = Attachment(G, corrections)
    for correction in corrections:
        numbers = ", ".join(str(layer) for layer in correction.layers) or "none"
        log.info("%s on %s, layers %s", correction.text, known.name, numbers)
    return attachment


@dataclass(frozen=True)
class BoundSpec:
    """A spec whose corrector exists and whose keys were checked."""

    corrector: Corrector
    options: Options

    def __str__(self) -> str:
        measured = bool(self.corrector.needs or self.options.gate)
        return options.canonical(self.corrector.name, self.options, measured)


def check_spec(spec: str | CorrectionSpec | BoundSpec) -> BoundSpec:
    """Check a ``--correct`` text before anything is loaded.

    Raises:
        GanfixError: on an unknown corrector or key, or a value out of range.
    """
    if isinstance(spec, BoundSpec):
        return spec
    parsed = CorrectionSpec.parse(str(spec))
    try:
        corrector = correctors.load(parsed.name)
    except GanfixError as error:
        raise GanfixError(f"--correct {error}") from None
    return BoundSpec(corrector, options.bind(parsed, corrector.options))


def check_specs(specs: Sequence[str | CorrectionSpec | BoundSpec]) -> list[BoundSpec]:
    """Check several ``--correct``, bundles among them.

    Raises:
        GanfixError: as `check_spec` and `unbundled`.
    """
    return [check_spec(each) for spec in specs for each in unbundled(spec)]


def unbundled(spec: str | CorrectionSpec | BoundSpec) -> list[str | CorrectionSpec | BoundSpec]:
    """The specs in a bundle (`export`), told to read its numbers; any other spec as it is.

    Raises:
        GanfixError: if the file is missing or damaged, or a profile without specs.
    """
    # A name and a colon open a spec, whose last key may be a file: seqabl:profile=X.safetensors.
    if not isinstance(spec, str) or not re.fullmatch(rf"(?![a-z][a-z0-9_-]*:).*{BUNDLE}", spec):
        return [spec]
    bundle = Profile.load(Path(spec))
    if not bundle.correct:
        raise GanfixError(f"--correct {spec}: a profile and no bundle; write NAME:profile={spec}")
    return [f"{each}{',' if ':' in each else ':'}profile={spec}" for each in bundle.correct]


def profile(
    G: nn.Module,
    *,
    layers: str | Sequence[str] = "auto",
    samples: int = 10_000,
    seed: int = 0,
    class_index: int | None = None,
    scores: bool = True,
    adapter: str | None = None,
    batch: int = BATCH,
) -> Profile:
    """Measure a generator, or read what the store knows of it already.

    Args:
        G: the generator, in evaluation mode; measured at psi 1 and constant noise.
        layers: ``auto``, ``all``, a choice such as ``0+1+3``, or a list of module names.
        samples: number of latents.
        seed: of the latents.
        class_index: measure this class only (conditional generators).
        scores: also measure the LR scores that gates are set by.
        batch: latents per pass.

    Raises:
        GanfixError: if no adapter knows G or the store cannot be used.
    """
    G = _finished(G)
    names = None if isinstance(layers, str) else layers
    known = find_adapter(G, adapter, names)
    chosen = every = known.layers(G)
    if isinstance(layers, str) and layers != "all":
        chosen = select(known, every, layer_choice(layers))
    settings = Settings(samples, seed, class_index)
    return ensure(G, known, settings, chosen, known.auto(every) if scores else (), batch)[0]


def detect(
    G: nn.Module,
    latents: Tensor,
    labels: Tensor | None = None,
    *,
    rate: float = GATE_RATE,
    layers: str | Sequence[str] = "auto",
    samples: int = 10_000,
    adapter: str | None = None,
    batch: int = BATCH,
) -> Tensor:
    """Score latents by how artifact-like their images will be, without rendering them ([C22], 4.1).

    Args:
        G: any generator that an adapter knows, in evaluation mode.
        latents: [N, …] in the generator's own shape.
        labels: one-hot [N, classes] for conditional generators.
        rate: neurons of at most this activation rate are counted.
        samples: latents to measure the rates on, unless the store has them.

    Returns:
        float32 [N] on the CPU: the number of activated LR-neurons; higher is more artifact-like.

    Raises:
        GanfixError: if no adapter knows G, or latents or labels have another shape.
    """
    G = _finished(G)
    names = None if isinstance(layers, str) else layers
    known = find_adapter(G, adapter, names)
    choice = layer_choice(layers) if isinstance(layers, str) else LayerChoice()
    chosen = select(known, known.layers(G), choice)
    shape = known.latent_shape(G)
    if tuple(latents.shape[1:]) != shape:
        expected = ", ".join(map(str, shape))
        raise GanfixError(f"latents: found {list(latents.shape)}, expected [N, {expected}]")
    classes = known.num_classes(G)
    if classes and (labels is None or labels.shape != (len(latents), classes)):
        found = "none" if labels is None else list(labels.shape)
        raise GanfixError(
            f"labels: found {found}, expected one-hot [{len(latents)}, {classes}], since "
            f"{type(G).__name__} is conditional"
        )
    measured, _ = ensure(G, known, Settings(samples), chosen)
    low_rate = [(layer, measured.low_rate(layer, rate)) for layer in chosen]
    scores = []
    with random_state_kept(G, seed=0):
        for start in range(0, len(latents), batch):
            some = slice(start, start + batch)
            c = None if labels is None else labels[some]
            z, c = like_parameters(G, latents[some], c)
            score = lr_count(G, low_rate, lambda view: known.synthesize(view, z, c))
            scores.append(score.cpu())
    return torch.cat(scores).float() if scores else torch.zeros(0)


def list_correctors() -> dict[str, str]:
    """The correctors that are installed, with a line of help each."""
    names = registry.names(registry.CORRECTORS)
    return {name: correctors.load(name).help for name in names}


def _beside_baked(G: nn.Module, correction: Correction) -> None:
    """Say that a generator out of an exported pickle will be corrected twice."""
    what = f"{type(G).__name__} comes out of ganfix export and carries corrections already"
    if not isinstance(correction.edits, Mapping):
        raise GanfixError(
            f"{what}; {correction.text} decides by an uncorrected first pass and cannot be added: "
            "open the network that was exported"
        )
    warnings.warn(
        f"{what} (ganfix export --check FILE); {correction.text} is added to them",
        GanfixWarning,
        stacklevel=3,
    )


def _correction(G: nn.Module, adapter: Adapter, spec: BoundSpec, measure_on: Any) -> Correction:
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


def _finished(G: nn.Module) -> nn.Module:
    """The generator itself, which must be in evaluation mode: training would change it."""
    G = unwrap(G)
    if G.training:
        raise GanfixError(
            f"{type(G).__name__} is in training mode; ganfix works on finished generators: "
            "call G.eval() first"
        )
    return G
