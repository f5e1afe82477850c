"""rosinality's stylegan2-pytorch."""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import logging
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.deferred import build_corrected
from ganfix_plugin.hosts.devices import CUDA_ELSEWHERE, NCCL
from ganfix_plugin.hosts.host import Breakage, Function, Host, Seam, Situation, defines
from ganfix_plugin.hosts.import_hooks import replaced, when_imported

log = logging.getLogger("ganfix")


def _detect(folder: Path) -> bool:
    return (
        (folder / "generate.py").is_file()
        and defines(folder / "model.py", "StyledConv")
        and defines(folder / "op" / "upfirdn2d.py", "upfirdn2d_native")
    )


def _load(network: str) -> Any:
    """The moving average "g_ema" in a checkpoint; its sizes are read off its weights."""
    model = importlib.import_module("model")
    try:
        weights = torch.load(network, map_location="cpu")["g_ema"]
        blocks = sum(name.endswith("conv.modulation.bias") for name in weights if "convs" in name)
        layers = [name for name in weights if name.startswith("style.") and name.endswith("bias")]
        latent = weights["style.1.weight"].shape[1]
        # Units at 64×64, where there are 256 times the multiplier.
        at_64 = weights.get("convs.6.activate.bias", torch.zeros(512))
    except OSError as error:
        raise GanfixError(f"--network {network}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, pickle.UnpicklingError) as error:
        raise GanfixError(
            f"--network {network}: no checkpoint with g_ema, as the host's training writes it "
            f"({type(error).__name__})"
        ) from error
    size = 4 * 2 ** (blocks // 2)
    G = model.Generator(size, latent, len(layers), channel_multiplier=len(at_64) // 256)
    G.load_state_dict(weights)
    return G


# --- breakages


def _needs_cuda_to_import(situation: Situation) -> str:
    user = situation.file_with("cpp_extension import load", "op/*.py")
    return f"{user} compiles its op for CUDA when it is imported" if user else ""


def fused_bias_act(
    x: Tensor, bias: Tensor, reference: Tensor, act: int, grad: int, slope: float, scale: float
) -> Tensor:
    """What op/fused_bias_act_kernel.cu computes: leaky ReLU, or its derivative, and a gain."""
    if bias.numel():
        x = x + bias.view(1, -1, *(1,) * (x.dim() - 2))
    active = (reference if grad else x) > 0
    return torch.where(active, x, x * slope) * scale


def upfirdn2d(
    x: Tensor, kernel: Tensor, up_x: int, up_y: int, down_x: int, down_y: int, *padding: int
) -> Tensor:
    """What op/upfirdn2d_kernel.cu computes on planes [N, H, W, 1]: zeros between values, a
    filter, then every so many."""
    n, height, width, _ = x.shape
    planes = x.new_zeros(n, 1, height * up_y, width * up_x)
    planes[:, :, ::up_y, ::up_x] = x.permute(0, 3, 1, 2)
    filtered = conv2d(pad(planes, padding), kernel.flip(0, 1)[None, None].to(x.dtype))
    return filtered[:, :, ::down_y, ::down_x].permute(0, 2, 3, 1)


_REFERENCE = SimpleNamespace(fused_bias_act=fused_bias_act, upfirdn2d=upfirdn2d)


@contextmanager
def _reference_ops(situation: Situation) -> Iterator[None]:
    try:
        from torch.utils import cpp_extension
    except ImportError:  # it needs setuptools, and then the host cannot be helped either
        yield
        return
    compile = cpp_extension.load

    def load(name: str, *args: Any, **kwargs: Any) -> Any:
        if situation.device != "cuda":
            return _REFERENCE
        try:
            return compile(name, *args, **kwargs)
        except Exception as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("%s: no CUDA op (%s); a slower reference runs", name, cause)
            return _REFERENCE

    with replaced(cpp_extension, "load", load):
        yield


def _strict_load(situation: Situation) -> str:
    user = situation.file_with("torch.load(", "generate.py")
    if not user:
        return ""
    return f"{user} loads what train.py wrote: its arguments beside weights that were on a GPU"


@contextmanager
def _tolerant_load(situation: Situation) -> Iterator[None]:
    load = torch.load

    @functools.wraps(load)
    def tolerant(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("map_location", situation.device)
        return load(*args, **kwargs)

    safe = getattr(torch.serialization, "safe_globals", None)  # since PyTorch 2.5
    with ExitStack() as stack:
        stack.enter_context(replaced(torch, "load", tolerant))
        if safe:
            stack.enter_context(safe([argparse.Namespace]))
        yield


def _renames_range(situation: Situation) -> str:
    user = situation.file_with(" range=(", "generate.py")
    return f"{user} writes it, and torchvision calls it value_range since 0.12" if user else ""


@contextmanager
def _value_range(situation: Situation) -> Iterator[None]:
    with ExitStack() as stack:

        def accept_range(module: ModuleType) -> None:
            make: Function = module.make_grid
            if "range" in inspect.signature(make).parameters:
                return

            @functools.wraps(make)
            def make_grid(*args: Any, **kwargs: Any) -> Any:
                if "range" in kwargs:
                    kwargs["value_range"] = kwargs.pop("range")
                return make(*args, **kwargs)

            stack.enter_context(replaced(module, "make_grid", make_grid))

        stack.enter_context(when_imported("torchvision.utils", accept_range))
        yield


HOST = Host(
    name="rosinality",
    title="rosinality's stylegan2-pytorch",
    detect=_detect,
    scripts=("generate.py", "fid.py"),
    imports=("model",),
    refused={
        "train.py": "ganfix corrects finished generators, not ones in training; run it without "
        "ganfix, and correct the checkpoints it writes"
    },
    seedless="rosinality's scripts draw the latents of all images from one random stream",
    seams=(Seam("model", "Generator", build_corrected),),
    load=_load,
    breakages=(
        CUDA_ELSEWHERE,
        NCCL,
        Breakage(
            "custom-ops",
            "CUDA_HOME environment variable is not set (at import), or an op that fails to build",
            "without CUDA, and where an op fails to build, a slower reference runs",
            _needs_cuda_to_import,
            _reference_ops,
        ),
        Breakage(
            "checkpoint",
            "Weights only load failed … argparse.Namespace; or: Attempting to deserialize object "
            "on a CUDA device",
            "torch.load knows that class, and puts weights on the device of this run",
            _strict_load,
            _tolerant_load,
        ),
        Breakage(
            "make-grid",
            "make_grid() got an unexpected keyword argument 'range'",
            "torchvision.utils.make_grid takes range= for value_range=",
            _renames_range,
            _value_range,
        ),
    ),
)
