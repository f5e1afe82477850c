"""Metrics of ganfix's own in NVIDIA's registry, and detectors where the hosts' cannot be had.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganfix_plugin.artifacts.latent_files import KINDS, LatentList, check_latents, read_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features import bootstrap as comparison
from ganfix_plugin.features.bootstrap import RESAMPLES, Bootstrap, Figure
from ganfix_plugin.features.detector import HINT, Detector, Features
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.manifold import Manifold
from ganfix_plugin.features.render import both_sides, joined
from ganfix_plugin.generators.find import find_adapter
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts.flags import Flag
from ganfix_plugin.hosts.import_hooks import replaced
from ganfix_plugin.workers import Ranks

if TYPE_CHECKING:
    from ganfix_plugin.hosts.session import Session

log = logging.getLogger("ganfix")
Function = Callable[..., Any]
NUM_GEN = 50_000  # as many as the hosts' own metrics generate

DETECTOR = Flag(
    "--detector",
    "FILE",
    "inception.pt",
    f"Where the script's own feature detector cannot be downloaded: {HINT}. It is called with "
    "images [N,3,H,W], uint8, and returns features [N,D].",
)
LATENTS = Flag(
    "--latents",
    "FILE",
    "labels.csv",
    f"For --metrics=fid_artifacts,pr_artifacts,realism_artifacts: {KINDS}. With --correct both "
    "sides are measured on the same latents and noise.",
)
NUM_GENERATED = Flag(
    "--num-gen",
    "N",
    "5000",
    "For --metrics=fid,pr,realism: measure seeds 0 to N−1, with --correct on both sides  "
    f"[default: {NUM_GEN}]; of --latents: at most the first N  [default: all]",
)
NUM_REAL = Flag(
    "--num-real",
    "N",
    "10000",
    "Of the data set, take N images chosen at random, for all metrics of ganfix  [default: all]",
)
INTERVAL = Flag(
    "--resamples",
    "N",
    "200",
    f"Bootstrap resamples for the interval of a difference, 0 for none  [default: {RESAMPLES}]",
)
FLAGS = (DETECTOR, LATENTS, NUM_GENERATED, NUM_REAL, INTERVAL)


@dataclass(frozen=True)
class Measuring:
    """What the metrics of a run work with; it goes along to spawned processes.

    Attributes:
        detector: instead of the host's, everywhere.
        latents: of the metrics of given latents.
        num_gen: how many to generate.
        num_real: how many real images to compare with.
        resamples: of the bootstrap.
    """

    detector: Detector | None = None
    latents: str = ""
    num_gen: int | None = None
    num_real: int | None = None
    resamples: int = RESAMPLES

    @classmethod
    def asked(cls, values: Mapping[str, list[str]]) -> Measuring:
        """From the values of `FLAGS`.

        Raises:
            GanfixError: on a number that is none, or a detector or latents that are not there.
        """
        given = {name: found[0] for name, found in values.items() if found}
        source, latents = given.get(DETECTOR.name), given.get(LATENTS.name, "")
        if latents:
            check_latents(latents)
        return cls(
            Detector.named(source) if source else None,
            latents,
            _whole(NUM_GENERATED, given, 2),
            _whole(NUM_REAL, given, 2),
            RESAMPLES if INTERVAL.name not in given else _whole(INTERVAL, given, 0) or 0,
        )


def _whole(flag: Flag, given: Mapping[str, str], low: int) -> int | None:
    text = given.get(flag.name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < low:
        raise GanfixError(f"{flag.name} {text}: expected a whole number of at least {low}")
    return int(text)


# --- the host's detector


def give_detector(session: Session, get: Function) -> Function:
    """metric_utils.get_feature_detector: what computes features, whatever was to be downloaded."""
    detector = session.measuring.detector
    if not detector:
        return _explained(get)
    loaded: dict[torch.device, Features] = {}
    elsewhere = session.situation.device

    @functools.wraps(get)
    def get_feature_detector(url: str, device: Any = "cpu", *args: Any, **kwargs: Any) -> Features:
        where = torch.device(device)
        if where.type == "cuda" and elsewhere != "cuda":
            where = torch.device(elsewhere)
        if where not in loaded:
            loaded[where] = detector.load(where)
        return loaded[where]

    return get_feature_detector


def _explained(get: Function) -> Function:
    @functools.wraps(get)
    def get_feature_detector(url: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return get(url, *args, **kwargs)
        except OSError as error:  # every error of a connection is one
            raise GanfixError(
                f"feature detector {url}: cannot be downloaded ({type(error).__name__}); give one "
                f"by {DETECTOR.name} {DETECTOR.metavar}"
            ) from error

    return get_feature_detector


def cache_by_detector(session: Session, compute: Function) -> Function:
    """metric_utils.compute_feature_stats_for_dataset: its cache goes by the detector's URL."""
    detector = session.measuring.detector
    if not detector:
        return compute

    @functools.wraps(compute)
    def compute_feature_stats_for_dataset(*args: Any, **kwargs: Any) -> Any:
        call = _bound(compute, args, kwargs)
        call["detector_url"] = f"ganfix-{detector.mark}/{detector.name}.pt"
        return compute(**call)

    return compute_feature_stats_for_dataset


