"""Lists of latents that a user hands in: artifacts from labels or detection, seeds, or arrays."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ganfix_plugin import labels
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import LatentList, classes_of, latents_of

KINDS = (
    "labels (.csv, .json: the seeds labelled artifact), a ranking with a column seed (.csv), "
    "latents [N, …] (.npy, .npz, .safetensors), or seeds such as 0-99"
)


def check_latents(source: str) -> None:
    """Make sure that a list of latents is there, before anything is loaded.

    Raises:
        GanfixError: if it is missing or of no known kind.
    """
    path = Path(source)
    if not path.is_file() and _seeds(source) is None:
        raise GanfixError(f"latents {source}: no such file; expected {KINDS}")
    if path.is_file() and path.suffix not in (".csv", ".json", *_READERS):
        raise GanfixError(f"latents {source}: unknown ending {path.suffix}; expected {KINDS}")


def read_latents(source: str, generator: Generator, num: int | None = None) -> LatentList:
    """The latents of a file, or of seeds, for a generator.

    A seed stands for the latent that the hosts' scripts draw for it. Conditional generators get
    the classes dealt round, by seed or by row.

    Args:
        source: labels, a ranking, an array of latents, or seeds such as ``0-99`` or ``3,5,8``.
        num: take at most this many, from the top; all by default.

    Raises:
        GanfixError: if it is missing, malformed, of another generator, or of another width.
    """
    check_latents(source)
    shape = generator.latent_shape
    path = Path(source)
    if path.suffix in _READERS and path.is_file():
        z = _array(path)[:num]
        rows: list[labels.Sample] = list(range(len(z)))
        if tuple(z.shape[1:]) != shape or not z.is_floating_point() or not len(z):
            expected = ", ".join(map(str, shape))
            kind = str(z.dtype).removeprefix("torch.")
            raise GanfixError(
                f"latents {source}: found {kind} {list(z.shape)}, expected float [N, {expected}] "
                f"for this {generator.name}"
            )
        if not torch.isfinite(z).all():
            raise GanfixError(f"latents {source}: found NaN or infinity")
    else:
        rows = (_listed(path, generator) if path.is_file() else _seeds(source) or [])[:num]
        if not rows:
            raise GanfixError(f"latents {source}: found none; expected {KINDS}")
        z = latents_of(rows, shape)
    return LatentList(z.float(), classes_of(generator, rows))


def _listed(path: Path, generator: Generator) -> list[labels.Sample]:
    """The samples of a label file (its artifacts) or of a ranking (all, in its order)."""
    if path.suffix == ".csv":
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                ranking = list(reader) if "label" not in columns else []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise GanfixError(f"latents {path}: cannot be read ({error})") from None
        if "label" not in columns:
            return _ranked(path, ranking, columns)
    return labels.read(path).check(generator.fingerprint).samples(labels.ARTIFACT)


def _ranked(path: Path, rows: list[dict[str, Any]], columns: set[str]) -> list[labels.Sample]:
    if "seed" not in columns:
        names = ", ".join(sorted(columns)) or "none"
        raise GanfixError(f"latents {path}: found columns {names}, expected one named seed")
    seeds: list[labels.Sample] = []
    for number, row in enumerate(rows, 2):
        text = (row["seed"] or "").strip()
        if not text.isdecimal() or int(text) > labels.LAST_SEED:
            raise GanfixError(
                f"latents {path}, row {number}: seed is {text!r}, expected a whole number from 0 "
                f"to {labels.LAST_SEED}"
            )
        seeds.append(int(text))
    return seeds


def _seeds(text: str) -> list[labels.Sample] | None:
    """The numbers in ``0-99`` or ``3,5,8-10``; None if that is something else."""
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        return None
    seeds: list[labels.Sample] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) > labels.LAST_SEED:
            return None
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _array(path: Path) -> Tensor:
    try:
        return _READERS[path.suffix](path)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        cause = str(error).splitlines()[0]
        raise GanfixError(f"latents {path}: cannot be read ({cause})") from None


def _npz(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays[_only(list(arrays))])


def _safetensors(path: Path) -> Tensor:
    tensors = load_file(path)
    return tensors[_only(list(tensors))]


def _only(names: list[str]) -> str:
    if len(names) != 1 and "z" not in names:
        raise ValueError(f"holds {', '.join(names) or 'nothing'}, expected an array named z")
    return "z" if "z" in names else names[0]


_READERS: dict[str, Callable[[Path], Tensor]] = {
    ".npy": lambda path: torch.from_numpy(np.load(path, allow_pickle=False)),
    ".npz": _npz,
    ".safetensors": _safetensors,
}
