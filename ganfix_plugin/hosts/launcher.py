"""Run an unmodified script as Python itself would, with a session around it.

Both doors end here: ``ganfix run SCRIPT`` directly, a patched script through `door.enter`.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from torch.multiprocessing.spawn import ProcessRaisedException

from ganfix_plugin import workers
from ganfix_plugin.correctors.bind import check_spec, unbundled
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts import devices, flags
from ganfix_plugin.hosts.console import complain, speak
from ganfix_plugin.hosts.flags import Flag
from ganfix_plugin.hosts.host import Host, Situation, find_host, no_host
from ganfix_plugin.hosts.metrics import Measuring
from ganfix_plugin.hosts.screening import Screen
from ganfix_plugin.hosts.session import UNKNOWN, Session

_PASSED_THROUGH = (__file__, flags.__file__, devices.__file__)

active = False
"""Whether this process is running a script already."""


def run(
    target: str, arguments: Sequence[str], device: str | None = None, module: bool = False
) -> int:
    """Run a script to its end and return the status to leave the process with.

    Args:
        target: a script's file, or with ``module`` the name of a module as after ``python -m``.
        arguments: the script's own, and any number of ``--correct``.
        device: "cpu", "cuda" or "mps"; by default CUDA where there is some, else the CPU.

    Errors of ganfix are printed in one line. The script's own exceptions are shown with their
    traceback, without the frames of ganfix.
    """
    global active
    active = True
    streams = sys.stdout, sys.stderr
    speak()
    try:
        found, session, others, shown = _prepare(target, arguments, device, module)
        sys.argv = [str(found.origin) if module else target, *others]
        with session.installed(), flags.shown_in_help(*shown):
            status = _run_as_main(found)
            sys.stdout, sys.stderr = streams  # hosts put loggers in their place
            if not status and not flags.asks_for_help(others):
                session.finish()
        return status
    except GanfixError as error:
        sys.stdout, sys.stderr = streams
        if workers.first_to_fail():
            complain(error)
        return 1
    except BaseException as error:
        ours = re.search(r"^ganfix_plugin\.errors\.GanfixError: (.*)\Z", str(error).strip(), re.M)
        if ours and isinstance(error, ProcessRaisedException):
            # The first of the ranks to fail has ended the others; it was one of our errors.
            sys.stdout, sys.stderr = streams
            complain(GanfixError(ours[1]))
            return 1
        error.__traceback__ = _without_our_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def _prepare(
    target: str, arguments: Sequence[str], device: str | None, module: bool
) -> tuple[ModuleSpec, Session, list[str], tuple[Flag, ...]]:
    """What to run, in which session, with which arguments, and the flags of ours in its help; all
    errors before it runs are here."""
    given, others = flags.take(arguments)
    screens, others = flags.take(others, flags.SCREEN)
    specs = [str(spec) for each in given for spec in unbundled(each)]
    for spec in specs:
        check_spec(spec)
    screen = Screen.parse(screens[0]) if screens else None
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11
        sys.path[0] = os.getcwd() if module else str(Path(target).resolve().parent)
    found = _find_module(target) if module else _find_script(target)
    script = Path(str(found.origin))
    session = _session(script, specs, screen, device)
    ours = _flags(script, session.host)
    values = {}
    for flag in ours:
        values[flag.name], others = flags.take(others, flag)
    if not flags.asks_for_help(others):
        session.measuring = Measuring.asked(values)
    shown = (flags.CORRECT, *((flags.SCREEN,) if session.seeds_option else ()), *ours)
    option = session.host.folders.get(script.name, "")
    return found, session, _apart(others, option, session.apart), shown


def _flags(script: Path, host: Host) -> tuple[Flag, ...]:
    """Our flags that a script takes; one that it has itself, under this name, is left to it."""
    source = script.read_text(encoding="utf-8-sig", errors="replace")
    known = host.flags.get(script.name, ())
    return tuple(flag for flag in known if not re.search(rf"""["']{flag.name}["']""", source))


def _apart(arguments: Sequence[str], option: str, folder: str) -> list[str]:
    """A command line whose ``option`` names a folder of our own below the one it named."""
    if not option or not folder:
        return list(arguments)
    changed: list[str] = []
    follows = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        # argparse takes unambiguous beginnings of its options.
        names_it = len(name) > 2 and option.startswith(name)
        if follows:
            argument = os.path.join(argument, folder)
        elif names_it and equals:
            argument = f"{option}={os.path.join(value, folder)}"
        follows = names_it and not equals and not follows
        changed.append(argument)
    return changed


def _find_script(name: str) -> ModuleSpec:
    path = os.path.join(os.getcwd(), name)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "there is no such script"
        raise GanfixError(f"{name}: {what}; give the file of a Python script")
    return ModuleSpec("__main__", SourceFileLoader("__main__", path), origin=path)


def _find_module(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError:
        spec = None
    if not spec or not spec.origin or not isinstance(spec.loader, InspectLoader):
        raise GanfixError(f"{name}: there is no such module to run; a script is named by its file")
    return spec


def _session(
    script: Path, specs: Sequence[str], screen: Screen | None, device: str | None
) -> Session:
    found = find_host(script.parent, Path.cwd())
    if not found:
        if specs or screen:
            raise no_host(script.parent)
        # A script of which nothing is known keeps its devices, unless another was asked for.
        where = devices.resolve_device(device) if device else "cuda"
        return Session(UNKNOWN, Situation(script.parent, where))
    host, checkout = found
    if script.name in host.refused:
        raise GanfixError(f"{script.name}: {host.refused[script.name]}")
    seeds_option = host.seeds.get(script.name, "")
    if screen and not seeds_option:
        raise GanfixError(
            f"--screen {screen}: {script.name} has no seed per image: {host.seedless}"
        )
    situation = Situation(checkout, devices.resolve_device(device))
    return Session(host, situation, tuple(specs), screen, seeds_option)


def _run_as_main(found: ModuleSpec) -> int:
    """Run a script or module as ``__main__`` and return the status it leaves with.

    The attributes are those that Python gives; a script has no spec, and its code is not cached.
    The module stays ``__main__`` afterwards: functions to be called at exit may need it.
    """
    loader: Any = found.loader
    main = ModuleType("__main__")
    vars(main).update(__file__=found.origin, __cached__=found.cached)
    vars(main).update(__loader__=loader, __builtins__=builtins)
    if found.name == "__main__":
        code = compile(loader.get_data(found.origin), str(found.origin), "exec", dont_inherit=True)
    else:
        vars(main).update(__spec__=found, __package__=found.parent)
        code = loader.get_code(found.name)
    sys.modules["__main__"] = main
    try:
        exec(code, vars(main))
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    return 0


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    if trace is None:
        return None
    trace.tb_next = _without_our_frames(trace.tb_next)
    return trace.tb_next if trace.tb_frame.f_code.co_filename in _PASSED_THROUGH else trace
