"""Metrics of ganfix's own in NVIDIA's registry.

The hosts' metrics draw random latents, a fixed number of them. These take given ones, or as many
as asked for, and generate each with and without the corrections: the papers' protocols.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.bootstrap import Bootstrap, Figure, frechet, mean
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import PAIR_BATCH, both_sides
from ganfix_plugin.generators.find import NotRecognised
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Listed
from ganfix_plugin.generators.replay import Seen
from ganfix_plugin.hosts.flags import LATENTS, NUM_GEN
from ganfix_plugin.hosts.host import Function, around
from ganfix_plugin.hosts.import_hooks import replaced
from ganfix_plugin.hosts.session import Session
from ganfix_plugin.workers import Tensors, joined, numbered, shared

log = logging.getLogger("ganfix")

_LABELS = 256  # of a data set, that are dealt to the latents of a generator that takes such


@dataclass(frozen=True)
class Metric:
    """A metric of ganfix's own.

    Attributes:
        detector_of: the host's metric whose detector and data it takes; its name starts like this.
        figures: what it measures, by what stands after the metric's name.
    """

    detector_of: str
    figures: dict[str, str]

    @property
    def gaussian(self) -> bool:
        """Whether mean and covariance of the real features are enough."""
        return "frechet" in self.figures.values()


_OF_SEEDS = {
    "fid": Metric("fid", {"": "frechet"}),
    "pr": Metric("pr", {"_precision": "precision", "_recall": "recall"}),
    "realism": Metric("pr", {"": "realism"}),
}
_OF_LATENTS = {f"{name}_artifacts": metric for name, metric in _OF_SEEDS.items()}
METRICS = {**_OF_SEEDS, **_OF_LATENTS}


def join_registry(session: Session, register: Function) -> Function:
    """metric_main.register_metric, which gets ours on this occasion."""
    kept: dict[Any, Any] = {}
    taken = getattr(importlib.import_module("metrics.metric_main"), "_metric_dict", {})
    for name in METRICS:
        if name in taken:
            log.warning("--metrics %s: this codebase has one of that name, which is used", name)
            continue
        metric = functools.partial(_measure, session, name, kept)
        functools.update_wrapper(metric, _measure)
        metric.__name__ = name  # type: ignore[attr-defined]
        register(metric)
    return register


@around
def check_metric(session: Session, is_valid: Function, metric: str) -> bool:
    """metric_main.is_valid_metric: asked about every metric before anything is loaded."""
    if metric in _OF_LATENTS and not session.run.metrics.latents:
        raise GanfixError(f"--metrics {metric}: give the latents by {LATENTS.name} FILE")
    return bool(is_valid(metric))


def _measure(session: Session, name: str, kept: dict[Any, Any], opts: Any) -> dict[str, float]:
    """One metric on one rank; figures are rank 0's, the others return NaN under the same names."""
    options, metric = session.run.metrics, METRICS[name]
    request = _requested(metric, opts)
    source, num = options.latents, options.num_gen
    if name not in _OF_LATENTS:
        source, num = f"0-{(num or NUM_GEN) - 1}", None
    real, num_real = _real(request, metric, options.num_real)
    generator = _generator(opts)
    latents = read_latents(source, generator, num)
    key = (source, request["detector_url"], repr(request["detector_kwargs"]))
    if key not in kept:
        # A number, for ranks come here equally often, and what is kept is of one network.
        kept[key] = _sides(session, opts, request, generator, latents, f"{len(kept)}.parts")
    session.notes[name] = {"latents": source, "num_gen": len(latents), "num_real": num_real}
    figures = [Figure("", math.nan)] * len(metric.figures)
    if opts.rank == 0:
        where = opts.device if opts.device.type == "cuda" else torch.device("cpu")
        sides = [side.to(where) for side in kept[key]]
        figures = _figures(metric, real.to(where), sides, Bootstrap(options.resamples))
    return _results(name, figures, session)


def _generator(opts: Any) -> Generator:
    """The generator; one of no known family, which may take a camera, say, as the host's own
    metrics call it: with the labels of the data set."""
    with suppress(NotRecognised):
        return Generator.of(opts.G, guess=False)
    utils, chance = importlib.import_module("dnnlib.util"), torch.Generator().manual_seed(0)
    images = utils.construct_class_by_name(**opts.dataset_kwargs)
    labels = np.stack([images.get_label(i) for i in range(min(len(images), _LABELS))])
    like = next(opts.G.parameters())
    z = torch.randn(len(labels), opts.G.z_dim, generator=chance).to(like)
    call = ((z, torch.from_numpy(labels).to(like)), dict(opts.G_kwargs))
    return Generator.of(opts.G, seen=Seen({"": call}))


def _figures(metric: Metric, real: Any, sides: list[Tensor], how: Bootstrap) -> list[Figure]:
    if metric.gaussian:
        return [frechet(real, sides, how)]
    manifold = Manifold.of(real)
    return [mean(name, manifold, sides, how) for name in metric.figures.values()]


