"""What the scripts of known hosts import, ``ganfix[hosts]``, where it is not installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from ganfix_plugin.errors import GanfixError

ALL = "hosts"  # the extra of all hosts; each host's own has its name
_EXTRA = re.compile(r"([\w.-]+).*extra == [\"']([\w-]+)[\"']")
# The distributions whose modules have another name.
_MODULES = {"beautifulsoup4": "bs4", "opencv-python-headless": "cv2"}


def install(extra: str = ALL) -> str:
    """What to type to have them."""
    return f"pip install 'ganfix[{extra}]'"


def modules(extra: str = ALL) -> list[str]:
    """The modules of an extra of ganfix, as they are imported."""
    try:
        declared = map(_EXTRA.match, requires("ganfix") or ())
    except PackageNotFoundError:  # a copy that is not installed
        return []
    names = [match[1] for match in declared if match and match[2] == extra]
    return [_MODULES.get(name, name.replace("-", "_")) for name in names]


def missing(extra: str = ALL) -> list[str]:
    """Those that are not installed."""
    return [module for module in modules(extra) if find_spec(module) is None]


@contextmanager
def named(what: str) -> Iterator[None]:
    """While ``what`` is imported or run: one that is missing is an error of one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in modules():
            raise
        raise GanfixError(
            f"{what}: imports {module}, which is not installed; {install()}"
        ) from error
