"""The public functions: from a generator and a few words to corrected images.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin import registry
from ganfix_plugin.artifacts.first_use import announce
from ganfix_plugin.artifacts.prepare import Training, prepared
from ganfix_plugin.artifacts.ranking import score_batches
from ganfix_plugin.artifacts.scores import UNRENDERED, Scoring
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.correctors.bind import BoundSpec, parse_specs
from ganfix_plugin.correctors.plan import correction_of
from ganfix_plugin.correctors.seqc import SeqcOptions, unit_needs
from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.find import unwrap
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import BATCH, LatentList, latents_of, like_parameters
from ganfix_plugin.generators.replay import Seen
from ganfix_plugin.hooks.attachment import Attachment, attached, baked
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import Labels
from ganfix_plugin.profiling.profile import GATE_RATE, Profile, Settings
from ganfix_plugin.profiling.store import ensure
from ganfix_plugin.spec import LayerChoice

log = logging.getLogger("ganfix")


def attach(
    G: nn.Module | Generator,
    *specs: str | BoundSpec,
    adapter: str | None = None,
    layers: Sequence[str] | None = None,
    example: Callable[[], Any] | None = None,
    measure_on: torch.device | str | None = None,
) -> Attachment:
    """Correct a generator, inside a ``with`` or for good.

        with ganfix.attach(G, "seqabl:lowest=30%,layers=4x4+8x8,gate=lr:70%"):
            images = G(z, c)

    What a corrector needs to know about the generator is measured first, once, and kept in the
    store. Copies and pickles of a corrected generator are corrected too.

    Args:
        G: a generator in evaluation mode, DataParallel and DistributedDataParallel included; or a
            `Generator`, whose adapter and discriminator are known.
        specs: one or more ``NAME[:key=value,…]``, or bundles of `export`, applied in the order
            given.
        adapter: an adapter's name, taken whatever G looks like.
        layers: module names, taken for its layers whatever the adapter says.
        example: renders a few images as your code does, where G takes more than a latent and a
            class (a camera, a time, noise): what it passes besides the latent is kept for
            measuring, as under ``ganfix run``.
        measure_on: measure a copy of G on this device; by default G itself where it is.

    Raises:
        GanfixError: on a bad spec, an unknown or unsuitable generator; G is then as it was.
    """
    bound = parse_specs(specs)
    if not bound:
        raise GanfixError("attach: expected at least one correction, such as 'seqabl'")
    if isinstance(G, Generator):
        generator = G
    else:
        seen = Seen.of(unwrap(G), example) if example else None
        generator = Generator.of(G, adapter, layers, seen=seen)
    corrections = [correction_of(generator, spec, measure_on) for spec in bound]
    already, before = attached(generator.G), baked(generator.G)
    for correction in corrections:
        if before and correction.layers:
            _beside_baked(generator, correction)
        if correction.text in already:
            raise GanfixError(f"{generator.name} already carries {correction.text}; detach it")
        already += [correction.text] if correction.layers else []
    attachment = Attachment(generator.G, corrections)
    for correction in corrections:
        numbers = ", ".join(str(layer) for layer in correction.layers) or "none"
        log.info("%s on %s, layers %s", correction.text, generator.adapter.name, numbers)
    return attachment


def profile(
    G: nn.Module,
    *,
    layers: str | Sequence[str] = "auto",
    samples: int | None = None,
    seed: int = 0,
    class_index: int | None = None,
    scores: bool = True,
    adapter: str | None = None,
    batch: int | None = None,
    exact: bool = False,
) -> Profile:
    """Measure a generator, or read what the store knows of it already.

    Args:
        G: the generator, in evaluation mode; measured at psi 1 and constant noise.
        layers: ``auto``, ``all``, a choice such as ``0+1+3`` or ``4x4+8x8``, or, for a generator
            that no adapter knows, a list of module names.
        samples: number of latents; by default as many as it takes until two halves of them agree,
            at most 10,000.
        seed: of the latents.
        class_index: measure this class only (conditional generators); by default all of them.
        scores: also measure the LR scores that gates are set by.
        adapter: an adapter's name, where none or several recognise G.
        batch: latents per pass; by default what suits the device.
        exact: measure with the host's own arithmetic on a CPU, too, where convolutions apart from
            styles are several times as fast, and the same but for rounding.

    Returns:
        What is known of the generator, these layers' activation rates included; the store keeps it.

    Raises:
        GanfixError: if no adapter knows G, a layer or class is not there, or the store cannot be
            used.
    """
    generator, chosen = _opened(G, adapter, layers, exact)
    settings = Settings(samples, seed, class_index)
    return ensure(generator, settings, chosen, generator.auto if scores else (), batch)[0]


def detect(
    G: nn.Module | Generator,
    latents: Tensor,
    class_labels: Tensor | None = None,
    *,
    by: str = "lr",
    rate: float = GATE_RATE,
    layers: str | Sequence[str] = "auto",
    samples: int | None = None,
    adapter: str | None = None,
    batch: int = BATCH,
    exact: bool = False,
) -> Tensor:
    """Score latents by how artifact-like their images will be, without rendering them ([C22], 4.1).

    Args:
        G: a generator that an adapter knows, in evaluation mode; or a `Generator`, whose adapter
            and discriminator are known.
        latents: [N, …] in the generator's own shape.
        class_labels: one-hot [N, classes], for conditional generators.
        by: ``lr``, the number of activated low-rate neurons; or ``probe``, what ``steer`` goes by,
            fitted first unless the store has it. As ``ganfix detect --by``.
        rate: of ``lr``: neurons of at most this activation rate are counted.
        layers: whose neurons are counted, or units are read: ``auto``, ``all``, a choice such as
            ``0+1+3`` or ``4x4+8x8``, or, for a generator that no adapter knows, a list of module
            names.
        samples: latents to measure the rates or the probe's population on, unless the store has
            them; as in `profile`.
        adapter: an adapter's name, where none or several recognise G.
        batch: latents per pass.
        exact: as in `profile`, for LR counts.

    Returns:
        float32 [N] on the CPU; higher is more artifact-like.

    Raises:
        GanfixError: if no adapter knows G, a layer is not there, latents or class labels have
            another shape, or there is no such score.
    """
    if by not in UNRENDERED:
        raise GanfixError(f"by={by}: expected one of {', '.join(UNRENDERED)}")
    generator, chosen = _opened(G, adapter, layers, exact)
    auto = layers == "auto" or not isinstance(layers, str)
    choice = LayerChoice(() if auto else tuple(layer.number for layer in chosen))
    shape, classes = generator.latent_shape, generator.classes
    if tuple(latents.shape[1:]) != shape:
        expected = ", ".join(map(str, shape))
        raise GanfixError(f"latents: found {list(latents.shape)}, expected [N, {expected}]")
    if classes and (class_labels is None or class_labels.shape != (len(latents), classes)):
        raise GanfixError(
            f"class_labels: found {'none' if class_labels is None else list(class_labels.shape)}, "
            f"expected one-hot [{len(latents)}, {classes}], since {generator.name} is conditional"
        )
    score = UNRENDERED[by](generator, Scoring(rate, choice, samples))
    return score_batches(
        generator, score, LatentList(latents, class_labels).batches(generator, batch)
    )


def latents(
    G: nn.Module | Generator, seeds: Iterable[int], *, adapter: str | None = None
) -> Tensor:
    """The latents z [N, …] that the hosts' scripts draw for seeds, as a generator takes them.

        images = G(ganfix.latents(G, range(12)))

    Seed 5 is what ``generate.py --seeds=5`` renders. Like the generator's parameters: on its
    device, in half precision if they are.

    Raises:
        GanfixError: if no adapter knows G.
    """
    generator = Generator.of(G, adapter)
    return like_parameters(generator, latents_of(list(seeds), generator.latent_shape), None)[0]


def prepare(
    G: nn.Module | Generator,
    *,
    labels: Labels | None = None,
    real: Path | str | None = None,
    extractor: str | None = None,
    num: int | None = None,
    top: int | None = None,
    layers: str | None = None,
    samples: int | None = None,
    adapter: str | None = None,
    exact: bool = False,
) -> tuple[Profile, Classifier]:
    """Make what ``seqc`` needs beforehand, as `ganfix prepare` does; what is there is used.

    Args:
        labels: by people (`ganfix_plugin.labels.read`); by default those that the store has, or
            else the extremes of ``num`` generations, ``top`` of each kind (1000, 150).
        real: real images, a folder or zip: for the classifier's third class, and for those labels.
        extractor: the name of the feature extractor.
        layers: ``all``, ``auto`` or ``1+2+3``; by default those that ``seqc`` corrects.
        samples: latents to measure on; by default as many as it takes.
        adapter: an adapter's name, where none or several recognise G.
        exact: as in `profile`.

    Returns:
        What was measured, and the classifier, whose ``held_out`` says how well it does.

    Raises:
        GanfixError: as of the options, the extractor first, before anything is measured.
    """
    generator = Generator.of(G, adapter).measured_exactly(exact)
    settings = Settings(samples)
    needs = unit_needs(SeqcOptions(), generator.layers)
    chosen = generator.choose(layers) if layers else needs.layers
    training = Training(labels, Path(real) if real else None, extractor, num, top)
    announce(generator, chosen, settings, needs.scores, None, training)
    return prepared(generator, chosen, settings, scores=needs.scores, training=training)


def list_correctors() -> dict[str, str]:
    """The correctors that are installed, with a line of help each."""
    return {name: correctors.load(name).help for name in registry.names(registry.CORRECTORS)}


def _beside_baked(generator: Generator, correction: Correction) -> None:
    """Say that a generator out of an exported pickle will be corrected twice."""
    what = f"{generator.name} comes out of ganfix export and carries corrections already"
    if not correction.one_pass:
        raise GanfixError(
            f"{what}; {correction.text} decides by an uncorrected first pass and cannot be added: "
            "open the network that was exported"
        )
    warnings.warn(
        f"{what} (ganfix export --check FILE); {correction.text} is added to them",
        GanfixWarning,
        stacklevel=3,
    )


def _opened(
    G: nn.Module | Generator, adapter: str | None, layers: str | Sequence[str], exact: bool
) -> tuple[Generator, tuple[Layer, ...]]:
    """A generator and the layers of it that a text or a list of module names asks for."""
    if isinstance(layers, str):
        generator = Generator.of(G, adapter).measured_exactly(exact)
        return generator, generator.choose(layers)
    generator = Generator.of(G, adapter, layers).measured_exactly(exact)
    return generator, generator.auto
