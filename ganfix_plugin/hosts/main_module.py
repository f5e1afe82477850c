"""A script or module, found and run as Python itself would: as ``__main__``."""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
from collections.abc import Collection
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any

from ganfix_plugin.errors import GanfixError


def find_script(name: str) -> ModuleSpec:
    """A script by its file.

    Raises:
        GanfixError: if there is none.
    """
    path = os.path.join(os.getcwd(), name)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "there is no such script"
        raise GanfixError(f"{name}: {what}; give the file of a Python script")
    return ModuleSpec("__main__", SourceFileLoader("__main__", path), origin=path)


def find_module(name: str) -> ModuleSpec:
    """A module by its name, as after ``python -m``.

    Raises:
        GanfixError: if there is none that can be run.
    """
    try:
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError:
        spec = None
    if not spec or not spec.origin or not isinstance(spec.loader, InspectLoader):
        raise GanfixError(f"{name}: there is no such module to run; a script is named by its file")
    return spec


def run_as_main(spec: ModuleSpec) -> int:
    """Run a script or module as ``__main__`` and return the status it leaves with.

    The attributes are those that Python gives; a script has no spec, and its code is not cached.
    The module stays ``__main__`` afterwards: functions to be called at exit may need it.
    """
    loader: Any = spec.loader
    main = ModuleType("__main__")
    vars(main).update(__file__=spec.origin, __cached__=spec.cached)
    vars(main).update(__loader__=loader, __builtins__=builtins)
    if spec.name == "__main__":
        code = compile(loader.get_data(spec.origin), str(spec.origin), "exec", dont_inherit=True)
    else:
        vars(main).update(__spec__=spec, __package__=spec.parent)
        code = loader.get_code(spec.name)
    sys.modules["__main__"] = main
    try:
        exec(code, vars(main))
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    return 0


def without_frames(trace: TracebackType | None, files: Collection[str]) -> TracebackType | None:
    """A traceback without the frames of the code in some files, and of this one."""
    if trace is None:
        return None
    trace.tb_next = without_frames(trace.tb_next, files)
    return trace.tb_next if trace.tb_frame.f_code.co_filename in (__file__, *files) else trace
