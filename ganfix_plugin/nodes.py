"""Parts of a work between machines that see no common folder, through torchrun's own store."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import torch
from safetensors.torch import load, save
from torch import Tensor

if TYPE_CHECKING:  # some builds of torch have none
    from torch.distributed import Store

Tensors = dict[str, Tensor]
PATIENCE = 60.0  # seconds at least that a part of another rank is waited for
_CHUNK = 4 << 20  # bytes; the store takes 8 MB at once


@functools.cache
def store_of(place: Path) -> Store | None:
    """Where ranks meet that do not all see one folder ``place``; None if they do, or are on one
    machine, or were not started by torchrun."""
    ranks, here = (int(os.environ.get(name, 0)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if not torch.distributed.is_available() or not 0 < here < ranks:
        return None
    own = int(os.environ["RANK"])
    store, _, _ = next(torch.distributed.rendezvous("env://"))
    if own == 0:
        name = f"meeting-{uuid4().hex}"
        (place / name).touch()
        store.set("ganfix/meeting", name)
    name = store.get("ganfix/meeting").decode()
    store.set(f"ganfix/sees/{own}", str(int((place / name).exists())))
    all_see = all(store.get(f"ganfix/sees/{rank}") == b"1" for rank in range(ranks))
    store.add("ganfix/looked", 1)
    if own == 0:
        while store.add("ganfix/looked", 0) < ranks:
            time.sleep(0.1)
        (place / name).unlink(missing_ok=True)
    return None if all_see else store


def exchanged(
    store: Store, name: str, of_part: Callable[[int], Tensors], own: int, parts: int
) -> list[Tensors]:
    """What ``of_part`` returns for each part, in order: this rank makes its own and hands it on.

    A part that does not come, because a machine is lost or was done before, is made here: after
    three times as long as the own one took, and a minute at least.
    """
    start = time.monotonic()
    made = {own: of_part(own)}
    _send(store, f"{name}/{own}", made[own])
    patience = max(PATIENCE, 3 * (time.monotonic() - start))
    for part in (*range(own + 1, parts), *range(own)):
        try:
            store.wait([f"{name}/{part}/chunks"], timedelta(seconds=patience))
            made[part] = _received(store, f"{name}/{part}")
        except torch.distributed.DistStoreError:
            made[part] = of_part(part)
    return [made[part] for part in range(parts)]


def _send(store: Store, key: str, tensors: Tensors) -> None:
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    for number, chunk in enumerate(chunks):
        store.set(f"{key}/{number}", chunk)  # type: ignore[arg-type]  # bytes are taken, too
    store.set(f"{key}/chunks", str(len(chunks)))


def _received(store: Store, key: str) -> Tensors:
    def chunks() -> Iterator[bytes]:
        for number in range(int(store.get(f"{key}/chunks"))):
            yield store.get(f"{key}/{number}")

    return load(b"".join(chunks()))
