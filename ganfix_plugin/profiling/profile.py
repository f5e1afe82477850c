"""`Profile`: everything measured about one generator, and its file.

[B19]: Bau et al., ICLR 2019. [C22]: Choi, Chang, Choi, IJCAI 2022. [T21]: Tousi et al., CVPR 2021.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfix_plugin._version import __version__
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import cache_folder, from_json, reading, save_tensors
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.profiling.probe import Probe

FORMAT = "ganfix-profile-1"
# Tensors by name: those of layers, and of what type.
_OF_LAYERS = {
    "counts": torch.int32,
    "thresholds": torch.float64,
    "defective": torch.float64,
    "unit_fid": torch.float64,
}
_GROUPS = (*_OF_LAYERS, "probes")
_OF_UNITS = {
    "thresholds": "unit thresholds",
    "defective": "defective scores",
    "unit_fid": "unit FIDs",
}
_PROBE = "probe "  # how the keys of probes begin in `Profile.made`
GATE_RATE = 0.1  # The rate of the LR score; it separated hand labels best.


@dataclass(frozen=True)
class Extent:
    """On how many latents something was measured.

    Attributes:
        agreement: how far two halves of them agreed at the end: the Jaccard index of the low-rate
            neurons, or the mean distance of a unit's thresholds in parts of its range. None where
            the number was given.
    """

    latents: int
    agreement: float | None = None

    def __str__(self) -> str:
        if self.agreement is None:
            return f"{self.latents} latents, as asked for"
        return f"{self.latents} latents, whose halves agree to {self.agreement:.3f}"


@dataclass(frozen=True)
class Settings:
    """How a profile was measured. Truncation psi is 1 and noise constant, always.

    Attributes:
        samples: the number of latents; None takes as many as it needs, see `sweep`.
        seed: of the latents.
        class_index: the one class measured; None draws classes evenly (or there are none).
        source: "measured", or where the rates were imported from.
        exact: by the host's own arithmetic, see `Generator.unfuse`; else None.
    """

    samples: int | None = None
    seed: int = 0
    class_index: int | None = None
    source: str = "measured"
    exact: bool | None = None


@dataclass(frozen=True)
class Profile:
    """Measurements of one generator.

    Attributes:
        fingerprint: which generator (`generators.generator.fingerprint`).
        generator: its class name, for people.
        adapter: the adapter whose layers were measured.
        settings: how.
        version: the ganfix that measured.
        counts: by layer name, int32 [C, H, W]: in how many samples each neuron was activated.
        lr_scores: int32 [samples], sorted: LR counts of other latents than the counted ones, at
            rate ≤ `GATE_RATE` over the layers ``scored``. None until a gate needs them.
        scored: the names of those layers, the adapter's default ones.
        thresholds: by layer name, float64 [C]: each unit's T_u ([T21], 3.2).
        defective: by layer name, float64 [C]: each unit's defective score, not normalised.
        unit_fid: by layer name, float64 [C]: FID of each unit's top-activating images ([B19]).
        probes: the tensors of each probe, by ``NAME/tensor``; see `probe`.
        extents: on how many latents rates and thresholds were measured, by ``rates/LAYER`` and
            ``thresholds/LAYER``; where there is none, on ``settings.samples``.
        made: how thresholds, defective, unit_fid and each of the probes were made.
        correct: the specs that the file was exported with; a bundle has some, the store's has none.
    """

    fingerprint: str
    generator: str
    adapter: str
    settings: Settings
    version: str
    counts: dict[str, Tensor] = field(default_factory=dict)
    lr_scores: Tensor | None = None
    scored: tuple[str, ...] = ()
    thresholds: dict[str, Tensor] = field(default_factory=dict)
    defective: dict[str, Tensor] = field(default_factory=dict)
    unit_fid: dict[str, Tensor] = field(default_factory=dict)
    probes: dict[str, Tensor] = field(default_factory=dict)
    extents: dict[str, Extent] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    correct: tuple[str, ...] = ()

    @classmethod
    def of(cls, generator: Generator, settings: Settings) -> Profile:
        """A profile of a generator that holds nothing yet."""
        names = (generator.fingerprint, generator.name, generator.adapter.name)
        return cls(*names, replace(settings, exact=generator.exact or None), __version__)

    @property
    def text(self) -> str:
        """Which measurements these are, in one line: for the records of what they were used for."""
        how = {**asdict(self.settings), "version": self.version}
        pairs = ",".join(f"{key}={value}" for key, value in how.items() if value is not None)
        return f"{self.fingerprint}:{pairs}"

    def rates(self, layer: Layer) -> Tensor:
        """Activation rates R_n of a layer, float32 [C, H, W].

        Raises:
            GanfixError: if the layer was not measured.
        """
        if layer.name not in self.counts:
            raise GanfixError(
                f"profile of {self.generator}: layer {layer} was not measured; measured are "
                f"{', '.join(self.counts) or 'none'}; leave profile= out to have it measured"
            )
        return self.counts[layer.name].float() / self.latents(layer)

    def latents(self, layer: Layer) -> int:
        """On how many latents the activation rates of a layer were measured."""
        extent = self.extents.get(f"rates/{layer.name}")
        samples = extent.latents if extent else self.settings.samples
        assert samples is not None
        return samples

    def latents_of(self, layers: Sequence[Layer]) -> str:
        """``2,500 latents``, or ``1,000 to 2,500 latents`` where layers took different numbers; of
        those whose rates were measured."""
        numbers = {self.latents(layer) for layer in layers if layer.name in self.counts}
        ends = sorted({min(numbers), max(numbers)}) if numbers else [self.settings.samples or 0]
        return f"{' to '.join(f'{number:,}' for number in ends)} latents"

    def low_rate(self, layer: Layer, rate: float, dead: bool = True) -> Tensor:
        """The LR-neurons of a layer, bool [C, H, W]: R_n ≤ rate ([C22], section 3).

        ``dead=False`` leaves out neurons never seen active, as the authors' released code does.
        """
        rates = self.rates(layer)
        return (rates <= rate) & ((rates > 0) | dead)

    def low_rates(
        self, layers: Sequence[Layer], rate: float = GATE_RATE
    ) -> tuple[tuple[Layer, Tensor], ...]:
        """Layers, each with its LR-neurons."""
        return tuple((layer, self.low_rate(layer, rate)) for layer in layers)

    def of_units(self, what: str, layer: Layer) -> Tensor:
        """ "thresholds", "defective" or "unit_fid" of a layer's units, float64 [C].

        Raises:
            GanfixError: if they were not made.
        """
        by_layer: dict[str, Tensor] = getattr(self, what)
        if layer.name in by_layer:
            return by_layer[layer.name]
        raise GanfixError(
            f"profile of {self.generator}: holds no {_OF_UNITS[what]} of layer {layer}, only of "
            f"{', '.join(by_layer) or 'none'}; leave profile= out"
        )

    def probe(self, name: str) -> Probe | None:
        """The probe of a name, such as ``labels:0+1+2``, if there is one."""
        note = self.made.get(f"{_PROBE}{name}")
        keys = [key for key in self.probes if key.startswith(f"{name}/")]
        tensors = {key.removeprefix(f"{name}/"): self.probes[key] for key in keys}
        return Probe.of(tensors, note) if note else None

    def with_probe(self, name: str, probe: Probe) -> Profile:
        """The same with a probe, in the place of an earlier one of that name."""
        tensors = {f"{name}/{key}": tensor for key, tensor in probe.tensors().items()}
        made = {**self.made, f"{_PROBE}{name}": probe.note()}
        # Not every probe has as many tensors.
        others = {k: x for k, x in self.probes.items() if not k.startswith(f"{name}/")}
        return replace(self, probes={**others, **tensors}, made=made)

    def with_only_probes(self, requests: Collection[str]) -> Profile:
        """The same with no other probes than those of some requests."""
        probes = {
            key: self.probe(key.removeprefix(_PROBE)) for key in self.made if key.startswith(_PROBE)
        }
        made = {key: text for key, text in self.made.items() if key not in probes}
        profile = replace(self, probes={}, made=made)
        for key, probe in probes.items():
            if probe and probe.request in requests:
                profile = profile.with_probe(key.removeprefix(_PROBE), probe)
        return profile

    def has_scores(self, layers: Sequence[Layer]) -> bool:
        """Whether LR scores over these layers were measured, if these are any."""
        names = tuple(layer.name for layer in layers)
        return not names or (self.lr_scores is not None and self.scored == names)

    def score_at(self, quantile: float, layers: Sequence[Layer]) -> float:
        """The LR score over some layers below which ``quantile`` of the generator's samples lie.

        Raises:
            GanfixError: if LR scores over these layers were not measured.
        """
        if self.lr_scores is None or not self.has_scores(layers):
            names = ", ".join(layer.name for layer in layers)
            raise GanfixError(
                f"profile of {self.generator}: holds no LR scores over {names} for gate=lr:…%; "
                "leave profile= out to have them measured, or give the gate a count"
            )
        return float(torch.quantile(self.lr_scores.double(), quantile))

    def save(self, path: Path) -> None:
        """Write the file whole or not at all; raises a GanfixError if it cannot be written."""
        meta = asdict(self)
        groups = [(group, meta.pop(group)) for group in _GROUPS]
        tensors = {f"{group}/{name}": x for group, named in groups for name, x in named.items()}
        scores = meta.pop("lr_scores")
        if scores is not None:
            tensors["lr_scores"] = scores
        save_tensors(path, tensors, {FORMAT: json.dumps(meta)}, "profile")

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile file; see `files.reading` for what it raises."""
        remedy = "; expected a profile or bundle of ganfix"
        if cache_folder() in path.parents:  # else a file of the user, or a network
            remedy = "; delete it and it will be measured again"
        with reading(path, "profile", FORMAT, remedy=remedy) as (meta, tensors):
            groups: dict[str, Any] = {group: {} for group in _GROUPS}
            for name, tensor in tensors.items():
                group, _, layer = name.partition("/")
                if layer:
                    groups[group][layer] = tensor
            profile = replace(from_json(cls, meta), lr_scores=tensors.get("lr_scores"), **groups)
            profile._check()
            return profile

    def _check(self) -> None:
        """Raise ValueError if what belongs together does not fit."""
        numbers = [extent.latents for extent in self.extents.values()]
        if min([self.settings.samples or 1, *numbers]) < 1:
            raise ValueError("found less than one latent")
        for group, dtype in _OF_LAYERS.items():
            for name, x in getattr(self, group).items():
                if x.dtype is not dtype or x.dim() != (3 if group == "counts" else 1):
                    raise ValueError(f"{group} of {name} are {x.dtype} {list(x.shape)}")
                if x.isnan().any():
                    raise ValueError(f"{group} of {name} are NaN")
        for name, x in self.counts.items():
            extent = self.extents.get(f"rates/{name}")
            most = extent.latents if extent else self.settings.samples
            if most is None or ((x < 0) | (x > most)).any():
                raise ValueError(f"counts of {name} are not from 0 to {most}")
        scores = self.lr_scores
        if scores is not None and (scores.dtype is not torch.int32 or not _ascend(scores)):
            raise ValueError("LR scores do not ascend")
        for key in self.made:
            if key.startswith(_PROBE):
                self.probe(key.removeprefix(_PROBE))

    def check(self, generator: Generator, where: Path) -> Profile:
        """The profile itself; raises GanfixError, naming the file, if it is of another generator,
        or holds what does not fit its layers."""
        if self.fingerprint != generator.fingerprint:
            raise GanfixError(
                f"profile {where}: is of another generator (fingerprint {self.fingerprint[:16]}, "
                f"this one has {generator.fingerprint[:16]}); measure this one by ganfix profile"
            )
        for layer in generator.layers:
            for group in _OF_LAYERS:
                x = getattr(self, group).get(layer.name)
                shape = (layer.channels, *(layer.resolution if group == "counts" else ()))
                if x is not None and x.shape != shape:
                    raise GanfixError(
                        f"profile {where}: {group} of layer {layer} are {list(x.shape)}, expected "
                        f"{list(shape)}; it was measured at another width, or the file is damaged: "
                        "measure again by ganfix profile"
                    )
        return self


def _ascend(x: Tensor) -> bool:
    return x.dim() == 1 and len(x) > 0 and bool((x.diff() >= 0).all()) and bool(x[0] >= 0)
