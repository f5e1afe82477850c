"""Activation rates: how often each neuron is positive ([C22], section 3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ganfix_plugin.adapters import Adapter, Latents, Layer
from ganfix_plugin.ops import implementation
from ganfix_plugin.passes import observe
from ganfix_plugin.ranks import rank

BATCH = 32
T = TypeVar("T")

Part = tuple[int, int]
"""(i, n): batches i, i + n, i + 2n, …"""

ALL: Part = (0, 1)


class _Bar(tqdm):
    """A progress bar whose lock is of this process only: tqdm's own one would fix the start method
    of multiprocessing, which hosts set themselves."""

    _lock = threading.RLock()


_CACHE = 4 << 20  # bytes


def count_active(
    G: nn.Module,
    adapter: Adapter,
    layers: Sequence[Layer],
    latents: Latents,
    samples: int,
    batch: int | None = None,
    part: Part = ALL,
) -> dict[str, Tensor]:
    """Count over latents how often each neuron of some layers is activated, f_n(z) > 0.

    Passes end after the deepest of the layers, and counting is in integers, so that memory does
    not grow with ``samples``.

    Args:
        G: the generator, at truncation psi 1 and constant noise.
        latents: the stream of inputs; its first ``samples`` are used.
        batch: latents per pass, by default `fitting_batch`; the counts depend on it no more than
            the generator itself does.
        part: only these of the batches; the counts of all parts sum up to those of ``ALL``.

    Returns:
        int32 [C, H, W] by layer name, on the CPU.
    """
    counts: dict[str, Tensor] = {}
    batch = batch or fitting_batch(layers, device_of(G))

    def visit(layer: Layer, x: Tensor) -> None:
        if layer.name not in counts:
            # In the feature map's own memory order.
            counts[layer.name] = torch.zeros_like(x[0], dtype=torch.int32)
        implementation(x).count_(x, counts[layer.name])

    for z, c in latent_batches(latents, samples, batch, G, "rates", part):
        observe(G, layers, visit, lambda view: adapter.synthesize(view, z, c))
    return {name: count.cpu().contiguous() for name, count in counts.items()}


def count_low_rate(
    G: nn.Module,
    adapter: Adapter,
    low_rate: Sequence[tuple[Layer, Tensor]],
    latents: Latents,
    samples: int,
    batch: int | None = None,
    part: Part = ALL,
) -> Tensor:
    """The LR count of each of the first ``samples`` latents of a stream: int32 [samples], or of a
    part of their batches."""
    scores = [torch.zeros(0, dtype=torch.int32)]
    batch = batch or fitting_batch([layer for layer, _ in low_rate], device_of(G))
    for z, c in latent_batches(latents, samples, batch, G, "scores", part):
        score = lr_count(G, low_rate, lambda view: adapter.synthesize(view, z, c))
        scores.append(score.cpu())
    return torch.cat(scores)


def lr_count(
    root: nn.Module,
    low_rate: Sequence[tuple[Layer, Tensor]],
    call: Callable[[nn.Module], Any],
) -> Tensor:
    """How many low-rate neurons are activated in each sample of one pass ([C22], section 4.1).

    Args:
        root: the module that ``call`` runs, for example ``lambda G: G(z)``.
        low_rate: layers, named relative to root, with bool [C, H, W] at their LR-neurons.

    Returns:
        int32 [N], on the generator's device; higher is more artifact-like.
    """
    scores: list[Tensor] = []
    neurons = {layer.name: mask for layer, mask in low_rate}

    def visit(layer: Layer, x: Tensor) -> None:
        if not scores:
            scores.append(torch.zeros(len(x), dtype=torch.int32, device=x.device))
        mask = neurons[layer.name].to(x.device)
        implementation(x).count_(x, None, mask, scores[0])

    observe(root, [layer for layer, _ in low_rate], visit, call)
    return scores[0]


def fitting_batch(layers: Sequence[Layer], device: torch.device) -> int:
    """How many latents to run at once, where speed alone decides.

    A modulated convolution has kernels of its own for each latent. On a CPU, moving those of a
    whole batch through memory takes longer than the convolution: the early layers of StyleGAN2,
    512 units each, run 2 to 3 times faster on 2 latents at a time than on 32.
    """
    kernels = [36 * layer.channels**2 for layer in layers if layer.modulated]
    if device.type != "cpu" or not kernels:
        return BATCH
    return min(max(_CACHE // max(kernels), 2), BATCH)


def device_of(G: nn.Module) -> torch.device:
    """Where a generator's parameters are."""
    return next((tensor.device for tensor in G.parameters()), torch.device("cpu"))


def latent_batches(
    latents: Latents, samples: int, batch: int, G: nn.Module, what: str, part: Part = ALL
) -> Iterable[tuple[Tensor, Tensor | None]]:
    """(z, c) batches of a stream as the generator's own tensors are, with a progress bar."""
    index, parts = part
    every = islice(latents.batches(samples, batch, device_of(G)), index, None, parts)
    batches = (like_parameters(G, z, c) for z, c in every)
    total = len(range(index, -(-samples // batch), parts))
    return progress(batches, total, f"measuring {what}")


def like_parameters(G: nn.Module, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Latents and labels on the device and of the type of a generator's parameters, which may be
    half precision."""
    like = next(G.parameters(), z)
    return z.to(like), None if c is None else c.to(like)


def progress(steps: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The same steps, with a progress bar on a terminal; of several ranks only the first's."""
    hidden = True if rank() else None
    return _Bar(steps, total=total, desc=f"ganfix: {what}", leave=False, disable=hidden)
