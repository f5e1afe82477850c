"""Run a script of NVIDIA's on a CPU, with nothing of ganfix: for check_hosts.py.

    python without_ganfix.py SCRIPT [ARGUMENTS]…

Whatever asks for CUDA gets the CPU. Refuses to run where ganfix can be imported.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class OnCpu(TorchFunctionMode):
    """While active, 'cuda' means the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.pin_memory:
            return args[0]
        if func is torch.Tensor.cuda:
            return args[0].cpu()
        if func is torch.Tensor.to:
            args = tuple(_on_cpu(each) for each in args)
        return func(*args, **{name: _on_cpu(each) for name, each in (kwargs or {}).items()})


def _on_cpu(value: Any) -> Any:
    is_cuda = isinstance(value, (torch.device, str)) and str(value).partition(":")[0] == "cuda"
    return torch.device("cpu") if is_cuda else value


def main() -> None:
    if importlib.util.find_spec("ganfix_plugin"):
        sys.exit("ganfix can be imported here, so that this would prove nothing")
    torch.manual_seed(0)  # random noise is otherwise different in every run
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    with OnCpu():
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