def _results(name: str, figures: list[Figure], session: Session) -> dict[str, float]:
    """By names of which there are the same on all ranks; the metric's own is the run's model."""
    results: dict[str, float] = {}
    keys = ["uncorrected", "difference"] if session.run.specs else []
    keys += ["difference_low", "difference_high"] if keys and session.run.metrics.resamples else []
    for figure, ending in zip(figures, METRICS[name].figures):
        values, label = figure.values(), name + ending
        results[label] = values.get("corrected", figure.uncorrected)
        results |= {f"{label}_{key}": values.get(key, math.nan) for key in keys}
    return results


class _Requested(BaseException):
    """Leaves a metric of the host with the arguments by which it asked for real features."""

    def __init__(self, arguments: dict[str, Any]):
        self.arguments = arguments


def _requested(metric: Metric, opts: Any) -> dict[str, Any]:
    """The data set, detector and its arguments that the host's own metric would take."""
    main = importlib.import_module("metrics.metric_main")
    utils = importlib.import_module("metrics.metric_utils")
    theirs = [name for name in main._metric_dict if name not in METRICS]
    alike = [name for name in theirs if name.startswith(metric.detector_of)] or theirs
    compute = utils.compute_feature_stats_for_dataset
    own_opts = copy.copy(opts)
    own_opts.dataset_kwargs = copy.deepcopy(opts.dataset_kwargs)

    def listen(*args: Any, **kwargs: Any) -> Any:
        raise _Requested(bound_arguments(compute, args, kwargs))

    with replaced(utils, "compute_feature_stats_for_dataset", listen):
        try:
            main._metric_dict[alike[0]](own_opts)
        except _Requested as request:
            return request.arguments
    raise GanfixError(f"{alike[0]} of this codebase reads no real images, which ganfix measures by")


def bound_arguments(function: Function, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names; those of ``**kwargs`` among the others."""
    call = inspect.signature(function).bind(*args, **kwargs)
    by_name: dict[str, Any] = {}
    for name, value in call.arguments.items():
        kind = call.signature.parameters[name].kind
        by_name |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return by_name


def _real(request: dict[str, Any], metric: Metric, num: int | None) -> tuple[Any, int]:
    """Real features, or their Gaussian, by the host's own function and cache; and how many."""
    utils = importlib.import_module("metrics.metric_utils")
    # Not max_items, which is missing from the name of the cached file.
    request["opts"].dataset_kwargs.update(max_size=num, xflip=False)
    kind = {"capture_mean_cov": True} if metric.gaussian else {"capture_all": True}
    arguments = {key: request[key] for key in ("opts", "detector_url", "detector_kwargs")}
    try:
        stats = utils.compute_feature_stats_for_dataset(**arguments, **kind)
    except OSError as error:
        path = request["opts"].dataset_kwargs.get("path")
        raise GanfixError(f"data set {path}: cannot be read: {error}") from error
    n = int(stats.num_items)
    if num and n < num:
        raise GanfixError(f"--num-real {num}: the data set has {n} images; ask for fewer")
    if not metric.gaussian:
        return torch.from_numpy(stats.get_all()), n
    mean, covariance = map(torch.from_numpy, stats.get_mean_cov())
    return Gaussian(mean, covariance * (n / (n - 1))), n


def _sides(
    session: Session,
    opts: Any,
    request: dict[str, Any],
    generator: Generator,
    latents: Listed,
    name: str,
) -> list[Tensor]:
    """Features [n, D] of both sides, or one, made by the ranks that meet in a folder of that name
    and put together."""
    utils = importlib.import_module("metrics.metric_utils")
    ranks = {"num_gpus": opts.num_gpus, "rank": opts.rank}
    detector = utils.get_feature_detector(url=request["detector_url"], device=opts.device, **ranks)

    def look(images: Tensor) -> Tensor:
        features: Tensor = detector(to_pixels(images), **request["detector_kwargs"])
        return features

    progress = opts.progress.sub(tag="given latents", num_items=len(latents))
    corrected = bool(session.run.specs)

    def features(part: int, parts: int) -> Tensors:
        return numbered(looked_at(part, parts), part, parts)

    def looked_at(part: int, parts: int) -> Iterator[Tensors]:
        done = 0
        batches = latents.batches(generator, PAIR_BATCH, (part, parts))
        for sides in both_sides(generator, batches, {"": look}, corrected):
            yield sides
            done += len(sides["uncorrected"]) * parts
            progress.update(min(done, len(latents)))

    folder = (session.run.reports or Path()) / name  # without a folder there is only one rank
    parts = shared(folder, features, group=(opts.rank, opts.num_gpus))
    return [joined(parts, side) for side in ("uncorrected", "corrected")[: 1 + corrected]]
