"""genforce, and whatever is built like it."""

from __future__ import annotations

import functools
import importlib
import json
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.hosts.compat import ANTIALIAS, LOCAL_RANK, SAMPLER, TORCHVISION_UTILS, TOSTRING
from ganfix_plugin.hosts.devices import CUDA_ELSEWHERE, NCCL
from ganfix_plugin.hosts.flags import DETECTOR
from ganfix_plugin.hosts.host import (
    TRAINING,
    Function,
    Host,
    Situation,
    Workaround,
    Wrapper,
    around,
    defines,
    value_of,
    where_used,
)
from ganfix_plugin.hosts.session import Session, build_corrected


def _detect(folder: Path) -> bool:
    models = folder / "models"
    return (
        (folder / "synthesize.py").is_file()
        and defines(models / "__init__.py", "build_generator")
        and defines(models / "model_zoo.py", "MODEL_ZOO")
    )


def _load(network: str) -> dict[str, Any]:
    """A model of the zoo with the weights in checkpoints/ (here or in the checkout), or a file of
    weights that is named after such a model."""
    models = importlib.import_module("models")
    path, zoo = Path(network), Path(str(models.__file__)).parents[1]
    name = path.stem if path.suffix in _READERS else network
    if name not in models.MODEL_ZOO:
        raise GanfixError(f"--network {network}: {name} is not registered in models/model_zoo.py")
    files = [path]
    if path.suffix not in _READERS:
        places = (Path("checkpoints"), zoo / "checkpoints")
        files = [place / (name + suffix) for place in places for suffix in _READERS]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise GanfixError(f"--network {network}: {files[0]} is missing; download the weights first")
    config = {key: value for key, value in models.MODEL_ZOO[name].items() if key != "url"}
    G: nn.Module = models.build_generator(**config)
    try:
        G.load_state_dict(_weights(file))
    except (RuntimeError, pickle.UnpicklingError) as error:
        cause = str(error).splitlines()[0]
        raise GanfixError(f"--network {network}: {file} does not fit {name}: {cause}") from error
    return {"G_ema": G}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": functools.partial(torch.load, map_location="cpu", weights_only=True),
    ".safetensors": load_file,
}


def _weights(file: Path) -> dict[str, Any]:
    """The generator's state dict, its moving average where the file has one."""
    content: dict[str, Any] = _READERS[file.suffix](file)
    content = content.get("models", content)
    return content.get("generator_smooth") or content.get("generator") or content


def _network(arguments: Sequence[str]) -> str:
    """A checkpoint (test.py), or else the name of a model (synthesize.py)."""
    zoo = importlib.import_module("models").MODEL_ZOO
    names = (argument for argument in arguments if argument in zoo)
    return value_of("--checkpoint", arguments) or next(names, "")


# --- wrappers


@around
def _fid_marked(
    session: Session, fid: Function, runner: Any, fid_num: int, *args: Any, **kwargs: Any
) -> Any:
    """BaseGANRunner.fid: the log says what was corrected, and a record beside it keeps the result.

    Its features are kept in the work folder, which is one of our own (`Host.folders`).
    """
    detector = session.run.metrics.detector
    if detector and runner.inception_model is None:
        runner.inception_model = detector.load(torch.device(session.run.situation.device))
    value = fid(runner, fid_num, *args, **kwargs)
    if session.run.apart and runner.rank == 0:
        record = session.record("fid")
        runner.logger.info("; ".join(f"{key} {value}" for key, value in record.items()))
        line = {"results": {"fid": float(value)}, "metric": "fid", "fid_num": fid_num, **record}
        with Path(runner.work_dir, "metric-fid.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "timestamp": time.time()}) + "\n")
    return value


@around
def _any_width(session: Session, extract: Function, detector: Any, images: torch.Tensor) -> Any:
    """fid.extract_feature, which knows Inception's 2048 features only."""
    if not session.run.metrics.detector:
        return extract(detector, images)
    return detector(to_pixels(images), return_features=True).cpu().numpy()


# --- workaround


@around
def _download_inception(situation: Situation, prebuild: Function, align_tf: bool = True) -> Any:
    """metrics.inception.prebuild_inception_model, which reads a file of its author's."""
    try:
        return prebuild(align_tf)
    except FileNotFoundError:
        return prebuild.__globals__["build_inception_model"](align_tf)


INCEPTION_PATH = Workaround(
    "inception-path",
    "No such file or directory: '/…/pt_inception-2015-12-05-6726825d.pth' (FID)",
    "the host's own build_inception_model, which downloads the file into torch.hub's cache "
    "(or finds it there)",
    where_used(
        "def prebuild_inception_model", "metrics/*.py", "reads it from a folder of its author's"
    ),
    Wrapper("metrics.inception", "prebuild_inception_model", _download_inception).installed,
)


HOST = Host(
    name="genforce",
    title="genforce",
    detect=_detect,
    scripts=("synthesize.py", "test.py"),
    imports=("models", "runners"),
    refused={"train.py": TRAINING.format("checkpoints")},
    seedless="genforce draws the latents of all images from one random stream",
    flags={"test.py": (DETECTOR,)},
    folders={"test.py": "--work_dir"},
    outputs={"synthesize.py": ("--save_dir", "work_dirs/synthesis")},
    wrappers=(
        Wrapper("models", "build_generator", build_corrected),
        Wrapper("metrics.fid", "extract_feature", _any_width),
        Wrapper("runners.base_gan_runner", "BaseGANRunner.fid", _fid_marked),
    ),
    load=_load,
    network=_network,
    workarounds=(
        CUDA_ELSEWHERE,
        NCCL,
        TORCHVISION_UTILS,
        TOSTRING,
        ANTIALIAS,
        SAMPLER,
        INCEPTION_PATH,
        LOCAL_RANK,
    ),
)
