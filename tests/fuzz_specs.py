"""Texts after ``--correct``, ``--screen`` and the like: each is taken, or refused in one line.

    python tests/fuzz_specs.py --cases 10000 --seed 0

What is taken has a canonical text that is taken, too, and means the same; and of correctors that
need little, it corrects a small generator or is refused by it in one line.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields

import torch
from fuzzing import command
from generators import dcgan, latents

from ganfix_plugin import GanfixError, attach, registry
from ganfix_plugin.correctors import corrector
from ganfix_plugin.correctors.bind import parse_spec, parse_specs
from ganfix_plugin.hosts.screening import Screen
from ganfix_plugin.spec import key_of, layer_choice

NUMBERS = ["0", "1", "2", "3", "0.3", "30%", "70%", "100%", "-1", "1e3", "nan", "inf", "2147483648"]
NUMBERS += ["9" * 20, "1e400", "-0", "0x10", "1_000", "٣", "²", "", " ", "+1", "1.5", "101%", "-5%"]
WORDS = [
    "auto",
    "off",
    "yes",
    "no",
    "none",
    "lr:50%",
    "lr:3",
    "probe:70%",
    "artifact:0.5",
    "lr:",
    "0+1",
]
WORDS += [
    "4x4+8x8",
    "0+",
    "99",
    "4x8",
    "low",
    "high",
    "max",
    "rank",
    "sample",
    "global",
    "artifacts",
]
WORDS += [
    "x.safetensors",
    "/",
    "..",
    "a\nb",
    "a\0b",
    "é",
    "\ud800",
    "=",
    ":",
    ",",
    "2:1+5+7",
    "all",
    "lr",
]
WORDS += [
    "soft",
    "binary",
    "activated",
    "units",
    "random",
    "40%..90%",
    "90%..40%",
    "labels",
    "x" * 5000,
]
FEW = {"seqabl", "random", "truncation", "none"}  # that need no more than rates


class Texts:
    """Made-up texts, and a generator to try them on."""

    def __init__(self) -> None:
        self.G = dcgan()
        self.z = latents(self.G, 2)
        self.names = registry.names(registry.CORRECTORS)
        self.keys = {
            name: [key_of(field) for field in fields(corrector.load(name).options)]
            for name in self.names
        }

    def value(self, chance: random.Random) -> str:
        """Of a key."""
        return chance.choice(chance.choice([NUMBERS, WORDS]))

    def spec(self, chance: random.Random) -> str:
        """NAME:key=value,…, mostly with keys that there are."""
        name = chance.choice([*self.names * 3, "", "SEQABL", "seqabl ", "sqabl", "a b", "\n", "é"])
        own = self.keys.get(name.strip(), ["layers"])
        items = []
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3])):
            key = chance.choice([*own * 3, "", "x", "psi", "Layers", "gate "])
            items.append(
                chance.choice(["{}={}"] * 9 + ["{}", "{}:{}", "={1}"]).format(
                    key, self.value(chance)
                )
            )
        text = name + chance.choice([":"] * 9 + ["", "::", "=", " : "]) + ",".join(items)
        return text if items else chance.choice([name, text])

    def case(self, chance: random.Random) -> tuple[str, Callable[[], object]]:
        """One text, and what is made of it."""
        way, value = chance.random(), self.value(chance)
        if way < 0.04:
            text = f"{value}{chance.choice(['', ':replace', ':x', ':'])}"
            return f"--screen {text!r}", lambda: Screen.parse(text)
        if way < 0.08:
            return f"layers {value!r}", lambda: layer_choice(value)
        text = self.spec(chance)
        on_generator = chance.random() < 0.2
        return f"--correct {text!r}", lambda: self.taken(text, on_generator)

    def taken(self, text: str, on_generator: bool) -> None:
        """Parse a text, and its canonical text, and perhaps correct by it."""
        (spec,) = parse_specs([text])
        canonical = str(spec)
        gate = spec.options.gate
        try:
            again = parse_spec(canonical)
        except GanfixError as error:
            raise AssertionError(f"its canonical text {canonical!r} is refused: {error}") from None
        assert again == spec, f"its canonical text {canonical!r} means something else"
        if on_generator and spec.corrector.name in FEW and (gate is None or gate.score == "lr"):
            if spec.options.profile is None and (spec.corrector.needs or gate):
                spec = spec.replaced({"samples": "60"})
            with attach(self.G, spec), torch.no_grad():
                self.G(self.z)


main = command(lambda folder: Texts().case, 10_000, "Parse made-up texts.")


if __name__ == "__main__":
    main()
