"""genforce, and whatever is built like it."""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganfix_plugin.errors import GanfixError, GanfixWarning, first_line
from ganfix_plugin.features.images import to_pixels
from ganfix_plugin.files import load_weights
from ganfix_plugin.hooks.forward import called_with
from ganfix_plugin.hosts.compat import LOCAL_RANK
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
from ganfix_plugin.hosts.session import Session


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
    models, path = importlib.import_module("models"), Path(network)
    name = path.stem if path.suffix in _ENDINGS else network
    if name not in models.MODEL_ZOO:
        raise GanfixError(f"--network {network}: {name} is not registered in models/model_zoo.py")
    file = next(filter(Path.is_file, _files(network)), None)
    if file is None:
        raise GanfixError(
            f"--network {network}: {_files(network)[0]} is missing; download the weights first"
        )
    config = {key: value for key, value in models.MODEL_ZOO[name].items() if key != "url"}
    G: nn.Module = models.build_generator(**config)
    try:
        networks = _networks(file)
        G.load_state_dict(_generator(networks))
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        cause = first_line(error)
        raise GanfixError(f"--network {network}: {file} does not fit {name}: {cause}") from error
    return {"G_ema": G, "D": _discriminator(G, networks, file)}


def _files(network: str) -> list[Path]:
    """Where a network's weights may be."""
    if Path(network).suffix in _ENDINGS:
        return [Path(network)]
    zoo = Path(str(importlib.import_module("models").__file__)).parents[1]
    places = (Path("checkpoints"), zoo / "checkpoints")
    return [place / (network + suffix) for place in places for suffix in _ENDINGS]


_ENDINGS = (".pth", ".safetensors")


_GENERATORS = ("generator_smooth", "generator")


def _networks(file: Path) -> dict[str, Any]:
    """The state dicts in a file, by the names of the networks; or just the generator's."""
    content: dict[str, Any] = load_weights(file)
    networks: dict[str, Any] = content.get("models", content)
    return networks


def _generator(networks: dict[str, Any]) -> dict[str, Any]:
    """The generator's state dict, its moving average where the file has one."""
    return next((networks[name] for name in _GENERATORS if networks.get(name)), networks)


def _network(arguments: Sequence[str]) -> str:
    """A checkpoint (test.py), or else the name of a model (synthesize.py)."""
    zoo = getattr(sys.modules.get("models"), "MODEL_ZOO", {})  # the script has imported it
    names = (argument for argument in arguments if argument in zoo)
    return value_of("--checkpoint", arguments) or next(names, "")


# --- the discriminator


class Discriminator(nn.Module):
    """A discriminator of genforce's under NVIDIA's calling convention."""

    def __init__(self, D: Any) -> None:
        super().__init__()
        self.D = D

    def forward(self, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Logits [N, 1] of images [N, C, H, W] in [-1, 1] and one-hot classes c [N, classes]."""
        logits: torch.Tensor = self.D(images, label=c if self.D.label_size else None)
        return logits[:, :1]  # PGGAN's has the classes behind

    def feature_maps(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, 4, 4] of images, as they enter the layer that mixes them by their deviation."""
        classes = images.new_zeros(len(images), self.D.label_size)
        images = images[:, : self.D.image_channels]
        mixing = f"layer{2 * int(math.log2(self.D.resolution // 4))}"
        (maps, *_), _ = called_with(self.D, mixing, lambda D: D(images, label=classes))
        return maps


_SHAPE = ("resolution", "image_channels", "label_size", "fmaps_base", "fmaps_max")


def _discriminator(G: Any, networks: dict[str, Any], file: Path) -> Discriminator | None:
    """The one in the generator's file, or in NAME_discriminator beside it, if there is one."""
    beside = file.with_name(f"{file.stem}_discriminator{file.suffix}")
    weights = networks.get("discriminator")
    if weights is None and not beside.is_file():
        return None
    kind = type(G).__name__.replace("Generator", "Discriminator")
    try:
        weights = load_weights(beside) if weights is None else weights
        build = getattr(importlib.import_module("models"), kind)
        D = build(**{key: getattr(G, key) for key in _SHAPE})
        D.load_state_dict(weights)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        cause = first_line(error)
        message = f"{file}: its discriminator is no {kind} of the same sizes, and not used: {cause}"
        warnings.warn(message, GanfixWarning, stacklevel=2)
        return None
    return Discriminator(D)


def _discriminator_of(G: nn.Module) -> Discriminator | None:
    """The one in the checkpoint that the script was given, if a generator's weights are in it."""
    for file in filter(Path.is_file, _files(_network(sys.argv[1:]))):
        networks = _networks(file)
        generators = [networks[name] for name in _GENERATORS if name in networks] or [networks]
        if any(_holds(G, weights) for weights in generators):
            return _discriminator(G, networks, file)
    return None


def _holds(G: nn.Module, weights: dict[str, Any]) -> bool:
    state = {name: tensor.cpu() for name, tensor in G.state_dict().items()}
    return state.keys() == weights.keys() and all(
        torch.equal(tensor, weights[name].to(tensor)) for name, tensor in state.items()
    )


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
    where_used("def prebuild_inception_model", "reads it from a folder of its author's"),
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
        Wrapper("metrics.fid", "extract_feature", _any_width),
        Wrapper("runners.base_gan_runner", "BaseGANRunner.fid", _fid_marked),
    ),
    load=_load,
    network=_network,
    discriminator_of=_discriminator_of,
    workarounds=(INCEPTION_PATH, LOCAL_RANK),
)
