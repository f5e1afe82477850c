"""Files of ganfix's own: where they are kept, written whole or not at all, and read back."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import pickle
import platform
import secrets
import time
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import platformdirs
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganfix_plugin.errors import GanfixError, first_line

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


def save_sealed(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors that the next run goes on from, so that `read_sealed` notices any damage."""
    content = safetensors.torch.save(tensors)
    with written(path) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> dict[str, Tensor] | None:
    """What `save_sealed` wrote; None if there is none, or the file is damaged or something else."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    seal, content = whole[:32], whole[32:]
    return safetensors.torch.load(content) if hashlib.sha256(content).digest() == seal else None


def parsed(text: str) -> Any:
    """JSON; raises ValueError on what is none, or nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def from_json(kind: Any, value: Any) -> Any:
    """A value of a type, such as a dataclass, out of JSON.

    Raises:
        TypeError: if it is something else; unknown and missing fields of dataclasses included.
    """
    outer, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return kind(**fields_from_json(kind, value))  # type: ignore[operator]
    if outer is UnionType:
        return None if value is None else from_json(inner[0], value)
    if outer is dict and isinstance(value, dict):
        return {key: from_json(inner[1], item) for key, item in value.items()}
    if outer in (list, tuple, Sequence) and isinstance(value, list):
        kinds = inner if outer is tuple and inner[-1] is not ... else inner[:1] * len(value)
        if len(kinds) == len(value):
            items = [from_json(*pair) for pair in zip(kinds, value)]
            return items if outer is list else tuple(items)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise TypeError(f"found {str(value)[:40]!r}, expected {getattr(kind, '__name__', kind)}")
    return value


def fields_from_json(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Those fields of a dataclass that are in JSON, where tensors of a file are its others; errors
    as of `from_json`."""
    hints = get_type_hints(kind)
    unknown = ", ".join(values.keys() - hints.keys())
    if unknown:
        raise TypeError(f"{kind.__name__}: unknown field {unknown}")
    return {name: from_json(hints[name], item) for name, item in values.items()}


def read_array(path: Path, what: str) -> Tensor:
    """The numbers in a ``.npy``, ``.npz`` or ``.safetensors`` file, of several arrays those of the
    one named z; nothing in it is executed.

    Raises:
        GanfixError: naming ``what`` and the file, if it holds none or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return _only(safetensors.torch.load_file(path))
        array = np.load(path, allow_pickle=False)
        if isinstance(array, np.lib.npyio.NpzFile):
            with array:
                array = _only({name: array[name] for name in array.files})
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except (*_NO_ARRAY, OSError) as error:
        cause = first_line(error)
        raise GanfixError(f"{what} {path}: cannot be read as numbers ({cause})") from None


# What numpy says of damaged files.
_NO_ARRAY = (
    *(ValueError, TypeError, KeyError, AttributeError, RuntimeError, SyntaxError),
    *(OverflowError, MemoryError, EOFError),
    *(SafetensorError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def _only(arrays: dict[str, Any]) -> Any:
    if len(arrays) != 1 and "z" not in arrays:
        raise ValueError(f"holds {', '.join(arrays) or 'nothing'}, expected an array named z")
    return arrays["z" if "z" in arrays else next(iter(arrays))]


def load_weights(path: Path) -> Any:
    """What a file of weights holds, on the CPU, nothing in it executed: safetensors, or what
    `torch.save` wrote of tensors, dictionaries and the like.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is something else, damaged, or would execute something.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*_NO_ARRAY, pickle.UnpicklingError, IndexError) as error:
        cause = first_line(error)
        raise ValueError(f"no file of weights ({cause})") from error


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
            about = parsed((file.metadata() or {})[format])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        yield about, tensors
    except FileNotFoundError:
        raise GanfixError(f"{what} {path}: no such file{how_to_make}") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = first_line(error)
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
