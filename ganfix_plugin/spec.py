"""The text after ``--correct``: its grammar, and how a corrector declares what it can be told.

A corrector's options are a frozen dataclass whose fields are made by `option`. The dataclass is
the single source of defaults, parsing, help and the canonical text that serves as provenance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from ganfix_plugin.errors import GanfixError

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
OFF = "off"  # no gate
_GRAMMAR = "NAME[:key=value,…], for example seqabl:lowest=30%,layers=4x4+8x8"


def split_spec(text: str) -> tuple[str, dict[str, str]]:
    """A corrector's name and the texts of the keys out of ``NAME[:key=value,…]``.

    White space around names, keys and values does not count.

    Raises:
        GanfixError: on an empty name, a key without a value, a key given twice, or a line break.
    """
    if len(text.splitlines()) > 1:
        raise GanfixError(f"--correct {text!r}: holds a line break; write {_GRAMMAR}")
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not _NAME.fullmatch(name):
        raise GanfixError(f"--correct {text}: {name!r} is no corrector name; write {_GRAMMAR}")
    texts: dict[str, str] = {}
    for item in rest.split(",") if colon else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            about = f"found {item.strip()!r} where key=value belongs"
            raise GanfixError(f"--correct {text}: {about}; write {_GRAMMAR}")
        if key in texts:
            raise GanfixError(f"--correct {text}: {key} is given twice; give it once")
        texts[key] = value
    return name, texts


def option(
    default: Any,
    parse: Callable[[str], Any],
    help: str,
    *,
    key: str = "",
    tune: Sequence[str] = (),
) -> Any:
    """Declare a field. ``parse`` raises ValueError with what was expected, or returns the value;
    `option_text` of it must parse back. ``key`` is the name users write, where it differs, and
    ``tune`` what `ganfix tune` tries beside the default."""
    about = {"parse": parse, "help": help, "key": key, "tune": tuple(tune)}
    return field(default=default, metadata=about)


def key_of(field: Field[Any]) -> str:
    """The name users write for a dataclass field."""
    return str(field.metadata["key"] or field.name)


def number_text(value: float) -> str:
    """The shortest text for a number that nobody writes to more than 15 digits: 0.3, 1234567."""
    return f"{value:.15g}"


class Portion(float):
    """A share from 0 to 1 that is written with a percent sign: ``30%`` is 0.3."""

    def __str__(self) -> str:
        return f"{number_text(100 * self)}%"


@dataclass(frozen=True)
class Numbers:
    """A parser of numbers, which pages make a slider or a field of.

    Attributes:
        low, high: both included.
        kind: "share", a `Portion` written ``30%`` or ``0.3``; "whole"; or "number".
        above: the lowest is excluded, since it would change nothing.
        word: may stand in the place of a number.
    """

    low: float
    high: float
    kind: str = "number"
    above: bool = False
    word: str = ""

    def __call__(self, text: str) -> Any:
        """Parse; raises ValueError with what was expected."""
        if self.word and text == self.word:
            return text
        if self.kind == "whole":
            if not re.fullmatch(r"\d{1,10}", text) or not self.low <= int(text) <= self.high:
                raise ValueError(f"a whole number of at least {self.low:g}, and less than 2³¹")
            return int(text)
        share = self.kind == "share"
        value = float(text[:-1]) / 100 if share and text.endswith("%") else float(text)
        if not self.low <= value <= self.high or (self.above and value == self.low):
            low, high = (str(Portion(x)) if share else f"{x:g}" for x in (self.low, self.high))
            start = f"above {low} and up" if self.above else f"from {low}"
            raise ValueError(f"a {'share' if share else 'number'} {start} to {high}")
        return Portion(value) if share else value


portion = Numbers(0, 1, "share")
some = Numbers(0, 1, "share", above=True)


def number(low: float, high: float) -> Numbers:
    """A parser of numbers from low to high, both included."""
    return Numbers(low, high)


def whole(low: int) -> Numbers:
    """A parser of whole numbers from low to 2³¹ − 1, which 32 bits hold."""
    return Numbers(low, 2**31 - 1, "whole")


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser that admits only the given words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def yes_no(text: str) -> bool:
    """Parse ``yes`` or ``no``."""
    return choice("yes", "no")(text) == "yes"


@dataclass(frozen=True)
class LayerChoice:
    """Which layers: the adapter's default (no items), or numbers and resolutions."""

    items: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LayerChoice:
        """Parse ``auto``, ``0+1+3`` or ``4x4+8x8``."""
        if text == "auto":
            return cls()
        items = tuple(item.strip() for item in text.split("+"))
        for item in items:
            if not re.fullmatch(r"\d+(x\d+)?", item):
                raise ValueError("auto, layer numbers such as 0+1+3, or resolutions as 4x4+8x8")
        return cls(items)

    def __str__(self) -> str:
        return "+".join(self.items) or "auto"


