"""genforce, and whatever is built like it."""

from __future__ import annotations

import functools
import importlib
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.compat import ANTIALIAS, SAMPLER
from ganfix_plugin.hosts.deferred import build_corrected
from ganfix_plugin.hosts.devices import CUDA_ELSEWHERE, NCCL
from ganfix_plugin.hosts.host import Breakage, Function, Host, Seam, Situation, defines
from ganfix_plugin.hosts.import_hooks import installed, replaced, stand_in, when_imported
from ganfix_plugin.hosts.metrics import DETECTOR, to_pixels
from ganfix_plugin.hosts.session import Session


def _detect(folder: Path) -> bool:
    models = folder / "models"
    return (
        (folder / "synthesize.py").is_file()
        and defines(models / "__init__.py", "build_generator")
        and defines(models / "model_zoo.py", "MODEL_ZOO")
    )


def _load(network: str) -> nn.Module:
    """A model of the zoo with the weights in checkpoints/ (here or in the checkout), or a file of
    weights that is named after such a model."""
    models = importlib.import_module("models")
    given, zoo = Path(network), Path(str(models.__file__)).parents[1]
    name = given.stem if given.suffix in _READERS else network
    if name not in models.MODEL_ZOO:
        raise GanfixError(f"--network {network}: {name} is not registered in models/model_zoo.py")
    files = [given]
    if given.suffix not in _READERS:
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
    return G


def _load_safetensors(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": functools.partial(torch.load, map_location="cpu", weights_only=True),
    ".safetensors": _load_safetensors,
}


def _weights(file: Path) -> dict[str, Any]:
    """The generator's state dict, its moving average where the file has one."""
    content: dict[str, Any] = _READERS[file.suffix](file)
    content = content.get("models", content)
    return content.get("generator_smooth") or content.get("generator") or content


# --- seam


def _fid_marked(session: Session, fid: Function) -> Function:
    """BaseGANRunner.fid: the log says what was corrected, and a record beside it keeps the result.

    Its features are kept in the work folder, which is one of our own (`Host.folders`).
    """
    if not session.apart:
        return fid

    @functools.wraps(fid)
    def marked(runner: Any, fid_num: int, *args: Any, **kwargs: Any) -> Any:
        detector = session.measuring.detector
        if detector and runner.inception_model is None:
            runner.inception_model = detector.load(torch.device(session.situation.device))
        value = fid(runner, fid_num, *args, **kwargs)
        if runner.rank == 0:
            record = session.record("fid")
            runner.logger.info("; ".join(f"{key} {value}" for key, value in record.items()))
            line = {"results": {"fid": float(value)}, "metric": "fid", "fid_num": fid_num, **record}
            with Path(runner.work_dir, "metric-fid.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "timestamp": time.time()}) + "\n")
        return value

    return marked


def _any_width(session: Session, extract: Function) -> Function:
    """fid.extract_feature, which knows Inception's 2048 features only."""
    if not session.measuring.detector:
        return extract

    @functools.wraps(extract)
    def extract_feature(detector: Any, images: torch.Tensor) -> np.ndarray:
        found: np.ndarray = detector(to_pixels(images), return_features=True).cpu().numpy()
        return found

    return extract_feature


# --- breakages


def _lacks_torchvision_utils(situation: Situation) -> str:
    name = "torchvision.models.utils"
    user = situation.file_with(name, "metrics/*.py")
    if not user or installed(name):
        return ""
    return f"{user} imports it, and torchvision no longer has it, or is not installed"


def _torchvision_utils(situation: Situation) -> AbstractContextManager[None]:
    load = torch.hub.load_state_dict_from_url
    return stand_in("torchvision.models.utils", load_state_dict_from_url=load)


def _lacks_tostring(situation: Situation) -> str:
    user = situation.file_with(".tostring()", "utils/*.py")
    if not user or hasattr(np.ndarray, "tostring"):
        return ""
    return f"{user} calls it, and numpy {np.__version__} has only tobytes"


class _Encoded(np.ndarray):
    """What cv2.imencode returns, with the method that its callers still use."""

    def tostring(self) -> bytes:
        return self.tobytes()


@contextmanager
def _tostring(situation: Situation) -> Iterator[None]:
    with ExitStack() as stack:

        def keep_tostring(module: ModuleType) -> None:
            encode = module.cv2.imencode

            def imencode(*args: Any, **kwargs: Any) -> Any:
                done, image = encode(*args, **kwargs)
                return done, image.view(_Encoded)

            stack.enter_context(replaced(module.cv2, "imencode", imencode))

        stack.enter_context(when_imported("utils.visualizer", keep_tostring))
        yield


def _absolute_inception(situation: Situation) -> str:
    user = situation.file_with("def prebuild_inception_model", "metrics/*.py")
    return f"{user} reads it from a folder of its author's" if user else ""


def _downloaded_inception(situation: Situation) -> AbstractContextManager[None]:
    def fall_back(module: Any) -> None:
        prebuild = module.prebuild_inception_model

        @functools.wraps(prebuild)
        def prebuild_inception_model(align_tf: bool = True) -> Any:
            try:
                return prebuild(align_tf)
            except FileNotFoundError:
                return module.build_inception_model(align_tf)

        module.prebuild_inception_model = prebuild_inception_model

    return when_imported("metrics.inception", fall_back)


def _renames_local_rank(situation: Situation) -> str:
    user = situation.file_with("--local_rank", "test.py")
    if not user:
        return ""
    return f"{user} knows --local_rank, and torch.distributed.launch of PyTorch 2 writes the other"


def _local_rank(situation: Situation) -> AbstractContextManager[None]:
    old = [argument.replace("--local-rank", "--local_rank") for argument in sys.argv]
    return replaced(sys, "argv", old)


HOST = Host(
    name="genforce",
    title="genforce",
    detect=_detect,
    scripts=("synthesize.py", "test.py"),
    imports=("models", "runners"),
    refused={
        "train.py": "ganfix corrects finished generators, not ones in training; run it without "
        "ganfix, and correct the checkpoints it writes"
    },
    seedless="genforce draws the latents of all images from one random stream",
    flags={"test.py": (DETECTOR,)},
    folders={"test.py": "--work_dir"},
    seams=(
        Seam("models", "build_generator", build_corrected),
        Seam("metrics.fid", "extract_feature", _any_width),
        Seam("runners.base_gan_runner", "BaseGANRunner.fid", _fid_marked),
    ),
    load=_load,
    breakages=(
        CUDA_ELSEWHERE,
        NCCL,
        Breakage(
            "torchvision-utils",
            "No module named 'torchvision.models.utils'",
            "a stand-in module with load_state_dict_from_url, which torch.hub has",
            _lacks_torchvision_utils,
            _torchvision_utils,
        ),
        Breakage(
            "tostring",
            "'numpy.ndarray' object has no attribute 'tostring' (HTML pages)",
            "images encoded by OpenCV keep a method of that name",
            _lacks_tostring,
            _tostring,
        ),
        ANTIALIAS,
        SAMPLER,
        Breakage(
            "inception-path",
            "No such file or directory: '/…/pt_inception-2015-12-05-6726825d.pth' (FID)",
            "the host's own build_inception_model, which downloads the file into torch.hub's cache "
            "(or finds it there)",
            _absolute_inception,
            _downloaded_inception,
        ),
        Breakage(
            "local-rank",
            "unrecognized arguments: --local-rank",
            "the script gets --local_rank, as it expects",
            _renames_local_rank,
            _local_rank,
        ),
    ),
)
