"""`Host`: what ganfix must know about a codebase, and how a checkout of one is found."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hosts.flags import Flag
from ganfix_plugin.hosts.import_hooks import wrapped_when_imported

if TYPE_CHECKING:
    from torch import nn

Function = Callable[..., Any]

# Why a host's train.py is refused; {} is what it writes.
TRAINING = (
    "ganfix corrects finished generators, not ones in training; run it without ganfix, and correct "
    "the {} it writes"
)


@dataclass(frozen=True)
class Situation:
    """What decides whether a workaround is needed.

    Attributes:
        checkout: the host's folder.
        device: "cuda", "cpu" or "mps": where the host's networks are to run.
    """

    checkout: Path
    device: str

    def user_of(self, text: str, pattern: str = "") -> str:
        """The first Python file of the checkout that holds a text and, which takes longer, matches
        a regular expression; "" if none."""
        files = [name for name, code in code_of(self.checkout).items() if text in code]
        matches = re.compile(pattern, re.M).search
        return next((name for name in files if matches(code_of(self.checkout)[name])), "")


@dataclass(frozen=True)
class Workaround:
    """A known way in which a host no longer works, and what ganfix does about it in its process.

    Attributes:
        name: as `ganfix doctor` lists it.
        symptom: what the user sees without ganfix.
        remedy: what ganfix does.
        reason: why it is needed in a situation; empty where it is not.
        apply: a context manager that does it, and undoes it.
    """

    name: str
    symptom: str
    remedy: str
    reason: Callable[[Situation], str]
    apply: Callable[[Situation], AbstractContextManager[None]]


def where_used(
    text: str, problem: str, unless: Callable[[], bool] = lambda: False, pattern: str = ""
) -> Callable[[Situation], str]:
    """The reason of a workaround for what code uses and what is no longer there: the first file of
    the checkout that holds it, then ``problem``; see `Situation.user_of`."""

    def reason(situation: Situation) -> str:
        user = "" if unless() else situation.user_of(text, pattern)
        return user and f"{user} {problem}"

    return reason


_ENTRIES = 1000  # of a folder of code; one with more holds data
_FILES = 1000
_DEPTH = 5


@functools.lru_cache(maxsize=4)
def code_of(folder: Path) -> Mapping[str, str]:
    """The Python files of a folder and those below it, by their path in it, with what they hold.

    Environments, hidden folders and folders of data are left out, and so is what lies deeper than
    5 folders or comes after 1000 files.
    """
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8", errors="replace")
        for file in islice(_python_files(folder, _DEPTH), _FILES)
    }


def _python_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            inside = sorted(islice(entries, _ENTRIES), key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in inside) or len(inside) == _ENTRIES:
        return
    yield from (Path(entry) for entry in inside if entry.name.endswith(".py") and entry.is_file())
    for entry in inside if depth else ():
        if not entry.name.startswith((".", "__")) and entry.is_dir(follow_symlinks=False):
            yield from _python_files(Path(entry), depth - 1)


_ROOTS = ("README.md", "README.rst", "README", "README.txt", "setup.py", "pyproject.toml", ".git")


def project_of(folder: Path) -> Path:
    """The folder of the project that a folder of scripts belongs to: the nearest one of it and
    the three above it that has a README or the like; by default the folder itself."""
    for above in (folder, *islice(folder.parents, 3)):
        if any((above / name).exists() for name in _ROOTS):
            return above
    return folder


@dataclass(frozen=True)
class Wrapper:
    """One function that ganfix wraps as soon as its module is imported.

    Attributes:
        module: where it is defined, as the host's scripts import it.
        function: its name there; ``Class.method`` for a method.
        wrap: called with the `session.Session` (in a workaround with the `Situation`) and the
            function, returns the one to use instead.
    """

    module: str
    function: str
    wrap: Callable[[Any, Function], Function]

    def installed(self, owner: Any) -> AbstractContextManager[None]:
        """Inside, the function is wrapped for a session or situation; a `Workaround.apply`."""
        wrap = functools.partial(self.wrap, owner)
        return wrapped_when_imported(self.module, self.function, wrap)


def around(call: Callable[..., Any]) -> Callable[[Any, Function], Function]:
    """A decorator: makes a `Wrapper.wrap` of what is to be called in place of the function, with
    the session or situation, the function, and the arguments."""

    def wrap(owner: Any, function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return call(owner, function, *args, **kwargs)

        return wrapped

    return wrap


@dataclass(frozen=True)
class Host:
    """A codebase.

    Attributes:
        name: as `ganfix list` shows it.
        title: for people.
        detect: whether a folder is a checkout of it, by its files and functions, not its name.
        scripts: those that produce or measure images and take ``--correct``.
        imports: a script of this host imports at least one of these modules.
        wrappers: the functions to wrap.
        load: all networks of a name or file, called while the checkout can be imported: the
            generator is "G_ema", its discriminator, if there is one, "D".
        discriminator_of: the one that belongs to a generator of a script, if it can be found where
            the script has its weights from; asked for when the generator is first called.
        carries_code: whether files of networks carry the code of their classes, or weights only.
        seeds: the scripts that render one image per seed, each with the name of the click option
            that holds them as a list; ``seedless`` says why the others do not.
        flags: what scripts take besides ``--correct``.
        folders: of scripts that keep files of theirs in one folder, the option that names it; what
            is corrected, or seen by another detector, is kept in a folder of its own below it.
        outputs: scripts that write images, each with the option that names their folder, or a file
            in it, and its default; the record of a corrected run is left there.
        refused: scripts that ganfix does not run, each with the reason.
        network: the network in a script's command line, as ``load`` takes it; empty if none is.
        workarounds: for what no other code does and may no longer work in its scripts, beside
            those of `compat.COMMON`.
    """

    name: str
    title: str
    detect: Callable[[Path], bool]
    scripts: tuple[str, ...]
    imports: tuple[str, ...]
    wrappers: tuple[Wrapper, ...]
    load: Callable[[str], dict[str, Any]]
    discriminator_of: Callable[[nn.Module], nn.Module | None] = lambda G: None
    carries_code: bool = False
    seeds: Mapping[str, str] = field(default_factory=dict)
    seedless: str = ""
    flags: Mapping[str, tuple[Flag, ...]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    workarounds: tuple[Workaround, ...] = ()
    network: Callable[[Sequence[str]], str] = lambda arguments: ""


def known_hosts() -> list[Host]:
    """Every installed host.

    Raises:
        GanfixError: if one cannot be imported.
    """
    return [registry.load(registry.HOSTS, name) for name in registry.names(registry.HOSTS)]


def find_host(*folders: Path) -> tuple[Host, Path] | None:
    """The host of the first folder that is a checkout of one, and that folder; or None.

    Raises:
        GanfixError: if a folder looks like several hosts.
    """
    hosts = known_hosts()
    for folder in dict.fromkeys(folders):
        fitting = [host for host in hosts if host.detect(folder)]
        if len(fitting) > 1:
            names = ", ".join(host.name for host in fitting)
            raise GanfixError(f"{folder}: looks like several hosts: {names}; uninstall all but one")
        if fitting:
            return fitting[0], folder
    return None


def checkout_of(folder: Path) -> tuple[Host, Path]:
    """The host of a folder that must be a checkout of one, and that folder.

    Raises:
        GanfixError: if it is none.
    """
    checkout = find_host(folder.resolve())
    if not checkout:
        raise no_host(folder)
    return checkout


def no_host(folder: Path) -> GanfixError:
    """The error that says that a folder is no checkout of a known host."""
    titles = ", ".join(host.title for host in known_hosts())
    return GanfixError(
        f"{folder}: no known host was found here; known: {titles}; "
        "for other code use ganfix run SCRIPT, or ganfix_plugin.attach in Python"
    )


def opening(
    network: str, checkout: Path | None, device: str | None = None, adapter_name: str | None = None
) -> str:
    """The options with which a command opens a network, to be copied from messages."""
    if not network:
        return ""
    here = checkout is None or checkout.resolve() == Path.cwd()
    values = {
        "network": network,
        "host": None if here else checkout,
        "device": device,
        "adapter": adapter_name,
    }
    return " ".join(
        f"--{name} {shlex.quote(str(value))}" for name, value in values.items() if value
    )


def value_of(option: str, arguments: Sequence[str]) -> str:
    """What a command line gives an option; empty if it does not."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else "".join(arguments[place + 1 : place + 2])
    return ""


def defines(file: Path, name: str) -> bool:
    """Whether a Python file exists and defines or assigns a name at its top level."""
    if not file.is_file():
        return False
    pattern = rf"^(def|class)\s+{name}\b|^{name}\s*(:[^=]*)?="
    return bool(re.search(pattern, file.read_text(encoding="utf-8-sig", errors="replace"), re.M))
