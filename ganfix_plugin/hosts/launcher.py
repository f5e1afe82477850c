"""Run an unmodified script as Python itself would, with a session around it.

Both doors end here: ``ganfix run SCRIPT`` directly, a patched script through `door.enter`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from torch.multiprocessing.spawn import ProcessRaisedException

from ganfix_plugin import workers
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts import devices, flags, main_module
from ganfix_plugin.hosts.console import complain, speak
from ganfix_plugin.hosts.flags import Flag
from ganfix_plugin.hosts.host import Host, Situation, find_host, no_host
from ganfix_plugin.hosts.metric_options import MetricOptions
from ganfix_plugin.hosts.screening import Screen
from ganfix_plugin.hosts.session import UNKNOWN, Run, Session

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
        main_spec, session, others, shown = _prepare(target, arguments, device, module)
        sys.argv = [str(main_spec.origin) if module else target, *others]
        with session.installed(), flags.shown_in_help(*shown):
            status = main_module.run_as_main(main_spec)
            sys.stdout, sys.stderr = streams  # hosts put loggers in their place
            if not status and not flags.asks_for_help(others):
                session.finish()
        return status
    except GanfixError as error:
        sys.stdout, sys.stderr = streams
        if workers.first_to_fail(str(error)):
            complain(error)
        return 1
    except BaseException as error:
        ours = re.search(r"^ganfix_plugin\.errors\.GanfixError: (.*)\Z", str(error).strip(), re.M)
        if ours and isinstance(error, ProcessRaisedException):
            # The first of the ranks to fail has ended the others; it was one of our errors.
            sys.stdout, sys.stderr = streams
            complain(GanfixError(ours[1]))
            return 1
        error.__traceback__ = main_module.without_frames(error.__traceback__, _PASSED_THROUGH)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def _prepare(
    target: str, arguments: Sequence[str], device: str | None, module: bool
) -> tuple[ModuleSpec, Session, list[str], tuple[Flag, ...]]:
    """What to run, in which session, with which arguments, and the flags of ours in its help; all
    errors before it runs are here."""
    values, others = flags.take(arguments, flags.CORRECT)
    screens, others = flags.take(others, flags.SCREEN)
    specs = tuple(parse_specs(values))
    screen = Screen.parse(screens[0]) if screens else None
    if not getattr(sys.flags, "safe_path", False):  # since Python 3.11
        sys.path[0] = os.getcwd() if module else str(Path(target).resolve().parent)
    main_spec = main_module.find_module(target) if module else main_module.find_script(target)
    script = Path(str(main_spec.origin))
    host, situation = _surroundings(script, device, corrects=bool(specs or screen))
    seeds_option = host.seeds.get(script.name, "")
    if screen and not seeds_option:
        raise GanfixError(
            f"--screen {screen}: {script.name} has no seed per image: {host.seedless}"
        )
    metric_flags = _flags(script, host)
    metric_values: dict[str, str] = {}
    for flag in metric_flags:
        values, others = flags.take(others, flag)
        metric_values.update((flag.name, value) for value in values)
    metrics = MetricOptions()
    if not flags.asks_for_help(others):
        metrics = MetricOptions.parse(metric_values)
    session = Session(Run(situation, host.name, specs, metrics), screen, seeds_option)
    shown = (flags.CORRECT, *((flags.SCREEN,) if seeds_option else ()), *metric_flags)
    option = host.folders.get(script.name, "")
    return main_spec, session, _apart(others, option, session.run.apart), shown


def _surroundings(script: Path, device: str | None, corrects: bool) -> tuple[Host, Situation]:
    """Whose script it is, in which checkout, and where its networks are to run."""
    checkout = find_host(script.parent, Path.cwd())
    if not checkout:
        if corrects:
            raise no_host(script.parent)
        # A script of which nothing is known keeps its devices, unless another was asked for.
        where = devices.resolve_device(device) if device else "cuda"
        return UNKNOWN, Situation(script.parent, where)
    host, folder = checkout
    if script.name in host.refused:
        raise GanfixError(f"{script.name}: {host.refused[script.name]}")
    return host, Situation(folder, devices.resolve_device(device))


def _flags(script: Path, host: Host) -> tuple[Flag, ...]:
    """Our flags that a script takes; one that it has itself, under this name, is left to it."""
    source = script.read_text(encoding="utf-8-sig", errors="replace")
    return tuple(
        flag
        for flag in host.flags.get(script.name, ())
        if not re.search(rf"""["']{flag.name}["']""", source)
    )


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
