"""NVIDIA's stylegan2-ada-pytorch and stylegan3, and whatever is built like them."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch.torch_version import TorchVersion

from ganfix_plugin.artifacts.latent_files import read_latents
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import discriminator_is
from ganfix_plugin.generators.find import find_adapter
from ganfix_plugin.hooks.attachment import uncounted
from ganfix_plugin.hosts.compat import PERCENTILE
from ganfix_plugin.hosts.devices import CUDA_ELSEWHERE, HALF_DISTANCES, NCCL
from ganfix_plugin.hosts.host import Breakage, Function, Host, Seam, Situation, defines
from ganfix_plugin.hosts.import_hooks import installed, stand_in, when_imported
from ganfix_plugin.hosts.metrics import (
    FLAGS,
    cache_by_detector,
    check_metric,
    give_detector,
    join_registry,
)
from ganfix_plugin.hosts.session import Session

log = logging.getLogger("ganfix")


def _detect(folder: Path) -> bool:
    return defines(folder / "legacy.py", "load_network_pkl")


def _networks(network: str) -> dict[str, Any]:
    """What a network pickle holds, a file or a URL: the moving average is "G_ema"."""
    legacy = importlib.import_module("legacy")
    util = importlib.import_module("dnnlib.util")
    try:
        with util.open_url(network) as file:
            networks: dict[str, Any] = legacy.load_network_pkl(file)
        discriminator_is(networks.get("D"))
        return networks
    except OSError as error:
        raise GanfixError(f"--network {network}: cannot be read: {error}") from error
    except (AssertionError, KeyError, pickle.UnpicklingError) as error:
        raise GanfixError(
            f"--network {network}: no network pickle with G, D and G_ema, as the host's training "
            f"writes it ({type(error).__name__})"
        ) from error


# --- seams


def _load_corrected(session: Session, load: Function) -> Function:
    """legacy.load_network_pkl: every script takes its generator from here, under "G_ema"."""

    @functools.wraps(load)
    def load_network_pkl(*args: Any, **kwargs: Any) -> Any:
        networks = load(*args, **kwargs)
        discriminator_is(networks.get("D"))
        G = session.correct(networks["G_ema"])
        session.screen_seeds(G)
        if session.measuring.latents:  # errors belong here, not in the ranks
            read_latents(session.measuring.latents, G, find_adapter(G), session.measuring.num_gen)
        return networks

    return load_network_pkl


def _report_apart(session: Session, report: Function) -> Function:
    """metric_main.report_metric: a corrected result never joins the uncorrected run's records."""

    @functools.wraps(report)
    def report_metric(result_dict: Any, run_dir: Any = None, *args: Any, **kwargs: Any) -> Any:
        metric = result_dict["metric"]
        if session.apart and run_dir is not None and os.path.isdir(run_dir):
            run_dir = os.path.join(run_dir, session.apart)
            os.makedirs(run_dir, exist_ok=True)
        record = dict(result_dict, **session.record(metric))
        if session.specs and metric.startswith("ppl"):
            record["note"] = PPL_NOTE
            log.info("%s: %s", metric, PPL_NOTE)
        return report(record, run_dir, *args, **kwargs)

    return report_metric


PPL_NOTE = (
    "the path length of a corrected generator also counts the small jumps where a neuron crosses "
    "a hard threshold or a sample its gate"
)


def _summarise_uncounted(session: Session, summarise: Function) -> Function:
    """misc.print_module_summary: calc_metrics runs its generator once on empty latents."""

    @functools.wraps(summarise)
    def print_module_summary(*args: Any, **kwargs: Any) -> Any:
        with uncounted():
            return summarise(*args, **kwargs)

    return print_module_summary


# --- breakages


def _lacks_pkg_resources(situation: Situation) -> str:
    user = situation.file_with("pkg_resources", "torch_utils/ops/*.py")
    if not user or installed("pkg_resources"):
        return ""
    return f"{user} imports it, and setuptools 82 and later no longer has it"


def _pkg_resources(situation: Situation) -> AbstractContextManager[None]:
    return stand_in("pkg_resources", parse_version=TorchVersion)


_OPS = ("bias_act", "upfirdn2d", "filtered_lrelu")


def _may_fail_to_build(situation: Situation) -> str:
    raising = (situation.checkout / "torch_utils/ops/filtered_lrelu.py").is_file()
    if situation.device != "cuda" or not raising:
        return ""
    return "the networks run on CUDA, where the ops are compiled on first use"


@contextmanager
def _reference_ops(situation: Situation) -> Iterator[None]:
    def fall_back(module: Any) -> None:
        build = module._init
        built: list[bool] = []

        def _init() -> bool:
            if not built:
                try:
                    built.append(build())
                except Exception as error:
                    cause = (str(error).splitlines() or [type(error).__name__])[0]
                    log.warning("%s: no CUDA op (%s); the slow reference runs", name, cause)
                    built.append(False)
            return built[0]

        name = module.__name__
        module._init = _init

    with ExitStack() as stack:
        for op in _OPS:
            stack.enter_context(when_imported(f"torch_utils.ops.{op}", fall_back))
        yield


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
    flags={"calc_metrics.py": FLAGS},
    refused={
        "train.py": "ganfix corrects finished generators, not ones in training; run it without "
        "ganfix, and correct the network pickles it writes"
    },
    seams=(
        Seam("legacy", "load_network_pkl", _load_corrected),
        Seam("metrics.metric_main", "report_metric", _report_apart),
        Seam("metrics.metric_main", "register_metric", join_registry),
        Seam("metrics.metric_main", "is_valid_metric", check_metric),
        Seam("metrics.metric_utils", "get_feature_detector", give_detector),
        Seam("metrics.metric_utils", "compute_feature_stats_for_dataset", cache_by_detector),
        Seam("torch_utils.misc", "print_module_summary", _summarise_uncounted),
    ),
    load=lambda network: _networks(network)["G_ema"],
    networks=_networks,
    breakages=(
        CUDA_ELSEWHERE,
        NCCL,
        Breakage(
            "pkg_resources",
            "No module named 'pkg_resources'",
            "a stand-in module with parse_version, the one function that is used",
            _lacks_pkg_resources,
            _pkg_resources,
        ),
        PERCENTILE,
        HALF_DISTANCES,
        Breakage(
            "custom-ops",
            "a CUDA op that fails to build ends the script (stylegan3; stylegan2-ada-pytorch "
            "falls back by itself)",
            "an op that fails to build is replaced by the host's own slower reference, and said so",
            _may_fail_to_build,
            _reference_ops,
        ),
    ),
)
