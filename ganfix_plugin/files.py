"""Files that commands write: whole or not at all, and refused before the work starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganfix_plugin.errors import GanfixError


def ready(path: Path, folder: bool = False) -> Path:
    """A path that can be written; its folders are made.

    Args:
        path: a file, or with ``folder`` the folder of several.

    Raises:
        GanfixError: if it cannot.
    """
    where = path if folder else path.parent
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GanfixError(f"{where}: cannot be made: {error.strerror}") from None
    if not folder and path.is_dir():
        raise GanfixError(f"{path}: is a folder, expected the name of a file")
    if not os.access(where, os.W_OK):
        raise GanfixError(f"{where}: cannot be written: permission denied")
    return path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary file with the ending of ``path``, which takes its place when all went well.

    Raises:
        GanfixError: if it cannot be written.
    """
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise GanfixError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
