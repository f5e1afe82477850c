"""Reading network pickles: the one way in for every script."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

from dnnlib.util import UserError
from torch import nn
from torch_utils import misc

NETWORKS = ("G", "D", "G_ema")
HALF = {"num_fp16_res": 4, "conv_clamp": 256}


def load_network_pkl(f: BinaryIO, force_fp16: bool = False) -> dict[str, Any]:
    """The dictionary of a network pickle: `G`, `D`, `G_ema`, `training_set_kwargs`, `augment_pipe`.

    The last two are None where the pickle lacks them. `force_fp16` rebuilds the networks with half
    floats in the four highest resolutions. A pickle runs code: open only those you trust. Raises
    `UserError` if `f` holds anything else."""
    name = getattr(f, "name", "network pickle")
    try:
        data = pickle.load(f)
    except (pickle.UnpicklingError, EOFError, ImportError, AttributeError) as error:
        raise UserError(f"{name}: not a network pickle that opens here ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{name}: expected a dictionary of networks, found {type(data).__name__}")
    expected: dict[str, Any] = {
        **dict.fromkeys(NETWORKS, nn.Module),
        "training_set_kwargs": (dict, type(None)),
        "augment_pipe": (nn.Module, type(None)),
    }
    for key, kind in expected.items():
        if key in NETWORKS and key not in data:
            raise UserError(f"{name}: no {key!r} in the pickle, it has {', '.join(map(str, data))}")
        if not isinstance(data.setdefault(key, None), kind):
            raise UserError(f"{name}: {key!r} cannot be a {type(data[key]).__name__}")
    if force_fp16:
        for key in NETWORKS:
            data[key] = _in_half_floats(data[key], key)
    return data


def _in_half_floats(old: Any, key: str) -> nn.Module:
    kwargs = old.init_kwargs
    if key == "D":
        kwargs.update(HALF)
    else:
        kwargs.synthesis_kwargs = {**(kwargs.get("synthesis_kwargs") or {}), **HALF}
    new = type(old)(*old.init_args, **kwargs).eval().requires_grad_(False)
    misc.copy_params_and_buffers(old, new)
    return new
