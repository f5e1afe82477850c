"""The feature detector of NVIDIA's metrics: another one where it cannot be downloaded."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.detector import Features
from ganfix_plugin.hosts.host import Function, around
from ganfix_plugin.hosts.metric_options import DETECTOR
from ganfix_plugin.hosts.session import Session


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


def bound_arguments(function: Function, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names; those of ``**kwargs`` among the others."""
    call = inspect.signature(function).bind(*args, **kwargs)
    by_name: dict[str, Any] = {}
    for name, value in call.arguments.items():
        kind = call.signature.parameters[name].kind
        by_name |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return by_name
