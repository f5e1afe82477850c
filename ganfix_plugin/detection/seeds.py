"""The inputs that a host's scripts draw for a seed, or latents that are given, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ganfix_plugin.adapters import Adapter
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.labels import Sample, latents_of
from ganfix_plugin.profiling.rates import BATCH, like_parameters

Batch = tuple[Tensor, Tensor | None]


def seed_batches(
    G: nn.Module,
    adapter: Adapter,
    samples: Sequence[Sample],
    batch: int = BATCH,
    class_index: int | None = None,
) -> Iterator[Batch]:
    """Yield (z, one-hot c or None) as the generator's own tensors are.

    Args:
        class_index: the class of all images; None deals the classes of a conditional generator
            round by seed.
    """
    for start in range(0, len(samples), batch):
        some = samples[start : start + batch]
        z = latents_of(some, adapter.latent_shape(G))
        c = labels_of(G, adapter, some, class_index)
        yield like_parameters(G, z, c)


def labels_of(
    G: nn.Module, adapter: Adapter, samples: Sequence[Sample], class_index: int | None = None
) -> Tensor | None:
    """One-hot classes [n, classes] of a conditional generator; see `seed_batches`.

    Raises:
        GanfixError: on a latent without a class.
    """
    classes = adapter.num_classes(G)
    if not classes:
        return None
    if class_index is not None:
        dealt = [class_index] * len(samples)
    else:
        dealt = [each % classes for each in samples if isinstance(each, int)]
    if len(dealt) < len(samples):
        raise GanfixError(
            "labels: found latents, expected seeds, since this generator is conditional and a "
            "latent does not say its class"
        )
    return torch.nn.functional.one_hot(torch.tensor(dealt), classes).float()


def check_class(G: nn.Module, adapter: Adapter, class_index: int | None) -> None:
    """Make sure that a seed stands for one image, as in the hosts' scripts.

    Raises:
        GanfixError: if a conditional generator got no class, or there is no such class.
    """
    classes = adapter.num_classes(G)
    if classes and class_index is None:
        raise GanfixError(f"{type(G).__name__} has {classes} classes; choose one by --class")
    if class_index is not None and not 0 <= class_index < classes:
        found = f"{classes} classes" if classes else "no classes"
        raise GanfixError(f"class={class_index}: {type(G).__name__} has {found}")