def to_pixels(images: Tensor) -> Tensor:
    """Images [N, 1 or 3, H, W] in [-1, 1] as a detector takes them, uint8 [N, 3, H, W]."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


# --- the host's registry


@dataclass(frozen=True)
class Metric:
    """A metric of ganfix's own.

    Attributes:
        detector_of: the host's metric whose detector and data it takes; its name starts like this.
        gaussian: whether mean and covariance of the real features are enough.
        figures: from real features and both sides to figures.
        names: of the figures, after the metric's name.
    """

    detector_of: str
    gaussian: bool
    figures: Callable[..., list[Figure]]
    names: tuple[str, ...] = ("",)


def _fid(real: Gaussian, *sides: Any) -> list[Figure]:
    return [comparison.frechet(real, *sides)]


def _pr(real: Tensor, *sides: Any) -> list[Figure]:
    manifold = Manifold.of(real)
    return [comparison.precision(manifold, *sides), comparison.recall(manifold, *sides)]


def _realism(real: Tensor, *sides: Any) -> list[Figure]:
    return [comparison.realism(Manifold.of(real), *sides)]


_KINDS = {
    "fid": Metric("fid", True, _fid),
    "pr": Metric("pr", False, _pr, ("_precision", "_recall")),
    "realism": Metric("pr", False, _realism),
}
OF_GIVEN = {f"{name}_artifacts": metric for name, metric in _KINDS.items()}
METRICS = {**_KINDS, **OF_GIVEN}


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


def check_metric(session: Session, is_valid: Function) -> Function:
    """metric_main.is_valid_metric: asked about every metric before anything is loaded."""

    @functools.wraps(is_valid)
    def is_valid_metric(metric: str) -> bool:
        if metric in OF_GIVEN and not session.measuring.latents:
            raise GanfixError(f"--metrics {metric}: give the latents by {LATENTS.name} FILE")
        return bool(is_valid(metric))

    return is_valid_metric


def _measure(session: Session, name: str, kept: dict[Any, Any], opts: Any) -> dict[str, float]:
    """One metric on one rank; figures are rank 0's, the others return NaN under the same names."""
    asked, metric = session.measuring, METRICS[name]
    call = _asked(metric, opts)
    source, num = asked.latents, asked.num_gen
    if name not in OF_GIVEN:
        source, num = f"0-{(num or NUM_GEN) - 1}", None
    real, num_real = _real(call, metric, asked.num_real)
    latents = read_latents(source, Generator.of(opts.G), num)
    key = (source, call["detector_url"], repr(call["detector_kwargs"]))
    if key not in kept:
        kept[key] = _sides(session, opts, call, latents)
    session.notes[name] = {"latents": source, "num_gen": len(latents), "num_real": num_real}
    where = opts.device if opts.device.type == "cuda" else torch.device("cpu")
    sides = [side.to(where) for side in kept[key]]
    if opts.rank != 0:
        return _results(name, [Figure("", math.nan)] * len(metric.names), session)
    both = (*sides, None)[:2]
    figures = metric.figures(real.to(where), *both, Bootstrap(asked.resamples))
    return _results(name, figures, session)


