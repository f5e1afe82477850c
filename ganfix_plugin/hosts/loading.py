"""One loader for ``--network`` of every command."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts import requirements
from ganfix_plugin.hosts.devices import resolve_device
from ganfix_plugin.hosts.host import Host, Situation, find_host, opening
from ganfix_plugin.hosts.session import Run, Session
from ganfix_plugin.registry import import_callable
from ganfix_plugin.workers import world

_FUNCTION = re.compile(r"[\w.]+:\w+")
_BUNDLE_INSTEAD = "write spec and profile to a bundle instead: --out NAME.safetensors"


@contextmanager
def open_network(
    network: str,
    checkout: Path | None = None,
    device: str | None = None,
    adapter_name: str | None = None,
) -> Iterator[Generator]:
    """The generator of a name, in evaluation mode and on a device, and its discriminator.

    Args:
        network: ``module:function`` returning a generator, or, like a network pickle, a dictionary
            with "G_ema" and perhaps "D"; or whatever the host of the checkout opens: a network
            pickle or its URL, a genforce model name or ``.pth``.
        checkout: the host's folder; by default the current one. Its modules can be imported while
            the context lasts, and its workarounds are applied.
        device: "cpu", "cuda" or "mps"; by default CUDA where there is some.
        adapter_name: take this adapter instead of looking for one.

    Raises:
        GanfixError: if there is no such network, no host that could open it, or no adapter that
            knows the generator.
    """
    where = resolve_device(device)
    if where == "cuda" and world() > 1:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    with _loaded(network, checkout, where) as networks:
        G, D = _ready(networks["G_ema"], network, where), networks.get("D")
        del networks  # a network pickle holds others, too
        discriminator = D if isinstance(D, nn.Module) else None
        generator = Generator.of(G, adapter_name, discriminator=discriminator)
        yield replace(generator, options=opening(network, checkout, device, adapter_name))


@contextmanager
def open_networks(
    network: str, checkout: Path | None = None, device: str | None = None
) -> Iterator[dict[str, Any]]:
    """Everything in a network's file, the generator under "G_ema", on the CPU.

    Raises:
        GanfixError: as `open_network`, and where there is no file, or one of weights only
            (genforce).
    """
    if _FUNCTION.fullmatch(network):
        raise GanfixError(
            f"--network {network}: a function, and no network pickle to write the corrections "
            f"into; {_BUNDLE_INSTEAD}"
        )
    with _host_of(network, checkout, resolve_device(device)) as host:
        if not host.carries_code:
            raise GanfixError(
                f"--network {network}: a file of {host.title} holds weights only and cannot carry "
                f"code; {_BUNDLE_INSTEAD}"
            )
        with requirements.named(f"--network {network}"):
            networks = host.load(network)
        networks["G_ema"] = _ready(networks["G_ema"], network, "cpu")
        yield networks


@contextmanager
def _loaded(network: str, checkout: Path | None, device: str) -> Iterator[Mapping[str, Any]]:
    """The networks of a name, the generator under "G_ema", while they can be used."""
    if not _FUNCTION.fullmatch(network):
        with _host_of(network, checkout, device) as host:
            with requirements.named(f"--network {network}"):
                networks = host.load(network)
            yield networks
        return
    with importable((checkout or Path.cwd()).resolve()):
        function = import_callable(network, "--network")
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise GanfixError(
                f"--network {network}: expected a function that needs no arguments ({error})"
            ) from None
        except ValueError:  # one that does not tell
            pass
        result = function()
        yield result if isinstance(result, dict) and "G_ema" in result else {"G_ema": result}


@contextmanager
def _host_of(network: str, checkout: Path | None, device: str) -> Iterator[Host]:
    """The host that opens a network, while its checkout can be imported, with its workarounds."""
    folder = (checkout or Path.cwd()).resolve()
    with importable(folder):
        hosted = find_host(folder)
        if not hosted:
            if "://" not in network and Path(network).suffix and not Path(network).is_file():
                raise GanfixError(f"--network {network}: no such file")
            raise GanfixError(
                f"--network {network}: {folder} is no checkout of a known host, which its classes "
                "are imported from; run this there, or give --host DIR"
            )
        host, _ = hosted
        with Session(Run(Situation(folder, device), host.name)).installed():
            yield host


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """What a folder holds can be imported in here; afterwards another host may have those names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        new = {name: sys.modules[name] for name in set(sys.modules) - before}
        for name in [name for name, module in new.items() if _is_from(module, folder)]:
            del sys.modules[name]
        sys.path.remove(str(folder))


def _is_from(module: ModuleType, folder: Path) -> bool:
    # A folder without __init__.py is a package without a file.
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(Path(place).is_relative_to(folder) for place in places if place)


def _ready(G: object, network: str, device: str) -> nn.Module:
    if not isinstance(G, nn.Module):
        raise GanfixError(
            f"--network {network}: found {type(G).__name__}, expected a generator (torch.nn.Module)"
        )
    return G.eval().requires_grad_(False).to(device)
