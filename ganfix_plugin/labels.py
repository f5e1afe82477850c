"""Label files: which generations are artifacts, by whom, and by what criterion ([T21], 3.1).

[T21]: Tousi et al., CVPR 2021.

A file belongs to one generator and says so. Both formats hold the same columns; a label names the
seed that a host's script would render, ``RandomState(seed).randn(…)``, or the latent itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import cache_folder, parsed, write_text

ARTIFACT, NORMAL = "artifact", "normal"
KINDS = (ARTIFACT, NORMAL)
# The raters of automatic labels, which are never taken for those of people: the LR count, and the
# realism score.
LR_COUNT, REALISM = AUTOMATIC = ("lr-count", "realism")
LAST_SEED = 2**32 - 1  # numpy's

Sample = int | tuple[float, ...]  # a seed, or the values of a latent


@dataclass(frozen=True)
class Label:
    """One judgement.

    Attributes:
        seed: of the image; None where the latent is given.
        label: "artifact" or "normal".
        rater: who judged: a name, or the rule that stood in for a person.
        criterion: why, in the rater's words or by a name from a list of criteria.
        latent: z of the image, for images that no seed gives; None where the seed is given.
    """

    seed: int | None
    label: str
    rater: str = ""
    criterion: str = ""
    latent: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.latent is not None:
            if self.seed is not None:
                raise ValueError(f"seed is {self.seed!r} beside a latent, expected one of the two")
            if not self.latent or not all(map(math.isfinite, self.latent)):
                raise ValueError("latent is empty or not finite, expected numbers")
        elif not isinstance(self.seed, int) or not 0 <= self.seed <= LAST_SEED:
            expected = f"a whole number from 0 to {LAST_SEED}"
            raise ValueError(f"seed is {self.seed!r}, expected {expected}")
        if self.label not in KINDS:
            raise ValueError(f"label is {self.label!r}, expected {' or '.join(KINDS)}")
        for name in ("rater", "criterion"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected text")

    @property
    def sample(self) -> Sample:
        """What was judged."""
        sample = self.latent or self.seed
        assert sample is not None
        return sample


@dataclass(frozen=True)
class Labels:
    """Labels of one generator (its fingerprint) by any number of raters."""

    generator: str
    items: tuple[Label, ...]

    def samples(self, kind: str) -> list[Sample]:
        """What raters agree on being of a kind, by majority: seeds, ascending, then latents. Ties
        belong to no kind."""
        votes: dict[Sample, Counter[str]] = defaultdict(Counter)
        for item in self.items:
            votes[item.sample][item.label] += 1
        agreed = (sample for sample, vote in votes.items() if 2 * vote[kind] > vote.total())
        return sorted(agreed, key=_order)

    def seeds(self, kind: str) -> list[int]:
        """Those of `samples` that are seeds."""
        return [sample for sample in self.samples(kind) if isinstance(sample, int)]

    def digest(self) -> str:
        """16 hexadecimal digits that change with what raters agree on."""
        agreed = repr([self.samples(kind) for kind in KINDS])
        return hashlib.sha256(agreed.encode()).hexdigest()[:16]

    def check(self, fingerprint: str) -> Labels:
        """The labels themselves; raises GanfixError if they are of another generator."""
        if self.generator != fingerprint:
            raise GanfixError(
                f"labels: are of another generator (fingerprint {self.generator[:16]}, this one "
                f"has {fingerprint[:16]}); label this one, or name its own file"
            )
        return self


def seeds_of(text: str) -> list[int]:
    """The seeds in ``0-7``, ``3,5`` or a mixture.

    Raises:
        ValueError: naming the part that is something else, or is over `LAST_SEED`.
    """
    seeds: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) > LAST_SEED:
            raise ValueError(f"found {part!r}, expected seeds such as 0-7 or 1,5,8")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return seeds


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as `seeds_of` reads them, in their order: ``0-2,5``."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in runs)


def read(path: Path) -> Labels:
    """Read a CSV or JSON label file.

    Raises:
        GanfixError: naming file and line of what is missing or malformed.
    """
    as_json = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
        rows = parsed(text) if as_json else list(csv.DictReader(io.StringIO(text)))
        if not isinstance(rows, list):
            raise TypeError("expected a list of labels")
    except FileNotFoundError:
        raise GanfixError(f"labels {path}: no such file") from None
    except (OSError, ValueError, csv.Error, TypeError) as error:
        raise GanfixError(f"labels {path}: no label file ({error})") from None
    generators, items = set(), []
    for number, row in enumerate(rows, 1 if as_json else 2):  # the header is a row of a CSV
        try:
            generator, item = _read_row(row)
        except (KeyError, ValueError) as error:
            what = f"column {error} is missing" if isinstance(error, KeyError) else error
            raise GanfixError(f"labels {path}, row {number}: {what}") from None
        generators.add(generator)
        items.append(item)
    if len(generators) != 1:
        content = f"{len(generators)} generators" if generators else "no labels"
        raise GanfixError(f"labels {path}: found {content}, expected labels of one generator")
    return Labels(generators.pop(), tuple(items))


def write(labels: Labels, path: Path) -> None:
    """Write a label file, CSV or JSON by its ending, whole or not at all."""
    columns = ["seed", "label", "rater", "criterion"]
    if any(item.latent is not None for item in labels.items):
        columns.append("latent")
    rows: list[dict[str, Any]] = [
        {"generator": labels.generator, **{name: getattr(item, name) for name in columns}}
        for item in labels.items
    ]
    if path.suffix == ".json":
        return write_text(path, json.dumps(rows, indent=1) + "\n", "labels")
    for row in rows:
        if row.get("latent"):
            row["latent"] = " ".join(map(repr, row["latent"]))
    table = io.StringIO()
    writer = csv.DictWriter(table, ["generator", *columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue(), "labels")


def stored_path(generator: str) -> Path:
    """Where the labels of a generator, by its fingerprint, are kept for those who name no file."""
    return cache_folder() / "labels" / f"{generator[:16]}.csv"


def stored(generator: str) -> Labels | None:
    """The labels by people that the store has of a generator, by its fingerprint; None if none."""
    path = stored_path(generator)
    if not path.exists():
        return None
    labels = read(path).check(generator)
    items = tuple(item for item in labels.items if item.rater not in AUTOMATIC)
    return Labels(generator, items) if items else None


def keep(labels: Labels) -> None:
    """Add labels to those that the store has of their generator, but no automatic ones, which are
    no more than what ganfix finds by itself."""
    if items := tuple(item for item in labels.items if item.rater not in AUTOMATIC):
        path = stored_path(labels.generator)
        before = [read(path)] if path.exists() else []
        write(merge([*before, Labels(labels.generator, items)]), path)


def merge(files: Iterable[Labels]) -> Labels:
    """All labels of several files; a rater's later word on a sample replaces the earlier one.

    Raises:
        GanfixError: if they are of different generators, or there are none.
    """
    files = list(files)
    generators = {labels.generator for labels in files}
    if len(generators) != 1:
        raise GanfixError(f"labels: found {len(generators)} generators, expected files of one")
    last = {(item.rater, item.sample): item for labels in files for item in labels.items}
    ordered = sorted(last.values(), key=lambda item: (*_order(item.sample), item.rater))
    return Labels(generators.pop(), tuple(ordered))


def _order(sample: Sample) -> tuple[int, tuple[float, ...]]:
    """Seeds in front, in their order, then latents."""
    return (0, (sample,)) if isinstance(sample, int) else (1, sample)


def _read_row(row: Any) -> tuple[str, Label]:
    """The generator and the label of a row: all text in a CSV, anything in JSON."""
    if not isinstance(row, dict):
        raise ValueError(f"found {row!r}, expected an object with seed, label and generator")
    generator, seed = row["generator"], row.get("seed") if row.get("latent") else row["seed"]
    if not isinstance(generator, str):
        raise ValueError(f"generator is {generator!r}, expected a fingerprint")
    if isinstance(seed, str) and seed.strip().isdecimal():
        seed = int(seed)
    latent = row.get("latent") or None
    if latent is not None:
        seed = None if seed == "" else seed
        try:
            latent = tuple(map(float, latent.split() if isinstance(latent, str) else latent))
        except (TypeError, ValueError):
            raise ValueError("latent is no list of numbers") from None
    text = (row.get("rater") or "", row.get("criterion") or "")
    return generator, Label(seed, row["label"], *text, latent)
