"""A corrected generator for places without ganfix, or without the measurements.

A network pickle of NVIDIA's carries the code of its classes. So it can carry the corrections too:
the hooks that `attach` places are made persistent by the host's own `torch_utils.persistence`, with
a `Baked` for their correction, and the usual dict is pickled. Everywhere else a bundle has to do:
the profile's numbers and the specs in one file, for ``--correct FILE`` on another machine.
"""

from __future__ import annotations

import json
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganfix_plugin._version import __version__
from ganfix_plugin.api import attach
from ganfix_plugin.correctors.bind import BUNDLE, BoundSpec, parse_specs
from ganfix_plugin.correctors.gates import LRScorer, ProbeScorer
from ganfix_plugin.correctors.plan import layers_read, measured_for
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import from_json, parsed, ready, written
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks import standalone
from ganfix_plugin.hooks.attachment import attached, baked, placed
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.profiling.profile import Profile, Settings

_MARK = '{"ganfix-export-1": '


@dataclass(frozen=True)
class About:
    """What was baked into a network pickle.

    Attributes:
        specs: every correction with all its options, in order.
        layers: the numbers of the layers that each of them edits; -1 is the generator's input.
        generator: the fingerprint of the uncorrected generator, which its profile has too.
        version: the ganfix that wrote it.
    """

    specs: Sequence[str]
    layers: Sequence[Sequence[int]]
    generator: str
    version: str = __version__

    def __str__(self) -> str:
        return f"{_MARK}{json.dumps(asdict(self))}}}"

    @classmethod
    def parse(cls, text: str) -> About:
        return from_json(cls, parsed(text)["ganfix-export-1"])


def export(
    generator: nn.Module | dict[str, Any],
    *specs: str | BoundSpec,
    out: Path | str,
    adapter: str | None = None,
    measure_on: Any = None,
) -> Path:
    """Write a corrected network that needs no ganfix, or a bundle of specs and profile.

        networks = legacy.load_network_pkl(file)  # in a checkout of stylegan2-ada-pytorch
        ganfix.export(networks, "seqabl:gate=lr:70%", out="corrected.pkl")
        ganfix.export(G, "seqabl:gate=lr:70%", out="bundle.safetensors")  # any other generator

    Args:
        generator: everything in a network pickle, as the host's ``legacy.load_network_pkl`` returns
            it, of which "G_ema" is corrected; for a bundle also a generator.
        specs: one or more ``NAME[:key=value,…]``, applied in the order given.
        out: the file; a bundle if it ends in ``.safetensors``.
        adapter: an adapter's name, where none or several recognise the generator.
        measure_on: measure a copy of the generator on this device; by default itself where it is.

    Raises:
        GanfixError: on a bad spec, a correction that needs a classifier, a generator that carries
            corrections already or whose class no pickle can carry, or a file that cannot be
            written; ``generator`` is then as it was.
    """
    bound = parse_specs(specs)
    for spec in bound:
        if spec.options.gate and spec.options.gate.score == "artifact":
            raise _needs_classifier(str(spec), "gate=artifact asks it about every image")
    networks = generator if isinstance(generator, dict) else {"G_ema": generator}
    if "G_ema" not in networks:
        raise GanfixError(f"export: found {', '.join(networks)}, expected a dict with G_ema")
    G: nn.Module = networks["G_ema"]
    before = [spec for text in baked(G) for spec in About.parse(text).specs] or attached(G)
    if before:
        raise GanfixError(
            f"{type(G).__name__} carries corrections already ({' '.join(before)}); export the "
            "uncorrected network with all the corrections you want"
        )
    path = Path(out)
    make = None if path.suffix == BUNDLE else _maker(G, path)
    source = Generator.of(G, adapter, discriminator=networks.get("D"))
    with (
        written(ready(path)) as temporary,
        attach(source, *bound, measure_on=measure_on) as attachment,
    ):
        for correction in attachment.corrections:
            if not correction.one_pass:
                raise _needs_classifier(
                    correction.text, "it decides about each image by looking at it"
                )
        if make is None:
            bundle = _bundle(source, bound, attachment.corrections, measure_on)
            bundle.save(temporary)
            return path
        _bake(source, attachment.corrections, make)
        with _not_rebuilt(G), temporary.open("wb") as file:
            pickle.dump(networks, file)
    return path


