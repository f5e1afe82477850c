"""Real images from a folder or a zip, as the hosts' dataset tools write them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganfix_plugin.errors import GanfixError

Name = TypeVar("Name", str, Path)
_TOO_LARGE = Image.DecompressionBombError
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def read_images(
    path: Path, size: int | None = None, batch: int = 64, num: int | None = None, seed: int = 0
) -> Iterator[Tensor]:
    """Yield batches [n, 3, H, W] in [-1, 1], in the order of the file names.

    Args:
        path: a folder, searched with all that is below it, or a zip.
        size: the height and width that every image must have; by default the first one's.
        num: take so many, chosen by a seed; all by default.

    Raises:
        GanfixError: if there are no images or too few, one cannot be read, or one has another size.
    """
    images: list[Tensor] = []
    for name, content in _files(path, num, seed):
        images.append(_image(path, name, content, size))
        size = images[-1].shape[-1]
        if len(images) == batch:
            yield torch.stack(images)
            images = []
    if images:
        yield torch.stack(images)


def check_images(path: Path) -> None:
    """Make sure that there are images and the first can be read, before anything else is loaded."""
    next(read_images(path, batch=1))


def count_images(path: Path) -> int:
    """How many images there are to read; raises GanfixError if there are none."""
    if path.is_dir():
        return len(_chosen(path, path.rglob("*"), None, 0))
    with _zip(path) as archive:
        return len(_chosen(path, archive.namelist(), None, 0))


def to_pixels(images: Tensor) -> Tensor:
    """Images [N, 1 or 3, H, W] in [-1, 1], rounded as the hosts do: uint8 [N, 3, H, W]."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def _files(path: Path, num: int | None, seed: int) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in _chosen(path, path.rglob("*"), num, seed):
            yield str(file.relative_to(path)), file.read_bytes()
        return
    with _zip(path) as archive:
        for name in _chosen(path, archive.namelist(), num, seed):
            try:
                content = archive.read(name)
            except _DAMAGED as error:
                raise GanfixError(f"images {path}: {name} cannot be read ({error})") from None
            yield name, content


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise GanfixError(f"images {path}: no such folder or zip") from None
    except zipfile.BadZipFile:
        raise GanfixError(f"images {path}: neither a folder nor a zip") from None
    except (OSError, UnicodeError) as error:
        raise GanfixError(f"images {path}: cannot be read ({error})") from None


# What an archive may say of what is in it; encrypted and unknown ways of packing included, and
# names that are no text.
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, UnicodeError)


def _chosen(path: Path, inside: Iterable[Name], num: int | None, seed: int) -> list[Name]:
    names = sorted(name for name in inside if Path(name).suffix.lower() in _ENDINGS)
    if not names:
        raise GanfixError(f"images {path}: found none; expected PNG or JPEG files")
    if num is None:
        return names
    if num > len(names):
        raise GanfixError(f"images {path}: found {len(names)}, expected {num}; ask for fewer")
    chosen = np.random.RandomState(seed).permutation(len(names))[:num]
    return [names[index] for index in np.sort(chosen)]


def _image(path: Path, name: str, content: bytes, size: int | None) -> Tensor:
    try:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    # PIL says by all of these that a file is damaged.
    except (OSError, ValueError, SyntaxError, IndexError, TypeError, _TOO_LARGE) as error:
        raise GanfixError(f"images {path}: {name} cannot be read ({error})") from None
    height, width = pixels.shape[:2]
    if height != width or (size and width != size):
        expected = f"{size}×{size}" if size else "a square"
        raise GanfixError(f"images {path}: {name} is {width}×{height}, expected {expected}")
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
