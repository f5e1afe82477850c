"""A corrected generation beside one with plain PyTorch hooks, around layers that do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from core import Results, Setup, Turns, faster, side_by_side
from maps import Replay, random_maps
from torch import Tensor

from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.standalone import Cap


def measure(setup: Setup) -> Results:
    """Ablate low-rate neurons of the three layers that the IJCAI paper corrects."""
    for batch in (1, 32):
        turns = ablated(batch, setup.size(200 if batch == 1 else 40, 3))
        what = f"LR-neurons of 3 layers ablated by hooks, batch {batch}"
        yield faster(what, turns, "ours", "theirs", notes=("", ", plain torch.where hooks"))


def ablated(batch: int, repeats: int) -> Turns:
    """Both ways on the same feature maps; their outputs are equal."""
    ours, theirs = (Replay(*random_maps(batch)) for _ in range(2))
    masks = [torch.rand(x.shape[1:]) < 0.5 for x in ours.maps]
    edits = {layer: Cap(mask) for layer, mask in zip(ours.numbered(), masks)}
    with (
        Attachment(ours, [Correction("seqabl", ours.numbered()[0], edits)]),
        plain_hooks(theirs, masks),
    ):
        assert all(map(torch.equal, ours(), theirs()))
        return side_by_side({"theirs": theirs, "ours": ours}, repeats)


@contextmanager
def plain_hooks(replay: Replay, masks: list[Tensor]) -> Iterator[None]:
    """What one writes by hand: a forward hook with torch.where on each layer."""

    def hook(mask: Tensor) -> Callable[..., Tensor]:
        zero = torch.zeros(())

        def ablate(module: Any, args: Any, x: Tensor) -> Tensor:
            return torch.where(mask & (x > 0), zero, x)

        return ablate

    handles = [layer.register_forward_hook(hook(mask)) for layer, mask in zip(replay.layers, masks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
