"""For mkdocs: all commands, and the tables of correctors and their keys, from the dataclasses that
declare them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from click import Context

from ganfix_plugin import registry
from ganfix_plugin.commands.group import main
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.spec import LayerOptions, Options, key_of, option_text

MARK = "<!-- correctors -->"


def on_startup(**_: Any) -> None:
    """Called by mkdocs first. mkdocs-click lists what was added to the command already."""
    main.list_commands(Context(main))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with every page."""
    return markdown.replace(MARK, "\n".join(_lines())) if MARK in markdown else markdown


def _lines() -> Iterator[str]:
    shared = {field.name for field in fields(Options)}
    for name in registry.names(registry.CORRECTORS):
        corrector = correctors.load(name)
        yield f"## {name}\n\n{corrector.help[0].upper()}{corrector.help[1:]}.\n"
        own = [field for field in fields(corrector.options) if field.name not in shared]
        yield from _table(own)
    yield "## Keys that all of them have\n"
    yield from _table(list(fields(Options)))
    yield f"\n`layers` belongs to those that derive from `{LayerOptions.__name__}`.\n"


def _table(keys: list[Field[Any]]) -> Iterator[str]:
    if not keys:
        yield "It has no keys of its own.\n"
        return
    yield "| key | default | |\n|---|---|---|"
    for field in keys:
        default = option_text(field.default)
        yield f"| `{key_of(field)}` | {default and f'`{default}`'} | {field.metadata['help']} |"
    yield ""