def layer_choice(text: str) -> LayerChoice:
    """Parse layers that a command or a caller in Python names; a GanfixError if it names none."""
    try:
        return LayerChoice.parse(text)
    except ValueError as error:
        raise GanfixError(f"layers={text}: expected {error}") from None


@dataclass(frozen=True)
class Gate:
    """Which samples are corrected: those whose ``score`` exceeds ``threshold``.

    Where there is ``full``, by as much as the score's place from one to the other; all of it above.

    "lr" is the count of active low-rate neurons: a `Portion` as threshold is a quantile of the
    generator's own counts, a number is absolute. "artifact" is the classifier's probability, and
    "probe" the probe's score, whose threshold is always a quantile.
    """

    score: str
    threshold: float
    full: float | None = None

    @classmethod
    def parse(cls, text: str) -> Gate | None:
        """Parse ``off``, ``probe:70%``, ``lr:70%``, ``lr:1200``, ``artifact:0.5``, or a range as
        ``lr:60%..80%``."""
        if text == OFF:
            return None
        score, _, value = text.partition(":")
        ends = value.split("..", 1)
        numbers = [re.fullmatch(r"\d+(\.\d+)?(%?)", end) for end in ends]
        units = {number[2] if number else None for number in numbers}
        allowed = {"lr": ("", "%"), "probe": ("%",), "artifact": ("",)}.get(score, ())
        if len(units) > 1 or not units <= {*allowed}:
            raise ValueError(
                "off, probe:QUANTILE%, lr:QUANTILE%, lr:COUNT or artifact:PROBABILITY, or a range "
                "of them such as lr:60%..80%"
            )
        values = [portion(end) if "%" in units else float(end) for end in ends]
        if score == "artifact" and max(values) > 1:
            raise ValueError("artifact:PROBABILITY from 0 to 1")
        if len(values) > 1 and values[0] >= values[1]:
            raise ValueError("a range that rises, such as lr:60%..80%")
        return cls(score, *values)

    def __str__(self) -> str:
        values = [self.threshold] if self.full is None else [self.threshold, self.full]
        texts = [str(v) if isinstance(v, Portion) else number_text(v) for v in values]
        return f"{self.score}:{'..'.join(texts)}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keys that every corrector has."""

    gate: Gate | None = option(
        None,
        Gate.parse,
        "correct only samples whose artifact score exceeds this: off, probe:QUANTILE% of the "
        "generator's own scores by a probe of its first layers, lr:QUANTILE% of its own counts of "
        "active low-rate neurons, lr:COUNT of them, or artifact:PROBABILITY by the classifier; "
        "over a range such as lr:60%..80%, the more the higher it is, so that videos do not jump",
        tune=("lr:50%", "lr:60%", "lr:70%", "lr:80%", "lr:90%"),
    )
    strength: Portion = option(
        Portion(1),
        portion,
        "how much of the correction: 100% is all of it, 0% none",
        tune=("25%", "50%", "75%"),
    )
    samples: int | None = option(
        None,
        whole(2),
        "latents to measure the generator on, if need be [default: as many as it takes until two "
        "halves of them agree, at most 10000]",
    )
    class_index: int | None = option(
        None, whole(0), "measure on this class only (conditional generators)", key="class"
    )
    profile: Path | None = option(None, Path, "a profile file to use instead of the store's")
    extractor: str | None = option(
        None,
        str,
        "the feature extractor of the classifier: a name of ganfix list, or module:callable "
        "[default: resnet18 if its weights are there or can be downloaded, else "
        "efficientnet-lite0, else discriminator]",
    )
    real: Path | None = option(
        None, Path, "real images, a folder or zip: the classifier's third class"
    )
    exact: bool | None = option(
        None,
        yes_no,
        "measure with the host's own arithmetic on a CPU, too, where convolutions apart from "
        "styles are several times as fast and the same but for rounding [default: no]",
    )


@dataclass(frozen=True, kw_only=True)
class LayerOptions(Options):
    """The keys of correctors that work on a choice of layers."""

    layers: LayerChoice = option(
        LayerChoice(),
        LayerChoice.parse,
        "auto (the papers' layers for this generator), numbers as 0+1+3, or resolutions as 4x4+8x8",
    )


def keys_text(options: Options, left_out: Collection[str] = ()) -> str:
    """``key=value,…`` with every option that is set, in the order of declaration."""
    texts = {key_of(field): _text_of(field, options) for field in fields(options)}
    return ",".join(f"{key}={text}" for key, text in texts.items() if text and key not in left_out)


def _text_of(field: Field[Any], options: Options) -> str:
    value = getattr(options, field.name)
    # Left out, a gate that was taken off would come back when the text is parsed.
    return OFF if field.name == "gate" and value is None and field.default else option_text(value)


def option_text(value: Any) -> str:
    """What an option's value is written as; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number_text(value) if type(value) is float else str(value)
