"""Files of ganfix's own: where they are kept, written whole or not at all, and read back."""

from __future__ import annotations

import glob
import json
import os
import platform
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganfix_plugin.errors import GanfixError

_A_DAY = 24 * 60 * 60  # seconds


def cache_folder() -> Path:
    """``$GANFIX_CACHE``, or ``ganfix`` in the user's cache folder."""
    folder = os.environ.get("GANFIX_CACHE") or platformdirs.user_cache_dir("ganfix")
    return Path(os.path.expanduser(folder))


def ready(path: Path, folder: bool = False) -> Path:
    """A path that can be written, of a file or of the folder of several; its folders are made.

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
        raise GanfixError(f"{where}: cannot be written: {why_not(where)}")
    return path


def why_not(folder: Path) -> str:
    """Why a folder that may not be written may not."""
    read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
    return "the file system is read-only" if read_only else "permission denied"


@contextmanager
def written(path: Path, what: str = "") -> Iterator[Path]:
    """A new file beside ``path``, with its ending, that takes its place when all went well.

    No other writer has the same file, no link is followed to it, and it may be read and written by
    whom the umask allows. The folders are made; what killed writers of ``path`` have left there is
    removed.

    Raises:
        GanfixError: if it cannot be written; it says ``what`` it is, "profile" for example.
    """
    unique = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".writing-{unique}-{path.name}")
    created = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        created = True
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise GanfixError(f"{what} {path}: cannot be written: {reason}".lstrip()) from None
    finally:
        if created:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, what: str = "") -> None:
    """Write UTF-8 text as `written` does."""
    with written(path, what) as temporary:
        temporary.write_bytes(text.encode())


def save_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, what: str = ""
) -> None:
    """Write a safetensors file as `written` does."""
    with written(path, what) as temporary:
        # Not save_file, which replaces the file by one that only its owner may read.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))


@contextmanager
def reading(
    path: Path, what: str, format: str, *, how_to_make: str = "", remedy: str = ""
) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """JSON, that the metadata hold under the name of the format, and tensors of a safetensors file.

    Raises:
        GanfixError: if it is missing, which ends in ``how_to_make``, or damaged or something else,
            also by what is done with it in here, which ends in ``remedy``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[format])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        yield about, tensors
    except FileNotFoundError:
        raise GanfixError(f"{what} {path}: no such file{how_to_make}") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{what} {path}: damaged or no ganfix {what} ({why}){remedy}"
        raise GanfixError(message) from error


def _machine() -> str:
    """8 hexadecimal digits for this machine or container: where process numbers mean the same."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return f"{zlib.crc32(f'{platform.node()} {processes}'.encode()):08x}"


def _remove_leftovers(path: Path) -> None:
    """Remove what writers of ``path`` left that were killed: on this machine, or over a day ago."""
    for leftover in path.parent.glob(f".writing-*-{glob.escape(path.name)}"):
        # Another writer may remove the same one, and a file like it may be another's altogether.
        with suppress(OSError, ValueError, OverflowError):
            machine, process, _, name = leftover.name.removeprefix(".writing-").split("-", 3)
            old = time.time() - leftover.lstat().st_mtime > _A_DAY
            if name == path.name and (old or (machine == _machine() and _has_ended(int(process)))):
                leftover.unlink()


def _has_ended(process: int) -> bool:
    if os.name != "posix":
        return False  # elsewhere, to ask would end it
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False
