"""Corrected latents, for places that render latents but have no ganfix.

A corrector that moves latents by gradients fits into no network pickle, but what it moves them to
fits into a file that the hosts' own scripts read, such as ``generate.py --projected-w``.
"""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor, nn

from ganfix_plugin._version import __version__
from ganfix_plugin.correctors.bind import BoundSpec, parse_specs
from ganfix_plugin.correctors.plan import correction_of
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import written
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class, seed_batches
from ganfix_plugin.hooks.attachment import called_corrected
from ganfix_plugin.hooks.forward import Args, Kwargs
from ganfix_plugin.profiling.unit_means import entry_call
from ganfix_plugin.rows import RowFile, Rows

Pair = tuple[Tensor, Tensor]
"""What an entry is called with for one latent [1, …], float32: uncorrected and corrected."""


def corrected_latents(
    G: nn.Module | Generator,
    seeds: Sequence[int],
    *specs: str | BoundSpec,
    psi: float = 1.0,
    class_index: int | None = None,
    adapter: str | None = None,
    measure_on: torch.device | str | None = None,
) -> Tensor:
    """What a generator's entry is called with for seeds, corrected: its ws, or z where it takes z.

        ws = ganfix.corrected_latents(G, range(100), "steer")
        images = G.synthesis(ws, noise_mode="const")

    Each seed by itself, as the hosts' scripts call their generators, so that the images are bit for
    bit those of a corrected script.

    Args:
        G: a generator in evaluation mode, or a `Generator`.
        seeds: the hosts' own; seed 5 is what ``generate.py --seeds=5`` renders.
        specs: corrections of latents (``steer``, ``boundary``, ``truncation``), in order; none
            gives the latents as they are.
        psi: the script's own truncation, of NVIDIA's generators.
        class_index: of conditional generators.
        adapter: an adapter's name, where none or several recognise G.
        measure_on: measure a copy of G on this device.

    Returns:
        float32 on the CPU: ws [N, num_ws, w_dim] of NVIDIA's generators, of others the shape that
        they take.

    Raises:
        GanfixError: on a bad spec, a correction of feature maps, which no latent can carry, a class
            or psi that the generator does not have.
    """
    generator, latents = Generator.of(G, adapter), Rows()
    for _, corrected in latents_of_seeds(
        generator, seeds, parse_specs(specs), psi, class_index, measure_on
    ):
        latents.add(corrected)
    return latents.whole()


def latents_of_seeds(
    generator: Generator,
    seeds: Sequence[int],
    specs: Sequence[BoundSpec],
    psi: float = 1.0,
    class_index: int | None = None,
    measure_on: torch.device | str | None = None,
) -> Iterator[Pair]:
    """Of each seed what `corrected_latents` gives, and what it corrects; errors at once."""
    check_class(generator, class_index)
    truncation = _truncation(generator, psi)
    if not seeds:
        raise GanfixError("latents: found no seeds, expected at least 1")
    calls = (
        entry_call(generator, lambda view: truncation(view, z, c))
        for z, c in seed_batches(generator, seeds, 1, class_index)
    )
    return latents_of_calls(generator, calls, specs, measure_on)


def latents_of_calls(
    generator: Generator,
    calls: Iterable[tuple[nn.Module, Args, Kwargs]],
    specs: Sequence[BoundSpec],
    measure_on: torch.device | str | None = None,
) -> Iterator[Pair]:
    """The same of calls of the entry for one latent (`entry_call`)."""
    for spec in specs:
        if set(spec.corrector.needs) - {"probe"}:
            raise _of_maps(str(spec))
    corrections = [correction_of(generator, spec, measure_on) for spec in specs]
    for correction in corrections:
        if not all(layer.of_input for layer in correction.layers):
            raise _of_maps(correction.text)

    def pair(entry: nn.Module, args: Args, kwargs: Kwargs) -> Pair:
        uncorrected = generator.adapter.latent(entry, args, kwargs).x.float()
        with torch.no_grad():
            for correction in corrections:
                args, kwargs = called_corrected(correction, entry, args, kwargs)
        return uncorrected, generator.adapter.latent(entry, args, kwargs).x.float()

    return (pair(*call) for call in calls)


def save_latents(
    path: Path,
    latents: Iterable[Pair],
    count: int,
    name: str,
    seeds: Sequence[int],
    specs: Sequence[BoundSpec],
) -> tuple[tuple[int, ...], int]:
    """Write corrected latents one by one, as `files.written` does; see `SUFFIXES`.

    Args:
        count: how many will come.
        name: of the array, "w" or "z".
        seeds: whose they are, or those of a path between which they lie; with the specs that
            corrected them, only in .npz.

    Returns:
        The shape of the array [N, …], and how many of it were moved.

    Raises:
        GanfixError: on another ending, or if the file cannot be written.
    """
    check_suffix(path)
    shape, moved = tuple[int, ...](), 0

    def rows() -> Iterator[Tensor]:
        nonlocal shape, moved
        for uncorrected, corrected in latents:
            shape = (count, *corrected.shape[1:])
            moved += not torch.equal(uncorrected, corrected)
            yield corrected.cpu()

    with written(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".npz":
            about = {"seeds": seeds, "correct": " ".join(map(str, specs)), "ganfix": __version__}
            with zipfile.ZipFile(file, "w") as archive:  # as np.savez makes it
                with archive.open(f"{name}.npy", "w", force_zip64=True) as array:
                    _write_array(array, rows(), count)
                for key, value in about.items():
                    with archive.open(f"{key}.npy", "w", force_zip64=True) as array:
                        npy.write_array(array, np.array(value), allow_pickle=False)
        elif path.suffix == ".npy":
            _write_array(file, rows(), count)
        else:
            whole = RowFile()
            for row in rows():
                whole.add(row)
            torch.save(whole.whole(), file)
    return shape, moved


def _write_array(file: IO[bytes], rows: Iterable[Tensor], count: int) -> None:
    """Write an array of so many rows [1, …] as np.save does."""
    for number, row in enumerate(rows):
        if not number:
            header = npy.header_data_from_array_1_0(row.numpy())
            npy.write_array_header_1_0(file, {**header, "shape": (count, *row.shape[1:])})
        file.write(row.numpy().tobytes())


def entry_name(generator: Generator) -> str:
    """What a generator's entry takes: "w", or "z"."""
    return "w" if generator.adapter.styled else "z"


SUFFIXES = {
    ".npz": "an array w (or z), as generate.py --projected-w reads it",
    ".npy": "the array alone, as InterFaceGAN and its kin read it",
    ".pt": "one tensor, as tools around pSp and e4e read it",
}


def check_suffix(path: Path) -> None:
    """Raises GanfixError if a file of latents cannot end like this."""
    if path.suffix not in SUFFIXES:
        raise GanfixError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")


def _truncation(generator: Generator, psi: float) -> Callable[..., Any]:
    """What runs a view of the generator on (z, c) at a psi."""
    if psi == 1:
        return lambda view, z, c: generator.synthesize(z, c, view)
    if "truncation_psi" not in inspect.signature(generator.G.forward).parameters:
        raise GanfixError(
            f"--trunc {psi:g}: {generator.name} takes no truncation_psi; use --correct truncation"
        )

    def call(view: Any, z: Tensor, c: Tensor | None) -> Any:
        c = z.new_zeros(len(z), 0) if c is None else c
        return view(z, c, truncation_psi=psi, noise_mode="const")

    return call


def _of_maps(spec: str) -> GanfixError:
    return GanfixError(
        f"latents: {spec} corrects feature maps, which no latent can carry; use steer, boundary or "
        "truncation, or ganfix export"
    )
