"""What ``--correct steer`` costs a sample that it moves, beside a generation as generate.py has it.

The generator is StyleGAN2 of the released models' widths with random weights, and the probe, of its
first three layers, goes by the LR count, whose target is the farthest. One image at a time.
"""

from __future__ import annotations

import copy
import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from core import Results, Row, Setup, duration, side_by_side
from networks import render, stylegan2
from torch import Tensor

from ganfix_plugin import attach

LIMITS = {256: 0.5, 1024: 0.08}  # of a generation
GRADIENTS = 2.5


def measure(setup: Setup) -> Results:
    """The cost of flagged and of other samples, and how many gradients a flagged one takes."""
    for resolution in (16,) if setup.quick else LIMITS:
        yield from _compared(resolution, setup)


def _compared(resolution: int, setup: Setup) -> Iterator[Row]:
    G = stylegan2(resolution, setup.ada)
    steered = copy.deepcopy(G)
    samples = setup.size(300, 120)
    with (
        TemporaryDirectory() as folder,
        patch.dict("os.environ", GANFIX_CACHE=folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        attached = attach(steered, f"steer:from=lr,samples={samples}")
    z = [torch.from_numpy(np.random.RandomState(seed).randn(1, 512)) for seed in range(60)]
    gate = attached.corrections[0].gate
    assert gate is not None
    flagged, others = [], []
    for each in z:
        ws = G.mapping(each, None)
        score = float(gate.scorer(steered.synthesis, (ws,), {"noise_mode": "const"}))
        (flagged if score > gate.threshold else others).append(each)
    num = setup.size(4 if resolution < 512 else 2, 1)
    works = {
        "plain": lambda: [render(G, each) for each in flagged[:num]],
        "flagged": lambda: [render(steered, each) for each in flagged[:num]],
        "plain, others": lambda: [render(G, each) for each in others[:num]],
        "others": lambda: [render(steered, each) for each in others[:num]],
    }
    small = resolution < 512
    turns = side_by_side(works, setup.repeats if small else 2, warm=int(small))
    time = turns.median("plain") / num
    for name, plain, what in (
        ("flagged", "plain", "a flagged sample"),
        ("others", "plain, others", "a sample that is not flagged"),
    ):
        share = statistics.median(turns.ratios(name, plain)) - 1
        limit = LIMITS.get(resolution) if name == "flagged" else None
        yield Row(
            f"`--correct steer` of StyleGAN2 {resolution}, {what}, more than without",
            duration(share * time),
            f"{duration(time)} generation",
            f"**{share:.1%}**",
            f"≤ {limit:.0%}" if limit else "",
            share <= limit if limit else None,
        )
    if resolution != min(LIMITS) and not setup.quick:
        return  # the layers of the probe are the same
    with _counted() as gradients:
        for each in flagged:
            render(steered, each)
    number = gradients[0] / len(flagged)
    yield Row(
        f"… gradients of a flagged sample, of {len(flagged)}",
        f"{number:.2f}",
        "",
        "",
        f"≤ {GRADIENTS}",
        number <= GRADIENTS,
    )


@contextmanager
def _counted() -> Iterator[list[int]]:
    """How many rows gradients were taken of."""
    rows, grad = [0], torch.autograd.grad

    def count(outputs: Tensor, inputs: Tensor, wanted: Tensor) -> Any:
        rows[0] += int(wanted.count_nonzero())
        return grad(outputs, inputs, wanted)

    with patch("torch.autograd.grad", count):
        yield rows
