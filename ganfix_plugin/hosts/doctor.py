"""What `ganfix doctor` says about a folder of code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import torch

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts import requirements
from ganfix_plugin.hosts.compat import needed
from ganfix_plugin.hosts.devices import resolve_device
from ganfix_plugin.hosts.generic import GENERIC
from ganfix_plugin.hosts.host import Situation, code_of, find_host, project_of
from ganfix_plugin.hosts.patching import states
from ganfix_plugin.hosts.scripts import fates


def examine(folder: Path, device: str | None = None) -> Iterator[str]:
    """The lines of a report: host, commit, what becomes of each script, active workarounds with
    reasons, custom ops.

    Raises:
        GanfixError: if there is no such folder, or the device is not here.
    """
    if not folder.is_dir():
        raise GanfixError(f"{folder}: no such folder; expected one with scripts in it")
    host, checkout = find_host(folder.resolve()) or (GENERIC, project_of(folder.resolve()))
    situation = Situation(checkout, resolve_device(device))
    yield f"host       {host.title}"
    yield f"commit     {_commit(checkout)}"
    yield f"device     {situation.device} (PyTorch {torch.__version__})"
    for module in requirements.missing(host.name):
        install = requirements.install(host.name)
        yield f"missing    {module}, which its scripts may import: {install}"
    scripts = {
        **dict(fates(checkout)),
        **{name: f"refused: {reason}" for name, reason in host.refused.items()},
        **dict(states(host, checkout)),
    }
    present = {name: fate for name, fate in scripts.items() if (checkout / name).is_file()}
    yield "scripts" if present else "scripts    none that runs networks of PyTorch's"
    width = max(map(len, present), default=0)
    for name, fate in present.items():
        yield f"  {name:<{width}} {fate}"
    active = needed(host, situation)
    yield "mended, in ganfix's process only" if active else "nothing has to be mended"
    for workaround, reason in active:
        yield f"  {workaround.name}: {workaround.symptom}"
        yield f"    why here: {reason}"
        yield f"    remedy: {workaround.remedy}"
    yield from _custom_ops(checkout, situation.device)


def _commit(checkout: Path) -> str:
    git = ("git", "-C", str(checkout))
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        state = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return "unknown (git is not installed)"
    if head.returncode:
        return "unknown (not a git checkout)"
    return head.stdout.strip() + (", with local changes" if state.stdout.strip() else "")


def _custom_ops(checkout: Path, device: str) -> Iterator[str]:
    """Whether the CUDA ops of the host can be built here, and what happens if not."""
    folders = {(checkout / name).parent for name in code_of(checkout)}
    sources = sorted({file.name for place in folders for file in place.glob("*.cu")})
    if not sources:
        yield "custom CUDA ops: none"
        return
    tools = {
        "ninja": shutil.which("ninja"),
        "C++ compiler": shutil.which("c++") or shutil.which("g++") or shutil.which("cl"),
        "nvcc": shutil.which("nvcc"),
        "CUDA device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    yield f"custom CUDA ops: {', '.join(sources)}"
    for tool, place in tools.items():
        yield f"  {tool:<16} {place or 'missing'}"
    missing = [tool for tool, place in tools.items() if not place]
    if device != "cuda":
        yield f"  not used on {device}: its slower reference ops run, with the same results"
    elif missing:
        yield f"  cannot be built without {' and '.join(missing)}: slower reference ops run"
    else:
        yield "  built on first use; if that fails, the host's slower reference ops run"
