"""The record beside the images of a corrected run: which of them were corrected, how, by what.

The images themselves carry no mark, and lie among others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import parsed, write_text

if TYPE_CHECKING:
    from ganfix_plugin.hooks.attachment import Attachment

NAME = "ganfix.json"


@dataclass(frozen=True)
class CommandLine:
    """What was typed.

    Attributes:
        words: the script and its arguments, ``--correct`` among them.
        network: the network that it names, if it names one.
        output: where the script's images go; None if that is not known.
    """

    words: tuple[str, ...] = ()
    network: str = ""
    output: Path | None = None


def leave(
    line: CommandLine,
    provenance: Mapping[str, str],
    attachments: Sequence[Attachment],
    seeds: Sequence[int] = (),
) -> Path | None:
    """Add a run to the record in the folder of its images, a JSON list, the last run last.

    Args:
        seeds: of the images, in their order, one per sample; empty where they are not known.

    Returns:
        The file; None where nothing was to be corrected, or it is not known where the images are.

    Raises:
        GanfixError: if it cannot be written, or another file is in its place.
    """
    folder = line.output if line.output is None or line.output.is_dir() else line.output.parent
    corrections = [entry for attached in attachments for entry in _of(attached, seeds)]
    if folder is None or not folder.is_dir() or not corrections:
        return None
    file = folder / NAME
    runs: list[Any] = []
    try:
        runs = parsed(file.read_text(encoding="utf-8"))
        if not isinstance(runs, list):
            raise ValueError("expected a list of runs")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise GanfixError(
            f"record {file}: is there already, and damaged or none of ganfix ({error}); the images "
            "are whole; move it away"
        ) from None
    about = {**provenance, "network": line.network, "command": ["ganfix", "run", *line.words]}
    runs.append({**about, "corrections": corrections})
    write_text(file, json.dumps(runs, indent=1, ensure_ascii=False) + "\n", "record")
    return file


def _of(attached: Attachment, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """What each correction of a generator did."""
    entries: list[dict[str, Any]] = []
    for correction, count in zip(attached.corrections, attached.counts):
        if not correction.layers:
            continue  # ``none``
        entry = {"correct": correction.text, "corrected": count.corrected, "samples": count.samples}
        if seeds and count.samples == len(seeds):
            of_seeds = {str(seed): bool(row) for seed, row in zip(seeds, count.rows)}
            entry["corrected_by_seed"] = of_seeds
        entries.append(entry)
    return entries
