"""What ganfix says while somebody else's script runs: one line at a time, on stderr."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ganfix_plugin.errors import GanfixWarning


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the time: hosts put their own logger in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def speak(level: int | None = None) -> None:
    """Show what the library logs as ``ganfix: …``, from a level up; by default from that of the
    first call, or else from INFO. Idempotent."""
    log = logging.getLogger("ganfix")
    log.setLevel(level or log.level or logging.INFO)
    if not any(isinstance(handler, _Stderr) for handler in log.handlers):
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("ganfix: %(message)s"))
        log.addHandler(handler)
        warnings.showwarning = _one_line(warnings.showwarning)
    log.propagate = False


def _one_line(show: Callable[..., None]) -> Callable[..., None]:
    """Our warnings without the line of code that Python shows with them; others' as they are."""

    def showwarning(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, GanfixWarning):
            logging.getLogger("ganfix").warning("%s", message)
        else:
            show(message, category, *where)

    return showwarning
