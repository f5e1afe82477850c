"""What is carried away of chosen seeds: images with their record, latents, and how to make them."""

from __future__ import annotations

import json
import shlex
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from ganfix_plugin._version import __version__
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts import record
from ganfix_plugin.labels import seeds_text
from ganfix_plugin.moved_latents import (
    Pair,
    entry_name,
    latents_of_calls,
    latents_of_seeds,
    save_latents,
)
from ganfix_plugin.web.studio import Shot, Studio

FOLDER = "images"
_SCRIPTS = ("generate.py", "gen_images.py")  # NVIDIA's, which render seeds


def files(
    draw: Callable[[Shot], tuple[bytes, bool]],
    studio: Studio,
    seeds: Sequence[int],
    specs: tuple[BoundSpec, ...],
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of a PNG of each seed, and in the end of their record.

    Args:
        draw: `Studio.counted`, or what calls that in another thread.
    """
    corrected: dict[str, bool] = {}
    for seed in seeds:
        content, corrected[str(seed)] = draw(Shot((seed,), specs=specs))
        yield f"seed{seed:04d}.png", content
    run = {
        "correct": " ".join(map(str, specs)),
        "ganfix": __version__,
        "network": _opening(studio.generator).get("--network", studio.generator.name),
        "fingerprint": studio.generator.fingerprint,
        "class": studio.class_index,
        "command": shlex.split(command(studio, seeds, specs)),
        "corrected": sum(corrected.values()),
        "samples": len(corrected),
        "corrected_by_seed": corrected,
    }
    yield record.NAME, f"{json.dumps([run], indent=1, ensure_ascii=False)}\n".encode()


def archive(contents: Iterator[tuple[str, bytes]]) -> IO[bytes]:
    """A zip of files, open for reading and gone when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in contents:
            packed.writestr(name, content)
    file.seek(0)
    return file


def latents(studio: Studio, seeds: Sequence[int], specs: tuple[BoundSpec, ...]) -> bytes:
    """An .npz of the latents that the generator's entry is called with, for ``--projected-w``; for
    the thread that renders.

    Raises:
        GanfixError: where a correction is one of feature maps, which no latent can carry.
    """
    ws = latents_of_seeds(studio.generator, seeds, specs, class_index=studio.class_index)
    return _npz(studio.generator, ws, len(seeds), seeds, specs)


def path_latents(studio: Studio, path: Shot) -> bytes:
    """An .npz of the latents of all frames of a path, from its first seed to its last; otherwise
    as `latents`."""
    frames = range((len(path.seeds) - 1) * path.per + 1)
    calls = (studio.call(replace(path, frame=frame)) for frame in frames)
    ws = latents_of_calls(studio.generator, calls, path.specs)
    return _npz(studio.generator, ws, len(frames), path.seeds, path.specs)


def _npz(
    generator: Generator,
    latents: Iterator[Pair],
    count: int,
    seeds: Sequence[int],
    specs: Sequence[BoundSpec],
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "latents.npz"
        save_latents(path, latents, count, entry_name(generator), seeds, specs)
        return path.read_bytes()


def command(studio: Studio, seeds: Sequence[int], specs: Sequence[BoundSpec]) -> str:
    """What makes exactly these images, with their record."""
    words = ["render", "--seeds", seeds_text(seeds), "--out", FOLDER]
    for spec in specs:
        words += ["--correct", str(spec)]
    if studio.class_index is not None:
        words += ["--class", str(studio.class_index)]
    return studio.generator.command(shlex.join(words))


def commands(
    studio: Studio, seeds: Sequence[int], specs: Sequence[BoundSpec]
) -> list[tuple[str, str]]:
    """Commands to copy, each with what it does."""
    lines = [("These images, anywhere:", command(studio, seeds, specs))]
    generator, opening = studio.generator, _opening(studio.generator)
    host = Path(opening.get("--host", "."))
    script = next((name for name in _SCRIPTS if (host / name).is_file()), "")
    dealt = generator.classes and studio.class_index is None
    if script and generator.adapter.name.startswith("nvidia") and not dealt:
        words = ["ganfix", "run"]
        words += ["--device", opening["--device"]] if "--device" in opening else []
        words += [script, f"--network={opening['--network']}", f"--seeds={seeds_text(seeds)}"]
        words += [f"--outdir={FOLDER}"]
        words += [f"--class={studio.class_index}"] if studio.class_index is not None else []
        words += [f"--correct={spec}" for spec in specs]
        lines.append(("By the codebase's own script, in its folder:", shlex.join(words)))
        if script == _SCRIPTS[0]:
            words = ["python", script, f"--network={opening['--network']}"]
            words += ["--projected-w=w.npz", f"--outdir={FOLDER}"]
            lines.append(("From w.npz, without ganfix:", shlex.join(words)))
    return lines


def _opening(generator: Generator) -> dict[str, str]:
    """The options with which commands open a generator."""
    words = shlex.split(generator.options)
    return dict(zip(words[::2], words[1::2]))
