"""The metrics by name, running one, and recording its result."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import Any

import dnnlib
import torch

from . import metric_utils
from .metric_utils import MetricOptions

Metric = Callable[[MetricOptions], dict[str, float]]
_metric_dict: dict[str, Metric] = {}


def register_metric(fn: Metric) -> Metric:
    """Decorator: the function's name becomes a metric; it takes options and returns results."""
    _metric_dict[fn.__name__] = fn
    return fn


def is_valid_metric(metric: str) -> bool:
    return metric in _metric_dict


def list_valid_metrics() -> list[str]:
    return list(_metric_dict)


def calc_metric(metric: str, **kwargs: Any) -> dnnlib.EasyDict:
    """Run one metric on this rank; every rank gets rank 0's results. `kwargs` as MetricOptions."""
    opts = MetricOptions(**kwargs)
    start = time.time()
    results = _metric_dict[metric](opts)
    for key, value in results.items():
        shared = torch.tensor(value, dtype=torch.float64, device=opts.device)
        if opts.num_gpus > 1:
            torch.distributed.broadcast(shared, src=0)
        results[key] = shared.item()
    seconds = time.time() - start
    return dnnlib.EasyDict(
        results=dnnlib.EasyDict(results),
        metric=metric,
        total_time=seconds,
        total_time_str=dnnlib.util.format_time(seconds),
        num_gpus=opts.num_gpus,
    )


def report_metric(
    result_dict: dict[str, Any], run_dir: str | None = None, snapshot_pkl: str | None = None
) -> None:
    """Print a result as one line of JSON; with a run folder, append it to metric-<name>.jsonl."""
    where = os.path.relpath(snapshot_pkl, run_dir) if snapshot_pkl and run_dir else snapshot_pkl
    line = json.dumps({**result_dict, "snapshot_pkl": where, "timestamp": time.time()})
    print(line)
    if run_dir is not None:
        path = os.path.join(run_dir, f"metric-{result_dict['metric']}.jsonl")
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def _fid(opts: MetricOptions, num_gen: int) -> float:
    whole = dnnlib.EasyDict(opts.dataset_kwargs, max_size=None, xflip=False)
    return metric_utils.compute_fid(
        dataclasses.replace(opts, dataset_kwargs=whole), max_real=None, num_gen=num_gen
    )


@register_metric
def fid1k(opts: MetricOptions) -> dict[str, float]:
    """Fréchet distance of 1,000 generated images to the whole data set."""
    return {"fid1k": _fid(opts, num_gen=1000)}


@register_metric
def fid200(opts: MetricOptions) -> dict[str, float]:
    """The same with 200 generated images: biased upwards, for quick looks."""
    return {"fid200": _fid(opts, num_gen=200)}
