"""NVIDIA's feature detectors: Inception, which FID is defined by, and [K19]'s VGG-16.

The TorchScript files of stylegan2-ada-pytorch's metrics, out of the cache that its scripts download
them into, or downloaded to there. The copies that stylegan3 downloads are pickles, which can run
anything when they are opened; ganfix opens none.

[K19]: Kynkäänniemi et al., NeurIPS 2019.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import torch

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.download import impatient

URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
INCEPTION, VGG16 = "inception-2015-12-05.pt", "vgg16.pt"


def folder() -> Path:
    """Where the hosts' dnnlib keeps what it has downloaded."""
    cache = os.environ.get("DNNLIB_CACHE_DIR") or Path.home() / ".cache" / "dnnlib"
    return Path(cache, "downloads")


def cached(name: str) -> Path | None:
    """The file of a detector in that folder, as dnnlib finds it, if it is there."""
    return next(folder().glob(f"{_hash(name)}_*"), None)


def detector(name: str) -> torch.jit.ScriptModule:
    """A detector of uint8 images [N, 3, H, W], on the CPU; downloaded first if it is not there.

    Raises:
        GanfixError: if it cannot be had, or the file is damaged.
    """
    file = cached(name) or _downloaded(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; the hosts use it
            network: torch.jit.ScriptModule = torch.jit.load(str(file), map_location="cpu").eval()
            return network
    except (RuntimeError, ValueError, IndexError) as error:
        raise GanfixError(
            f"{file}: damaged or no TorchScript file; delete it and it will be downloaded again"
        ) from error


def _downloaded(name: str) -> Path:
    file = folder() / f"{_hash(name)}_{name}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with impatient():
            torch.hub.download_url_to_file(URL + name, str(file))
    except OSError as error:  # every error of a connection is one
        raise GanfixError(
            f"{name} is not in {file.parent}, and {URL + name} cannot be downloaded to there "
            f"({getattr(error, 'reason', None) or error})"
        ) from error
    return file


def _hash(name: str) -> str:
    return hashlib.md5((URL + name).encode()).hexdigest()
