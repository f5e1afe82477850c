"""For the documentation: all commands, and the tables of correctors and their keys, from the
dataclasses that declare them. A Python-Markdown extension, named in zensical.toml."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from click import Command, Context, Group
from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from ganfix_plugin import registry
from ganfix_plugin.commands.group import main
from ganfix_plugin.correctors import corrector as correctors
from ganfix_plugin.spec import LayerOptions, Options, key_of, option_text

MARK = "<!-- correctors -->"


class _Correctors(Preprocessor):
    """Puts the tables where a page has the mark."""

    def run(self, lines: list[str]) -> list[str]:
        if MARK not in lines:
            return lines
        at = lines.index(MARK)
        tables = "\n".join(_lines()).splitlines()
        return [*lines[:at], *tables, *lines[at + 1 :]]


class ReferencePages(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(_Correctors(md), "correctors", priority=100)


def makeExtension(**_: Any) -> ReferencePages:  # the name that Markdown looks for
    # mkdocs-click lists what was added to the command already.
    main.list_commands(Context(main))
    _fence_examples(main)
    return ReferencePages()


def _fence_examples(command: Command) -> None:
    """Blocks whose lines click leaves alone, examples all of them, as code."""
    text = inspect.cleandoc(command.help or "")
    command.help = re.sub(r"^\x08\n(.*?)(?=\n\n|\Z)", r"```sh\n\1\n```", text, flags=re.M | re.S)
    for subcommand in command.commands.values() if isinstance(command, Group) else ():
        _fence_examples(subcommand)


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
