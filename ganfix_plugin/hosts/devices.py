"""Where a script's networks run, whatever device is written in its code."""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.host import Function, Situation, Workaround, Wrapper, around
from ganfix_plugin.hosts.import_hooks import replaced

DEVICES = ("cpu", "cuda", "mps")


def resolve_device(name: str | None) -> str:
    """The device to run on: the one asked for, or CUDA where there is some, else the CPU.

    Raises:
        GanfixError: if the device asked for is unknown or not here.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not name:
        return "cuda" if present["cuda"] else "cpu"
    if name not in present:
        raise GanfixError(f"device {name}: unknown; choose one of {', '.join(DEVICES)}")
    if not present[name]:
        here = ", ".join(device for device in DEVICES if present[device])
        raise GanfixError(
            f"device {name}: PyTorch {torch.__version__} sees none here; there is {here}"
        )
    return name


class CudaElsewhere(TorchFunctionMode):
    """While active in this thread, whatever asks for CUDA gets another device."""

    def __init__(self, device: str):
        super().__init__()
        self.device = torch.device(device)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if "device" in kwargs:
            kwargs = {**kwargs, "device": self._elsewhere(kwargs["device"])}
        if func is Tensor.pin_memory:
            return args[0]
        if func is Tensor.cuda:
            return args[0].to(self.device)
        if func is Tensor.to:
            args = self._moved(*args)
        return func(*args, **kwargs)

    def _moved(self, tensor: Tensor, *target: Any) -> tuple[Any, ...]:
        """The arguments of Tensor.to, whose first may be a device, a dtype or a tensor."""
        if self.device.type == "mps" and tensor.dtype is torch.float64:
            # Apple's GPUs have no float64, which numpy's random numbers come in.
            tensor = tensor.float()
        return (tensor, self._elsewhere(target[0]), *target[1:]) if target else (tensor,)

    def _elsewhere(self, value: Any) -> Any:
        """Our device for CUDA's, however written; any other value as it is."""
        if isinstance(value, (int, str)):
            value = torch.device("cuda", value) if isinstance(value, int) else torch.device(value)
        return self.device if isinstance(value, torch.device) and value.type == "cuda" else value


def _available_where_asserted(is_available: Callable[[], bool]) -> Callable[[], bool]:
    """The answer to a line of code that ends the script without CUDA; all others get the truth."""

    def answer() -> bool:
        frame = inspect.currentframe()
        caller = frame.f_back if frame else None
        line = linecache.getline(caller.f_code.co_filename, caller.f_lineno) if caller else ""
        return line.lstrip().startswith("assert torch.cuda.is_available()") or is_available()

    return answer


@contextmanager
def _cuda_elsewhere(situation: Situation) -> Iterator[None]:
    """`CudaElsewhere`, and one device for scripts that count, choose or insist on GPUs."""
    with (
        replaced(torch.cuda, "is_available", _available_where_asserted(torch.cuda.is_available)),
        replaced(torch.cuda, "device_count", lambda: 1),
        replaced(torch.cuda, "current_device", lambda: 0),
        replaced(torch.cuda, "set_device", lambda device: None),
        CudaElsewhere(situation.device),
    ):
        yield


@around
def _gloo_for_nccl(
    situation: Situation, start: Function, backend: str | None = None, *args: Any, **kwargs: Any
) -> Any:
    if backend != "nccl":
        return start(backend, *args, **kwargs)
    start("gloo", *args, **kwargs)
    # Scripts made for NCCL end with their group alive, and gloo's threads may then abort the
    # process (PyTorch 179291). Unlike atexit's, this runs in forked processes, too.
    Finalize(None, _end_group, exitpriority=0)


def _end_group() -> None:
    """Unless this process fails: then ending the group may wait for one that never answers."""
    if torch.distributed.is_initialized() and sys.exc_info()[0] is None:
        torch.distributed.destroy_process_group()


@around
def _in_single(
    situation: Situation, cdist: Function, x1: Tensor, x2: Tensor, *args: Any, **kwargs: Any
) -> Any:
    if x1.dtype is not torch.float16:
        return cdist(x1, x2, *args, **kwargs)
    return cdist(x1.float(), x2.float(), *args, **kwargs).to(x1.dtype)


def _measures_half(situation: Situation) -> str:
    user = situation.user_of("torch.cdist(")
    return _no_cuda(situation) and user and f"{user} calls it, and {_no_cuda(situation)}"


def _no_cuda(situation: Situation) -> str:
    return "" if situation.device == "cuda" else f"the networks run on {situation.device}"


CUDA_ELSEWHERE = Workaround(
    "cuda-elsewhere",
    "Torch not compiled with CUDA enabled: 'cuda' is written into the scripts, or asserted",
    "in our process, whatever asks for CUDA gets the device of --device or GANFIX_DEVICE",
    _no_cuda,
    _cuda_elsewhere,
)
HALF_DISTANCES = Workaround(
    "half-distances",
    "\"cdist\" not implemented for 'Half' (precision and recall metrics)",
    "distances between half-precision features are computed in single precision",
    _measures_half,
    Wrapper("torch", "cdist", _in_single).installed,
)
NCCL = Workaround(
    "nccl",
    "Distributed package doesn't have NCCL built in: the nccl backend needs GPUs",
    "several processes talk through gloo, and end as it wants them to",
    _no_cuda,
    Wrapper("torch.distributed", "init_process_group", _gloo_for_nccl).installed,
)
