"""rosinality's stylegan2-pytorch."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import torch

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import load_weights
from ganfix_plugin.hosts.host import TRAINING, Host, defines, value_of


def _detect(folder: Path) -> bool:
    return (
        (folder / "generate.py").is_file()
        and defines(folder / "model.py", "StyledConv")
        and defines(folder / "op" / "upfirdn2d.py", "upfirdn2d_native")
    )


def _load(network: str) -> dict[str, Any]:
    """The moving average "g_ema" in a checkpoint; its sizes are read off its weights."""
    model = importlib.import_module("model")
    try:
        weights = load_weights(Path(network))["g_ema"]
        blocks = sum(name.endswith("conv.modulation.bias") for name in weights if "convs" in name)
        layers = [name for name in weights if name.startswith("style.") and name.endswith("bias")]
        latent = weights["style.1.weight"].shape[1]
        # Units at 64×64, where there are 256 times the multiplier.
        at_64 = weights.get("convs.6.activate.bias", torch.zeros(512))
        size = 4 * 2 ** (blocks // 2)
        G = model.Generator(size, latent, len(layers), channel_multiplier=len(at_64) // 256)
        G.load_state_dict(weights)
    except OSError as error:
        raise GanfixError(f"--network {network}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise GanfixError(
            f"--network {network}: no checkpoint with g_ema, as the host's training writes it "
            f"({type(error).__name__})"
        ) from error
    return {"G_ema": G}


HOST = Host(
    name="rosinality",
    title="rosinality's stylegan2-pytorch",
    detect=_detect,
    scripts=("generate.py", "fid.py"),
    imports=("model",),
    refused={"train.py": TRAINING.format("checkpoints")},
    outputs={"generate.py": ("", "sample")},
    seedless="rosinality's scripts draw the latents of all images from one random stream",
    wrappers=(),
    load=_load,
    network=functools.partial(value_of, "--ckpt"),
)
