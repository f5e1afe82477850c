"""Feature detectors in the form that the hosts' metrics use, from files and names of the user's.

A detector takes images [N, 3, H, W], uint8 from 0 to 255, and returns features [N, D]. NVIDIA's are
TorchScript downloads; one of these stands in for them.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.features.extractors import Adapted, checked, load_extractor
from ganfix_plugin.generators.generator import fingerprint

HINT = "a TorchScript file, module:callable, or the name of a feature extractor (ganfix list)"


@dataclass(frozen=True)
class Detector:
    """Which detector to use: small, so that it can go along to other processes.

    What it computed is kept by the digest: 16 hexadecimal digits that change with the network.
    """

    source: str  # as the user named it
    digest: str

    @classmethod
    def named(cls, source: str) -> Detector:
        """Find a detector and read it once; raises GanfixError if it cannot be loaded."""
        network = _open(source)
        if os.path.isfile(source):
            content = Path(source).read_bytes()
        else:
            weights = fingerprint(network) if isinstance(network, nn.Module) else ""
            content = f"{source}{weights}".encode() + _source_of(network)
        return cls(source, hashlib.sha256(content).hexdigest()[:16])

    @property
    def name(self) -> str:
        """Short, and fit for the name of a file."""
        return Path(self.source).stem.replace(":", ".")

    def __str__(self) -> str:
        return f"{self.source} {self.digest}"

    def load(self, device: torch.device) -> Features:
        """The network, on a device."""
        # Path lengths copy it, and copies of what requires gradients cannot be frozen any more.
        return Features(self.source, _open(self.source)).to(device).eval().requires_grad_(False)


class Features(nn.Module):
    """A detector that says in one line what does not fit.

    It is called as hosts call theirs: with images, and with ``return_features=True`` or what else
    one of their metrics wants of its detector. Only ``return_features`` may be unknown to it.
    """

    def __init__(self, source: str, network: Callable[..., Any]) -> None:
        super().__init__()
        self.source, self.network = source, network

    def forward(self, images: Tensor, **wanted: Any) -> Tensor:
        """Features [N, D] of images [N, 3, H, W].

        Raises:
            GanfixError: if it fails, does not know what is wanted, or returns another shape.
        """
        if not _takes(self.network, "return_features"):
            wanted.pop("return_features", None)
        for key in wanted:
            if not _takes(self.network, key):
                raise GanfixError(
                    f"detector {self.source}: takes no {key}=, which this metric needs; "
                    "give it a detector that does, or choose other metrics"
                )
        try:
            with torch.no_grad():
                features = self.network(images, **wanted)
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[-1]
            shape = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            message = f"detector {self.source}: failed on images {shape}: {cause}"
            raise GanfixError(message) from error
        return checked(features, f"detector {self.source}", "features", len(images), "D")


def _open(source: str) -> Callable[..., Any]:
    if source.endswith(".pkl"):
        raise GanfixError(
            f"detector {source}: a pickle can run anything, and ganfix opens none; expected {HINT}"
        )
    if os.path.isfile(source):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is deprecated; the hosts use it
                return torch.jit.load(source, map_location="cpu").eval()
        except (RuntimeError, ValueError, IndexError) as error:
            raise GanfixError(f"detector {source}: no TorchScript file; expected {HINT}") from error
    if source in registry.names(registry.EXTRACTORS):
        extractor = load_extractor(source)
        return Adapted(extractor.network, lambda _, x: extractor.features(x.float() / 127.5 - 1))
    if ":" in source and os.sep not in source:
        return registry.import_callable(source, "detector")
    raise GanfixError(f"detector {source}: no such file; expected {HINT}")


def _takes(network: Callable[..., Any], keyword: str) -> bool:
    if isinstance(network, torch.jit.ScriptModule):
        method: Any = network.forward
        return keyword in (argument.name for argument in method.schema.arguments)
    declared = inspect.signature(
        network.forward if isinstance(network, nn.Module) else network
    ).parameters
    return keyword in declared or any(one.kind is one.VAR_KEYWORD for one in declared.values())


def _source_of(network: Callable[..., Any]) -> bytes:
    """The text of the module that it comes from, as far as there is any."""
    kind = network if inspect.isroutine(network) else type(network)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return Path(file).read_bytes() if file and file.endswith(".py") else b""
