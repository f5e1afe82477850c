"""Corrected latents, for places that render latents but have no ganfix.

A corrector that moves latents by gradients fits into no network pickle, but what it moves them to
fits into a file that the hosts' own scripts read, such as ``generate.py --projected-w``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
from ganfix_plugin.workers import Rows


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
    generator = Generator.of(G, adapter)
    check_class(generator, class_index)
    truncation = _truncation(generator, psi)
    calls = (
        entry_call(generator, lambda view: truncation(view, z, c))
        for z, c in seed_batches(generator, seeds, 1, class_index)
    )
    return latents_of_calls(generator, calls, parse_specs(specs), measure_on)


def latents_of_calls(
    generator: Generator,
    calls: Iterable[tuple[nn.Module, Args, Kwargs]],
    specs: Sequence[BoundSpec],
    measure_on: torch.device | str | None = None,
) -> Tensor:
    """The corrected latents of calls of the entry (`entry_call`), as `corrected_latents` gives
    those of seeds; errors likewise."""
    for spec in specs:
        if set(spec.corrector.needs) - {"probe"}:
            raise _of_maps(str(spec))
    corrections = [correction_of(generator, spec, measure_on) for spec in specs]
    for correction in corrections:
        if not all(layer.of_input for layer in correction.layers):
            raise _of_maps(correction.text)
    latents = Rows()
    for entry, args, kwargs in calls:
        with torch.no_grad():
            for correction in corrections:
                args, kwargs = called_corrected(correction, entry, args, kwargs)
        latents.add(generator.adapter.latent(entry, args, kwargs).x.float())
    if not len(latents.whole()):
        raise GanfixError("latents: found no seeds, expected at least 1")
    return latents.whole()


def save_latents(
    path: Path, latents: Tensor, name: str, seeds: Sequence[int], correct: str
) -> None:
    """Write latents [N, …] as `files.written` does; see `SUFFIXES`.

    Args:
        name: of the array, "w" or "z".
        seeds: whose they are, or those of a path between which they lie; ``correct``: the specs
            that corrected them. Only .npz holds these.

    Raises:
        GanfixError: on another ending, or if the file cannot be written.
    """
    check_suffix(path)
    with written(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".npz":
            arrays: dict[str, Any] = {name: latents.numpy(), "seeds": np.array(seeds)}
            np.savez(file, **arrays, correct=np.array(correct), ganfix=np.array(__version__))
        elif path.suffix == ".npy":
            np.save(file, latents.numpy())
        else:
            torch.save(latents, file)


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
