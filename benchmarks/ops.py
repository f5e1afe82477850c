"""The native pass over a corrected layer beside the best that PyTorch does, on one core.

    python benchmarks/ops.py [--repeats 30]

A whole pass applies an edit, adds to the counts of active neurons, and counts each sample's active
low-rate neurons. Of several ways to write that in PyTorch the fastest stands in the table. Its
parts follow: ganfix counts while it profiles, and counts LR-neurons while it detects.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import torch
from torch import Tensor

from ganfix_plugin import ops
from ganfix_plugin.ops import reference

SHAPES = [(4, 512, 16, 16), (32, 512, 4, 4), (32, 512, 8, 8), (32, 512, 16, 16)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def ways(x: Tensor, cap: Tensor, low: Tensor, counts: Tensor, scores: Tensor) -> list[Any]:
    """A whole pass in PyTorch, written in several ways."""
    n = len(x)
    last = not x.is_contiguous()
    weights = (low.permute(1, 2, 0) if last else low).reshape(-1).float()

    def flat(active: Tensor) -> Tensor:
        return (active.permute(0, 2, 3, 1) if last else active).reshape(n, -1)

    def start() -> tuple[Tensor, Tensor]:
        y, active = x.clamp(max=cap), x > 0
        counts.add_(active.view(torch.uint8).sum(0, dtype=torch.uint8))
        return y, active

    def by_sum() -> Tensor:
        y, active = start()
        scores.add_((active & low).sum((1, 2, 3), dtype=torch.int32))
        return y

    def by_bytes() -> Tensor:
        y, active = start()
        rows = flat(active & low).view(torch.uint8).view(n, -1, 128)
        scores.add_(rows.sum(2, dtype=torch.uint8).sum(1, dtype=torch.int32))
        return y

    def by_count_nonzero() -> Tensor:
        y, active = start()
        scores.add_(torch.count_nonzero(active & low, dim=(1, 2, 3)))
        return y

    def by_product() -> Tensor:
        y, active = start()
        scores.add_((flat(active).float() @ weights).int())
        return y

    return [by_sum, by_bytes, by_count_nonzero, by_product]


def compared(repeats: int, ours: Callable[[], Any], *theirs: Callable[[], Any]) -> list[float]:
    """Microseconds of interleaved runs, medians: ours, and the fastest of theirs."""
    times: list[list[float]] = [[] for _ in (ours, *theirs)]
    for turn in range(repeats + 2):
        for place, work in enumerate((ours, *theirs)):
            start = time.perf_counter()
            work()
            if turn > 1:
                times[place].append(1e6 * (time.perf_counter() - start))
    mine, *others = (statistics.median(each) for each in times)
    return [mine, min(others)]


@click.command()
@click.option("--repeats", default=30, show_default=True, help="Interleaved runs of each.")
def main(repeats: int) -> None:
    """Print a Markdown table of microseconds, native / PyTorch, and how many times faster."""
    os.environ["GANFIX_OPS"] = "native"
    torch.set_num_threads(1)
    if ops.implementation(torch.zeros(1, 1, 1, 1)) is reference:
        raise click.ClickException(f"no native ops: {ops.why_reference('cpu')}")
    native = torch.ops.ganfix
    click.echo("| map | whole pass | | cap alone | scale alone | counts alone | LR counts alone |")
    click.echo("|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for dtype in DTYPES:
            for layout, order in LAYOUTS.items():
                x = torch.randn(shape).to(dtype).contiguous(memory_format=order)
                low = torch.empty_like(x[0], dtype=torch.bool).copy_(torch.rand(shape[1:]) < 0.3)
                cap = torch.full_like(x[0], torch.inf).masked_fill_(low, 0)
                factor = torch.rand(shape[1]).to(dtype)
                counts = torch.zeros_like(x[0], dtype=torch.int32)
                scores = torch.zeros(shape[0], dtype=torch.int32)
                more = {"counts": counts, "low_rate": low, "scores": scores}
                mine, best = compared(
                    repeats,
                    lambda: native.correct_and_count(x, cap, **more),
                    *ways(x, cap, low, counts, scores),
                )
                parts = [
                    compared(repeats, lambda: work(native), lambda: work(reference))
                    for work in (
                        lambda each: each.correct(x, cap),
                        lambda each: each.correct(x, None, factor),
                        lambda each: each.count_(x, counts),
                        lambda each: each.count_(x, None, low, scores),
                    )
                ]
                cells = " | ".join(f"{one:.0f} / {other:.0f}" for one, other in parts)
                title = f"{'×'.join(map(str, shape))} {str(dtype)[6:]} {layout}"
                click.echo(f"| {title} | {mine:.0f} / {best:.0f} | {best / mine:.1f}× | {cells} |")


if __name__ == "__main__":
    main()
