"""The feature detector of NVIDIA's metrics: another one where it cannot be downloaded."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.detector import Features
from ganfix_plugin.hosts.host import Function
from ganfix_plugin.hosts.metric_options import DETECTOR
from ganfix_plugin.hosts.session import Session


def give_detector(session: Session, get: Function) -> Function:
    """metric_utils.get_feature_detector: what computes features, whatever was to be downloaded."""
    detector = session.run.metrics.detector
    if not detector:
        return _explained(get)
    loaded: dict[torch.device, Features] = {}
    elsewhere = session.run.situation.device

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
    detector = session.run.metrics.detector
    if not detector:
        return compute

    @functools.wraps(compute)
    def compute_feature_stats_for_dataset(*args: Any, **kwargs: Any) -> Any:
        arguments = bound_arguments(compute, args, kwargs)
        arguments["detector_url"] = f"ganfix-{detector.digest}/{detector.name}.pt"
        return compute(**arguments)

    return compute_feature_stats_for_dataset


def bound_arguments(function: Function, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names; those of ``**kwargs`` among the others."""
    call = inspect.signature(function).bind(*args, **kwargs)
    by_name: dict[str, Any] = {}
    for name, value in call.arguments.items():
        kind = call.signature.parameters[name].kind
        by_name |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return by_name