_REBUILT = "a_network_corrected_by_ganfix_cannot_be_rebuilt"


@contextmanager
def _not_rebuilt(G: nn.Module) -> Iterator[None]:
    """In here, a generator remembers to have been built with an argument that its class has not.

    Hosts that build it anew from its arguments and copy the weights (``force_fp16``, other sizes)
    would lose the corrections without a word; so they fail, and the error says this name.
    """
    before = getattr(G, "_init_kwargs", None)
    if before is None:
        yield
        return
    # Not by setattr, which some classes watch.
    vars(G)["_init_kwargs"] = {**before, _REBUILT: True}
    try:
        yield
    finally:
        vars(G)["_init_kwargs"] = before


def contents(path: Path) -> list[About]:
    """What is baked into a network pickle; nothing in it is executed, or even loaded.

    Raises:
        GanfixError: if the file cannot be read, or is no pickle.
    """
    try:
        with path.open("rb") as file:
            values = (value for _, value, _ in pickletools.genops(file))
            strings = (value for value in values if isinstance(value, str))
            texts = dict.fromkeys(text for text in strings if text.startswith(_MARK))
        return [About.parse(text) for text in texts]
    except OSError as error:
        raise GanfixError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError) as error:
        raise GanfixError(f"{path}: no network pickle, or a part of one ({error})") from None


# --- the pickle


Make = Callable[..., Any]


def _maker(G: nn.Module, path: Path) -> Make:
    """Makes an object of a class with some attributes, which pickles together with its source."""
    module = sys.modules.get("torch_utils.persistence")
    if module is None or not module.is_persistent(G):
        raise GanfixError(
            f"{path}: {type(G).__name__} does not come out of a network pickle of NVIDIA's and "
            f"carries no code; write a bundle of spec and profile instead: out=NAME{BUNDLE}"
        )

    def make(kind: type, **attributes: Any) -> Any:
        # Without a call: a constructor's arguments would be kept beside the attributes.
        made = object.__new__(module.persistent_class(kind))
        vars(made).update(attributes)
        return made

    return make


def _bake(generator: Generator, corrections: Sequence[Correction], make: Make) -> None:
    """Replace the hooks of `attach` by such as a pickle can carry."""
    layers = [[layer.index for layer in correction.layers] for correction in corrections]
    about = About([c.text for c in corrections], layers, generator.fingerprint)
    if not any(layers):
        raise GanfixError(f"export: {' '.join(about.specs)} edits nothing; there is no need")
    for correction in corrections:
        _refuse_uncarried(correction)
    text = str(about)  # one object, which the pickle holds once
    gates = {correction: _gate(correction, make) for correction in corrections}
    for hooks, key, hook in placed(generator.G):
        if isinstance(hook, standalone.Hook):
            attributes, edit, correction = dict(vars(hook)), None, hook.correction
            if isinstance(hook, standalone.LayerHook):
                attributes["layer"] = make(Layer, **vars(hook.layer))
                edit = _copied(correction.edits[hook.layer], make)
            elif isinstance(hook, standalone.BeforeHook) and correction.moves:
                edit = _copied(correction.edits.cross, make)
            attributes["correction"] = make(
                standalone.Baked,
                ganfix=text,
                edit=edit,
                gate=gates[correction],
                strength=correction.strength,
            )
            hooks[key] = make(type(hook), **attributes)


def _copied(edit: Any, make: Make) -> Any:
    """An edit as a pickle carries it."""
    # Copies, since a pickle holds the whole memory that a tensor is a part of.
    numbers = vars(edit).items()
    return make(
        type(edit), **{k: n.cpu().clone() if isinstance(n, Tensor) else n for k, n in numbers}
    )


