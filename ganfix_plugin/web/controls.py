"""The numbers of corrections that pages may set: controls for them, and what requests say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from flask import abort, request

from ganfix_plugin.correctors.bind import MEASURING, BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.spec import Numbers, Portion, key_of, option_text

_LONGEST = 20  # of the text of a number


def sliders(spec: BoundSpec) -> list[dict[str, Any]]:
    """The numbers that a correction can be told, as a page needs them to make controls."""
    controls = []
    for field in fields(spec.options):
        parse, key = field.metadata["parse"], key_of(field)
        value = getattr(spec.options, field.name)
        about = {"key": key, "help": field.metadata["help"]}
        if isinstance(parse, Numbers) and key not in MEASURING:
            numbers = {"kind": parse.kind, "low": parse.low, "high": parse.high}
            controls.append({**about, **numbers, "value": option_text(value)})
        elif (
            key == "gate" and value and isinstance(value.threshold, Portion) and value.full is None
        ):
            text, prefix = str(value.threshold), f"{value.score}:"
            numbers = {"kind": "share", "low": 0, "high": 1, "prefix": prefix}
            controls.append({**about, **numbers, "value": text})
    return controls


def asked_specs(specs: Sequence[BoundSpec]) -> tuple[BoundSpec, ...]:
    """The correction that a request names by its number, with other numbers for its options, or
    none; what else a spec can say, files and functions among it, is for the command line only."""
    number = request.args.get("c", "")
    if not number:
        return ()
    if not (number.isdecimal() and int(number) < len(specs)):
        abort(400, f"c: expected 0 to {len(specs) - 1}")
    spec = specs[int(number)]
    controls = {control["key"]: control for control in sliders(spec)}
    texts = {}
    for name, text in request.args.items():
        if name.startswith("o."):
            control = controls.get(name[2:])
            if control is None or len(text) > _LONGEST:
                abort(400, f"{name}: no number of {spec.corrector.name}")
            texts[name[2:]] = control.get("prefix", "") + text if text else ""
    try:
        return (spec.replaced(texts),)
    except GanfixError as error:
        abort(400, str(error))
