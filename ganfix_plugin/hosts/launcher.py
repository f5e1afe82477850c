"""Run an unmodified script as Python itself would, with a session around it.

Both doors end here: ``ganfix run SCRIPT`` directly, a patched script through `door.enter`.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import islice
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from torch.multiprocessing.spawn import ProcessRaisedException

from ganfix_plugin import workers
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts import devices, flags, generic, requirements
from ganfix_plugin.hosts import host as host_module
from ganfix_plugin.hosts.console import speak
from ganfix_plugin.hosts.flags import Flag, MetricOptions
from ganfix_plugin.hosts.generic import GENERIC, NOTHING_SAID, Word
from ganfix_plugin.hosts.host import Host, Situation, find_host, project_of, value_of
from ganfix_plugin.hosts.record import CommandLine
from ganfix_plugin.hosts.session import Run, Session

_PASSED_THROUGH = tuple(str(part.__file__) for part in (flags, devices, host_module, generic)) + (
    __file__,
)

active = False
"""Whether this process is running a script already."""


def run(
    target: str,
    arguments: Sequence[str],
    device: str | None = None,
    module: bool = False,
    word: Word = NOTHING_SAID,
) -> int:
    """Run a script to its end and return the status to leave the process with.

    Args:
        target: a script's file, or with ``module`` the name of a module as after ``python -m``.
        arguments: the script's own, and any number of ``--correct``.
        device: "cpu", "cuda" or "mps"; by default CUDA where there is some, else the CPU.
        word: what the user says of the generator.

    Errors of ganfix are printed in one line. The script's own exceptions are shown with their
    traceback, without the frames of ganfix.
    """
    global active
    active = True
    streams = sys.stdout, sys.stderr
    speak()
    try:
        main_spec, session, shown = _prepared(target, arguments, device, module, word)
        asks_for_help = flags.asks_for_help(sys.argv)
        with session.installed(), flags.shown_in_help(*shown):
            with _missing_network(session), requirements.named(target):
                status = _run_as_main(main_spec)
            sys.stdout, sys.stderr = streams  # hosts put loggers in their place
            if not status and not asks_for_help:
                session.finish()
        return status
    except BaseException as error:
        ours: Any = error if isinstance(error, GanfixError) else None
        if isinstance(error, ProcessRaisedException):
            # The first of the ranks to fail has ended the others; perhaps it was one of our errors.
            pattern = r"^ganfix_plugin\.errors\.GanfixError: (.*)\Z"
            match = re.search(pattern, str(error).strip(), re.M)
            ours = match and match[1]
        if ours is not None:
            sys.stdout, sys.stderr = streams
            if ours is not error or workers.first_to_fail(str(error)):
                print(f"Error: {ours}", file=sys.stderr, flush=True)
            return 1
        error.__traceback__ = _without_our_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


@contextmanager
def _missing_network(session: Session) -> Iterator[None]:
    """Say in one line that the network to correct cannot be opened; other runs are the host's."""
    try:
        yield
    except OSError as error:
        network = session.run.line.network
        if not session.run.specs or error.filename != network:
            raise
        raise GanfixError(f"--network {network}: cannot be read: {error.strerror}") from error


def _prepared(
    target: str, arguments: Sequence[str], device: str | None, module: bool, word: Word
) -> tuple[ModuleSpec, Session, list[Flag]]:
    """What to run, in which session, and the flags of ours in its help; ``sys.argv`` and the path
    are the script's then. All errors before it runs are here."""
    values, others = flags.take(arguments, flags.CORRECT)
    screens, others = flags.take(others, flags.SCREEN)
    specs = tuple(parse_specs(values, screens=bool(screens)))
    screen = None
    if screens:
        from ganfix_plugin.hosts.screening import Screen  # rarely needed, slow to import

        screen = Screen.parse(screens[0])
        screen.check(specs)
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11
        sys.path[0] = os.getcwd() if module else str(Path(target).resolve().parent)
    main_spec = _find_module(target) if module else _find_script(target)
    script = Path(str(main_spec.origin))
    host, situation = _surroundings(script, device, corrects=bool(specs or screen))
    seeds_option = host.seeds.get(script.name, "")
    if screen and not seeds_option:
        raise GanfixError(
            f"--screen {screen}: {script.name} has no seed per image: {host.seedless}"
        )
    source = script.read_text(encoding="utf-8-sig", errors="replace")
    shown, metric_values = [flags.CORRECT], dict[str, str]()
    shown += [flags.SCREEN] if seeds_option else []
    for flag in host.flags.get(script.name, ()):
        if not re.search(rf"""["']{flag.name}["']""", source):  # else it is the script's own
            values, others = flags.take(others, flag)
            metric_values.update((flag.name, value) for value in values)
            shown.append(flag)
    metrics = MetricOptions.parse({} if flags.asks_for_help(others) else metric_values)
    option, default = host.outputs.get(script.name, ("", ""))
    output = value_of(option, others) or default
    line = CommandLine((target, *arguments), host.network(others), Path(output) if output else None)
    run = Run(situation, host.name, specs, metrics, line, word)
    others = _apart(others, host.folders.get(script.name, ""), run.apart)
    sys.argv = [str(script) if module else target, *others]
    return main_spec, Session(run, screen and replace(screen, option=seeds_option)), shown


def _surroundings(script: Path, device: str | None, corrects: bool) -> tuple[Host, Situation]:
    """Whose script it is, in which checkout, and where its networks are to run."""
    checkout = find_host(script.parent, Path.cwd())
    if not checkout:
        # A script of which nothing is known keeps its devices, unless it is to be changed.
        where = devices.resolve_device(device) if device or corrects else "cuda"
        return GENERIC, Situation(project_of(script.parent), where)
    host, folder = checkout
    if script.name in host.refused:
        raise GanfixError(f"{script.name}: {host.refused[script.name]}")
    return host, Situation(folder, devices.resolve_device(device))


def _apart(arguments: Sequence[str], option: str, folder: str) -> list[str]:
    """A command line whose ``option`` names a folder of our own below the one it named."""
    if not option or not folder:
        return list(arguments)
    changed: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        # argparse takes unambiguous beginnings of its options.
        if len(name) < 3 or not option.startswith(name):
            changed.append(argument)
        elif equals:
            changed.append(f"{option}={os.path.join(value, folder)}")
        else:
            changed += [argument, *(os.path.join(value, folder) for value in islice(rest, 1))]
    return changed


def _find_script(name: str) -> ModuleSpec:
    """A script by its file."""
    path = os.path.join(os.getcwd(), name)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "there is no such script"
        raise GanfixError(f"{name}: {what}; give the file of a Python script")
    return ModuleSpec("__main__", SourceFileLoader("__main__", path), origin=path)


def _find_module(name: str) -> ModuleSpec:
    """A module by its name, as after ``python -m``."""
    try:
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError:
        spec = None
    if not spec or not spec.origin or not isinstance(spec.loader, InspectLoader):
        raise GanfixError(f"{name}: there is no such module to run; a script is named by its file")
    return spec


def _run_as_main(spec: ModuleSpec) -> int:
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


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    if trace is None:
        return None
    trace.tb_next = _without_our_frames(trace.tb_next)
    return trace.tb_next if trace.tb_frame.f_code.co_filename in _PASSED_THROUGH else trace
