"""Downloads that end: a connection that does not answer is an error after some seconds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 10  # seconds without an answer


@contextmanager
def impatient() -> Iterator[None]:
    """In here, a connection that does not answer is given up; torch.hub would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