def _results(name: str, figures: list[Figure], session: Session) -> dict[str, float]:
    """By names of which there are the same on all ranks; the metric's own is the run's model."""
    found: dict[str, float] = {}
    keys = ["uncorrected", "difference"] if session.specs else []
    keys += ["difference_low", "difference_high"] if keys and session.measuring.resamples else []
    for figure, ending in zip(figures, METRICS[name].names):
        values, label = figure.values(), name + ending
        found[label] = values.get("corrected", figure.uncorrected)
        found |= {f"{label}_{key}": values.get(key, math.nan) for key in keys}
    return found


class _Asked(BaseException):
    """Leaves a metric of the host with the arguments by which it asked for real features."""

    def __init__(self, call: dict[str, Any]):
        self.call = call


def _asked(metric: Metric, opts: Any) -> dict[str, Any]:
    """The data set, detector and its arguments that the host's own metric would take."""
    main = importlib.import_module("metrics.metric_main")
    utils = importlib.import_module("metrics.metric_utils")
    theirs = [name for name in main._metric_dict if name not in METRICS]
    alike = [name for name in theirs if name.startswith(metric.detector_of)] or theirs
    compute = utils.compute_feature_stats_for_dataset
    mine = copy.copy(opts)
    mine.dataset_kwargs = copy.deepcopy(opts.dataset_kwargs)

    def listen(*args: Any, **kwargs: Any) -> Any:
        raise _Asked(_bound(compute, args, kwargs))

    with replaced(utils, "compute_feature_stats_for_dataset", listen):
        try:
            main._metric_dict[alike[0]](mine)
        except _Asked as asked:
            return asked.call
    raise GanfixError(f"{alike[0]} of this codebase asks for no real features")


def _real(call: dict[str, Any], metric: Metric, num: int | None) -> tuple[Any, int]:
    """Real features, or their Gaussian, by the host's own function and cache; and how many."""
    utils = importlib.import_module("metrics.metric_utils")
    # Not max_items, which is missing from the name of the cached file.
    call["opts"].dataset_kwargs.update(max_size=num, xflip=False)
    kind = {"capture_mean_cov": True} if metric.gaussian else {"capture_all": True}
    wanted = {key: call[key] for key in ("opts", "detector_url", "detector_kwargs")}
    try:
        stats = utils.compute_feature_stats_for_dataset(**wanted, **kind)
    except OSError as error:
        path = wanted["opts"].dataset_kwargs.get("path")
        raise GanfixError(f"data set {path}: cannot be read: {error}") from error
    n = int(stats.num_items)
    if num and n < num:
        raise GanfixError(f"--num-real {num}: the data set has {n} images; ask for fewer")
    if not metric.gaussian:
        return torch.from_numpy(stats.get_all()), n
    mean, covariance = (torch.from_numpy(each) for each in stats.get_mean_cov())
    return Gaussian(mean, covariance * (n / (n - 1))), n


def _sides(session: Session, opts: Any, call: dict[str, Any], latents: LatentList) -> list[Tensor]:
    """Features [n, D] of both sides, or one, shared out among the ranks and put together."""
    utils = importlib.import_module("metrics.metric_utils")
    ranks = {"num_gpus": opts.num_gpus, "rank": opts.rank}
    detector = utils.get_feature_detector(url=call["detector_url"], device=opts.device, **ranks)

    def look(images: Tensor) -> Tensor:
        features: Tensor = detector(to_pixels(images), **call["detector_kwargs"])
        return features

    progress = opts.progress.sub(tag="given latents", num_items=len(latents))
    share = Ranks(opts.rank, opts.num_gpus)
    adapter, corrected = find_adapter(opts.G), bool(session.specs)

    def batches() -> Iterator[tuple[Tensor, ...]]:
        done = 0
        for sides in both_sides(opts.G, adapter, latents, look, corrected=corrected, share=share):
            yield sides
            done += len(sides[0]) * opts.num_gpus
            progress.update(min(done, len(latents)))

    on_cuda = session.situation.device == "cuda"
    # Objects travel between ranks by way of the current device, which hosts leave at the first.
    with torch.cuda.device(opts.device) if on_cuda else nullcontext():
        return joined(share.batches(batches))


def _bound(function: Function, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names; those of ``**kwargs`` among the others."""
    call = inspect.signature(function).bind(*args, **kwargs)
    found: dict[str, Any] = {}
    for name, value in call.arguments.items():
        kind = call.signature.parameters[name].kind
        found |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return found
