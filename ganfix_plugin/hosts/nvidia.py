"""NVIDIA's stylegan2-ada-pytorch and stylegan3, and whatever is built like them."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.detector import Features
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.counts import uncounted
from ganfix_plugin.hosts.flags import DETECTOR, METRIC_FLAGS
from ganfix_plugin.hosts.host import TRAINING, Function, Host, Wrapper, around, defines, value_of
from ganfix_plugin.hosts.metrics import bound_arguments, check_metric, join_registry
from ganfix_plugin.hosts.session import Session

log = logging.getLogger("ganfix")


def _detect(folder: Path) -> bool:
    return defines(folder / "legacy.py", "load_network_pkl")


def _load(network: str) -> dict[str, Any]:
    """What a network pickle holds, a file or a URL: the moving average is "G_ema"."""
    legacy = importlib.import_module("legacy")
    util = importlib.import_module("dnnlib.util")
    try:
        with util.open_url(network) as file, _pickle_of(network):
            networks: dict[str, Any] = legacy.load_network_pkl(file)
        return networks
    except OSError as error:
        reason = error.strerror or str(error)
        raise GanfixError(f"--network {network}: cannot be read: {reason}") from error


# What unpickling and the host's own look at the result raise where it is something else.
_NO_PICKLE = (AssertionError, AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError)


@contextmanager
def _pickle_of(network: str) -> Iterator[None]:
    """While a network pickle is read: text, images, what was cut short and pickles of something
    else are errors of one line."""
    try:
        yield
    except (pickle.UnpicklingError, *_NO_PICKLE) as error:
        raise GanfixError(
            f"--network {network}: no whole network pickle with G, D and G_ema, as the host's "
            f"training writes it ({type(error).__name__})"
        ) from error
    except ImportError as error:
        raise GanfixError(
            f"--network {network}: needs a module that is not here ({error}); run it in the "
            "checkout that it was made with"
        ) from error


# --- wrappers


def give_detector(session: Session, get: Function) -> Function:
    """metric_utils.get_feature_detector: what computes features, whatever was to be downloaded."""
    detector = session.run.metrics.detector
    if not detector:
        return _explained(session, get)
    loaded = functools.cache(detector.load)
    elsewhere = torch.device(session.run.situation.device)

    @functools.wraps(get)
    def get_feature_detector(url: str, device: Any = "cpu", *args: Any, **kwargs: Any) -> Features:
        where = torch.device(device)
        on_other = where.type == "cuda" and elsewhere.type != "cuda"
        return loaded(elsewhere if on_other else where)

    return get_feature_detector


@around
def _explained(session: Session, get: Function, url: str, *args: Any, **kwargs: Any) -> Any:
    try:
        return get(url, *args, **kwargs)
    except OSError as error:  # every error of a connection is one
        raise GanfixError(
            f"feature detector {url}: cannot be downloaded ({type(error).__name__}); give one "
            f"by {DETECTOR.name} {DETECTOR.metavar}"
        ) from error


@around
def cache_by_detector(session: Session, compute: Function, *args: Any, **kwargs: Any) -> Any:
    """metric_utils.compute_feature_stats_for_dataset: its cache goes by the detector's URL."""
    detector = session.run.metrics.detector
    if not detector:
        return compute(*args, **kwargs)
    arguments = bound_arguments(compute, args, kwargs)
    arguments["detector_url"] = f"ganfix-{detector.digest}/{detector.name}.pt"
    return compute(**arguments)


@around
def _load_corrected(session: Session, load: Function, *args: Any, **kwargs: Any) -> Any:
    """legacy.load_network_pkl: every script takes its generator from here, under "G_ema"."""
    corrects = session.run.specs or session.screen
    with _pickle_of(session.run.line.network) if corrects else nullcontext():
        networks = load(*args, **kwargs)
    G, metrics = networks["G_ema"], session.run.metrics
    session.prepare(G, networks.get("D"))
    if metrics.latents:  # errors belong here, not in the ranks
        read_latents(metrics.latents, Generator.of(G), metrics.num_gen)
    return networks


@around
def _report_apart(
    session: Session,
    report: Function,
    result_dict: Any,
    run_dir: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """metric_main.report_metric: a corrected result never joins the uncorrected run's records."""
    metric, apart = result_dict["metric"], session.run.apart
    if apart and run_dir is not None and os.path.isdir(run_dir):
        run_dir = os.path.join(run_dir, apart)
        os.makedirs(run_dir, exist_ok=True)
    record = dict(result_dict, **session.record(metric))
    if session.run.specs and metric.startswith("ppl"):
        record["note"] = PPL_NOTE
        log.info("%s: %s", metric, PPL_NOTE)
    return report(record, run_dir, *args, **kwargs)


PPL_NOTE = (
    "the path length of a corrected generator also counts the small jumps where a neuron crosses "
    "a hard threshold or a sample its gate"
)


@around
def _summarise_uncounted(session: Session, summarise: Function, *args: Any, **kwargs: Any) -> Any:
    """misc.print_module_summary: calc_metrics runs its generator once on empty latents, which say
    nothing of how it is called."""
    with uncounted(), session.noticing.apart():
        return summarise(*args, **kwargs)


HOST = Host(
    name="nvidia",
    title="NVIDIA stylegan2-ada-pytorch and stylegan3",
    detect=_detect,
    scripts=(
        "generate.py",
        "style_mixing.py",
        "projector.py",
        "gen_images.py",
        "gen_video.py",
        "calc_metrics.py",
    ),
    imports=("legacy",),
    seeds={"generate.py": "seeds", "gen_images.py": "seeds"},
    seedless="only generate.py and gen_images.py render an image of each of their --seeds",
    flags={"calc_metrics.py": METRIC_FLAGS},
    outputs={
        "generate.py": ("--outdir", ""),
        "style_mixing.py": ("--outdir", ""),
        "projector.py": ("--outdir", ""),
        "gen_images.py": ("--outdir", ""),
        "gen_video.py": ("--output", ""),
    },
    refused={"train.py": TRAINING.format("network pickles")},
    wrappers=(
        Wrapper("legacy", "load_network_pkl", _load_corrected),
        Wrapper("metrics.metric_main", "report_metric", _report_apart),
        Wrapper("metrics.metric_main", "register_metric", join_registry),
        Wrapper("metrics.metric_main", "is_valid_metric", check_metric),
        Wrapper("metrics.metric_utils", "get_feature_detector", give_detector),
        Wrapper("metrics.metric_utils", "compute_feature_stats_for_dataset", cache_by_detector),
        Wrapper("torch_utils.misc", "print_module_summary", _summarise_uncounted),
    ),
    load=_load,
    carries_code=True,
    network=functools.partial(value_of, "--network"),
)
