"""Lists of latents that a user hands in: artifacts from labels or detection, seeds, or arrays."""

from __future__ import annotations

import csv
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ganfix_plugin import labels
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import read_array
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import (
    LatentList,
    Listed,
    SeedList,
    classes_of,
    latents_of,
)

KINDS = (
    "labels (.csv, .json: the seeds labelled artifact), a ranking with a column seed (.csv), "
    "latents [N, …] (.npy, .npz, .safetensors), or seeds such as 0-99"
)
_ARRAYS = (".npy", ".npz", ".safetensors")


def check_latents(source: str) -> None:
    """Make sure that a list of latents is there, before anything is loaded.

    Raises:
        GanfixError: if it is missing or of no known kind.
    """
    path = Path(source)
    if not os.path.isfile(path) and not seeds_in(source):
        raise GanfixError(f"latents {source}: no such file; expected {KINDS}")
    if os.path.isfile(path) and path.suffix not in (".csv", ".json", *_ARRAYS):
        raise GanfixError(f"latents {source}: unknown ending {path.suffix}; expected {KINDS}")


def read_latents(source: str, generator: Generator, num: int | None = None) -> Listed:
    """The latents of a file, or of seeds, for a generator.

    A seed stands for the latent that the hosts' scripts draw for it. Conditional generators get
    the classes dealt round, by seed or by row.

    Args:
        source: one of `KINDS`.
        num: take at most this many, from the top; all by default.

    Raises:
        GanfixError: if it is missing, malformed, of another generator, or of another width.
    """
    check_latents(source)
    shape, path = generator.latent_shape, Path(source)
    if path.suffix in _ARRAYS and os.path.isfile(path):
        z = read_array(path, "latents")
        if tuple(z.shape[1:]) != shape or not z.is_floating_point() or not z.numel():
            expected = ", ".join(map(str, shape))
            kind = str(z.dtype).removeprefix("torch.")
            raise GanfixError(
                f"latents {source}: found {kind} {list(z.shape)}, expected float [N, {expected}] "
                f"for this {generator.name}"
            )
        z = z[:num]
        if not torch.isfinite(z.float()).all():
            raise GanfixError(f"latents {source}: found NaN or infinity")
        return LatentList(z.float(), classes_of(generator, range(len(z))))
    rows = [*(_listed(path, generator) if os.path.isfile(path) else seeds_in(source))][:num]
    if not rows:
        raise GanfixError(f"latents {source}: found none; expected {KINDS}")
    if written := [row for row in rows if not isinstance(row, int)]:  # are they this generator's?
        latents_of(written, shape), classes_of(generator, written)
    return SeedList(rows)


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


def seeds_in(text: str) -> list[int]:
    """The seeds in a text; none if it is something else."""
    with suppress(ValueError):
        return labels.seeds_of(text)
    return []
