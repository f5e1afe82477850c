"""The patch door: one line in a script, put in and taken out without touching anything else."""

from __future__ import annotations

import ast
import codecs
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ganfix_plugin.files import written
from ganfix_plugin.hosts.host import Host, checkout_of

LINE = (
    b'if __name__ == "__main__": import ganfix_plugin.hosts.door as door; door.enter(__file__)'
    b"  # ganfix patch"
)
_OURS = re.compile(rb"^(\xef\xbb\xbf)?.*\bganfix_plugin\.hosts\.door\b.*(?:\r?\n|\Z)", re.M)

PATCHED, UNPATCHED = "patched", "not patched"


def states(host: Host, checkout: Path) -> Iterator[tuple[str, str]]:
    """Each script of the host that is there, with `PATCHED`, `UNPATCHED` or why it is refused."""
    for name in host.scripts:
        file = checkout / name
        if file.is_file():
            source = file.read_bytes()
            yield name, PATCHED if is_patched(source) else why_unknown(source, host) or UNPATCHED


def is_patched(source: bytes) -> bool:
    """Whether a script's source holds our line, of this version or another."""
    return bool(_OURS.search(source))


def patched(source: bytes) -> bytes:
    """The source with our line after the docstring and ``from __future__``; as it was, if it is
    there already."""
    if is_patched(source):
        return source
    text = source.removeprefix(codecs.BOM_UTF8)
    opening = source[: len(source) - len(text)]
    lines = text.splitlines(keepends=True)
    at = _preamble(ast.parse(text))
    ending = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    return b"".join([opening, *lines[:at], LINE + ending, *lines[at:]])


def reverted(source: bytes) -> bytes:
    """The source without our line."""
    return _OURS.sub(rb"\1", source)


def why_unknown(source: bytes, host: Host) -> str:
    """Why a file that has the name of a host's script does not look like it; empty if it does."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return "refused: it cannot be parsed as Python"
    imports = [node for node in tree.body if isinstance(node, ast.Import)]
    names = [alias.name for node in imports for alias in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    modules = {name.partition(".")[0] for name in names}
    if not modules & set(host.imports):
        return f"refused: it imports none of {', '.join(host.imports)}"
    if not modules & {"click", "argparse"}:
        return "refused: it parses its options by neither click nor argparse"
    guards = (node for node in tree.body if isinstance(node, ast.If))
    if not any("__main__" in ast.unparse(guard.test) for guard in guards):
        return "refused: it has no 'if __name__ == \"__main__\"'"
    return ""


def patch(folder: Path, revert: bool = False) -> Iterator[tuple[str, str]]:
    """Put our line into every script of a checkout, or take it out.

    Each file is replaced in one step and keeps its line endings, byte order mark and permissions.

    Yields:
        Each script with its new state; a script that is not recognised is left as it is.

    Raises:
        GanfixError: if the folder is no checkout of a known host, or cannot be written.
    """
    host, checkout = checkout_of(folder)
    for name, state in states(host, checkout):
        if state == (PATCHED if revert else UNPATCHED):
            file = (checkout / name).resolve()  # of a link, what it points to
            change, state = (reverted, UNPATCHED) if revert else (patched, PATCHED)
            content = change(file.read_bytes())
            with written(file) as temporary:
                temporary.write_bytes(content)
                shutil.copymode(file, temporary)
        yield name, state


def _preamble(tree: ast.Module) -> int:
    """How many lines stay before ours: comments, docstring and ``from __future__`` imports."""
    first = tree.body[0]
    decorators = getattr(first, "decorator_list", [])
    end = min(node.lineno for node in (first, *decorators)) - 1
    for index, node in enumerate(tree.body):
        docstring = index == 0 and ast.get_docstring(tree, clean=False) is not None
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not (docstring or future):
            break
        end = node.end_lineno or end
    return end