def _gate(correction: Correction, make: Make) -> Any:
    if correction.gate is None:
        return None
    scorer = correction.gate.scorer
    if isinstance(scorer, ProbeScorer):
        reader, probe = scorer.reader, scorer.probe
        if probe.centres is not None:
            raise GanfixError(
                f"export: {correction.text} has thresholds by class, which an export cannot carry; "
                "measure the one class that is wanted: class=N"
            )
        weight = probe.weight / probe.deviation
        bias = -float(weight.double() @ probe.mean.double())
        if not reader.layers:
            styled = probe.scale > 0
            scoring = make(standalone.InputScore, weight=weight, bias=bias, styled=styled)
        else:
            names, adapter = tuple(layer.name for layer in reader.layers), reader.adapter
            quiet = {**adapter.quiet, **(adapter.unfused if adapter.quick else {})}
            kinds = _kinds(probe)
            scoring = make(
                standalone.UnitScore,
                names=names,
                weight=weight,
                bias=bias,
                quiet=quiet,
                kinds=kinds,
            )
    else:
        assert isinstance(scorer, LRScorer)
        caps = {layer.name: make(standalone.Cap, neurons=x) for layer, x in scorer.low_rate}
        scoring = make(standalone.LowRateCount, caps=caps)
    gate = correction.gate
    return make(standalone.Gated, scorer=scoring, threshold=gate.threshold, full=gate.full)


def _kinds(probe: Probe) -> tuple[Tensor, ...]:
    """As `standalone.UnitScore` takes them: the nearest centre is the largest of linear scores."""
    if probe.kinds is None or probe.offsets is None or probe.spreads is None:
        return ()
    ways = 2 * probe.kinds / probe.deviation
    biases = -ways @ probe.mean - probe.kinds.square().sum(dim=1)
    return ways, biases, probe.offsets, probe.spreads


_EDITS = (standalone.Cap, standalone.Scale, standalone.Truncate)


def _refuse_uncarried(correction: Correction) -> None:
    if correction.moves:
        if not hasattr(correction.edits, "cross"):
            raise GanfixError(
                f"export: {correction.text} moves latents by gradients, which a network pickle "
                "cannot carry; write the corrected latents by ganfix latents, or a bundle of spec "
                f"and profile: out=NAME{BUNDLE}"
            )
        return
    for layer, edit in correction.edits.items():
        if type(edit) not in _EDITS:
            names = ", ".join(kind.__name__ for kind in _EDITS)
            raise GanfixError(
                f"export: {correction.text} edits layer {layer.index} by {type(edit).__name__}; a "
                f"network pickle can carry the edits of ganfix_plugin.hooks.standalone: {names}"
            )
        if layer.item is not None:
            raise GanfixError(
                f"export: {layer.name} returns its feature map in a tuple or dict; a network "
                "pickle can carry corrections of layers that return it by itself"
            )


def _needs_classifier(spec: str, why: str) -> GanfixError:
    return GanfixError(
        f"export: {spec} needs the artifact classifier ({why}), which an export cannot carry with "
        "its feature extractor; use seqabl, ds, fid-units or units, and gate=lr"
    )


# --- the bundle


def _bundle(
    generator: Generator,
    specs: Sequence[BoundSpec],
    corrections: Sequence[Correction],
    measure_on: Any,
) -> Profile:
    """The numbers that some specs read, and the specs, as a profile file."""
    measured = [measured_for(generator, spec, measure_on)[0] for spec in specs]
    profiles = {profile.settings: profile for profile in measured if profile}
    if len(profiles) > 1:
        raise GanfixError(
            "export: the corrections read different profiles; give all of them the same samples, "
            "class and profile"
        )
    profile = next(iter(profiles.values()), None) or Profile.of(generator, Settings(0))
    chosen = (layers for spec in specs for layers in layers_read(generator, spec))
    read = {layer.name for layers in chosen for layer in layers}
    counts = {name: count for name, count in profile.counts.items() if name in read}
    scorers: list[Any] = [c.gate.scorer for c in corrections if c.gate]
    scorers += [getattr(c.edits, "scorer", None) for c in corrections]
    requests = {scorer.probe.request for scorer in scorers if isinstance(scorer, ProbeScorer)}
    profile = profile.with_only_probes(requests)
    return replace(profile, counts=counts, correct=tuple(map(str, specs)))
