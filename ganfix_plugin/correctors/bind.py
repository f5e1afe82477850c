"""From the text after ``--correct`` to a corrector with checked options, once."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.correctors.corrector import Corrector
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.spec import Options, key_of, keys_text, option_text, split_spec

BUNDLE = ".safetensors"
MEASURING = ("samples", "class", "profile", "exact")  # keys that say how to measure
_LABELLING = ("extractor", "real")  # keys that say how to tell artifacts


@dataclass(frozen=True)
class BoundSpec:
    """A corrector and its options; ``str`` is the text that is kept as provenance."""

    corrector: Corrector
    options: Options
    # Those that its text sets; equality does not ask who set a value.
    keys: frozenset[str] = field(default=frozenset(), compare=False)

    def __str__(self) -> str:
        """Every option spelled out. The keys that say how to measure are left out where nothing is
        measured, or where a given profile was measured already, in a way of its own; and the whole
        strength, which goes without saying."""
        measuring = {"samples", "class"}
        if not self.measures:
            left_out = {*MEASURING}
        else:
            left_out = measuring if self.options.profile else {"profile"}
        if self.options.strength == 1:
            left_out = {*left_out, "strength"}
        keys = keys_text(self.options, left_out)
        return f"{self.corrector.name}:{keys}" if keys else self.corrector.name

    @property
    def measures(self) -> bool:
        """Whether the corrector or its gate goes by what is measured of the generator."""
        return bool(self.corrector.needs or self.options.gate)

    def check_effect(self, screens: bool) -> None:
        """Raise GanfixError if its text sets a key that changes nothing; ``screens``: seeds are
        screened by how it measures."""
        gate = self.options.gate
        asks = "defective" in self.corrector.needs or bool(gate and gate.score == "artifact")
        name, idle = self.corrector.name, dict[str, str]()
        if not asks:
            idle |= dict.fromkeys(_LABELLING, f"{name} asks no classifier here")
        if not self.measures and not screens:
            idle |= dict.fromkeys(MEASURING, f"{name} measures nothing here")
        elif self.options.profile:
            idle |= dict.fromkeys(("samples", "class"), "profile= is measured already")
        for key, why in idle.items():
            if key in self.keys:
                raise GanfixError(
                    f"--correct {name}: {key}= would change nothing, since {why}; leave it out"
                )

    def replaced(self, texts: Mapping[str, str]) -> BoundSpec:
        """The same with some keys set otherwise; an empty text sets a key to its default.

        Raises:
            GanfixError: on an unknown key, a value out of range, or keys that exclude each other.
        """
        change = functools.partial(dataclasses.replace, self.options)
        options = _options(self.corrector, texts, str(self), change)
        return BoundSpec(self.corrector, options, self.keys | set(texts))

    def __reduce__(self) -> Any:
        # By name: what a corrector holds (a lambda, say) need not survive pickling.
        return _loaded, (self.corrector.name, self.options, self.keys)


def parse_spec(
    text: str, more: Mapping[str, str] | None = None, screens: bool = False
) -> BoundSpec:
    """Parse ``NAME[:key=value,…]``, before anything is loaded.

    Args:
        more: the texts of further keys, which the text must leave open.
        screens: seeds are screened by how it measures, too.

    Raises:
        GanfixError: on an unknown corrector or key, a value out of range, or a key that is set
            although it is to vary or would change nothing.
    """
    name, texts = split_spec(text)
    for key in more or ():
        if key in texts:
            raise GanfixError(f"--correct {text}: sets {key}, which is to vary; leave it out")
    texts |= more or {}
    text = f"{name}:{','.join(map('='.join, texts.items()))}" if texts else name
    try:
        corrector = correctors.load(name)
    except GanfixError as error:
        raise GanfixError(f"--correct {error}") from None
    options = _options(corrector, texts, text, corrector.options)
    spec = BoundSpec(corrector, options, frozenset(texts))
    spec.check_effect(screens)
    return spec


def correction(name: str, **options: Any) -> BoundSpec:
    """What ``--correct NAME:key=value,…`` says, in Python.

        ganfix.attach(G, ganfix.correction("seqabl", lowest=0.3, layers="4x4+8x8", strength=0.5))

    Args:
        name: of a corrector.
        options: its keys, with values as numbers, yes/no keys as booleans, or as the texts that
            ``--correct`` takes. ``class`` and ``from`` are words of Python's own: ``class_index``
            and ``source``. None leaves a key at its default.

    Returns:
        What every function takes in the place of a spec's text; ``str`` of it is that text.

    Raises:
        GanfixError: as `parse_spec`.
    """
    declared = {field.name: key_of(field) for field in fields(correctors.load(name).options)}
    given = {key: value for key, value in options.items() if value is not None}
    return parse_spec(name, {declared.get(k, k): option_text(v) for k, v in given.items()})


def parse_specs(specs: Sequence[str | BoundSpec], screens: bool = False) -> list[BoundSpec]:
    """Parse several ``--correct``, bundles (`export`) among them; bound ones are as they are.
    Arguments and errors as of `parse_spec`.

    Raises:
        GanfixError: as `parse_spec`, and if a bundle is missing, damaged or without specs.
    """
    bound: list[BoundSpec] = []
    for spec in specs:
        if isinstance(spec, BoundSpec):
            bound.append(spec)
        # A name and a colon open a spec, whose last key may be a file: seqabl:profile=X.safetensors
        elif re.fullmatch(rf"(?![a-z][a-z0-9_-]*:).*{BUNDLE}", spec):
            from ganfix_plugin.profiling.profile import Profile  # rarely needed, slow to import

            bundle = Profile.load(Path(spec))
            if not bundle.correct:
                raise GanfixError(
                    f"--correct {spec}: a profile and no bundle; write NAME:profile={spec}"
                )
            # Told to read the bundle's numbers.
            bound += [parse_spec(text).replaced({"profile": spec}) for text in bundle.correct]
        else:
            bound.append(parse_spec(spec, screens=screens))
    return bound


def _options(
    corrector: Corrector, texts: Mapping[str, str], spec: str, make: Callable[..., Options]
) -> Options:
    """What is made of the values of some keys, by the names of their fields."""
    declared = {key_of(field): field for field in fields(corrector.options)}
    values: dict[str, Any] = {}
    for key, text in texts.items():
        if key not in declared:
            raise GanfixError(
                f"--correct {spec}: {corrector.name} has no key {key}; its keys: "
                f"{', '.join(declared)}"
            )
        field = declared[key]
        try:
            values[field.name] = field.metadata["parse"](text) if text else field.default
        except ValueError as error:
            # float() and int() explain themselves in Python's words, our parsers in the user's.
            expected = "a number" if "could not convert" in str(error) else error
            raise GanfixError(f"--correct {spec}: {key} is {text!r}, expected {expected}") from None
    try:
        return make(**values)
    except ValueError as error:
        raise GanfixError(f"--correct {spec}: {error}") from None


def _loaded(name: str, options: Options, keys: frozenset[str]) -> BoundSpec:
    return BoundSpec(correctors.load(name), options, keys)
