"""`ganfix label` and `ganfix judge` as real processes, and a client that speaks HTTP to them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
NETWORK = ("--network=generators:dcgan", f"--host={TESTS}", "--device=cpu")
QUICK = ("--samples=200",)


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Client:
    """One rater's browser, as far as HTTP goes: it sends the Origin and, if any, the token."""

    port: int
    rater: str
    token: str

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None
    ) -> Reply:
        """A request below the rater's own path, or elsewhere; a header of None is left out."""
        where = path if path.startswith("/") else f"/{self.rater}/{path}"
        sent: dict[str, str | None] = {
            "X-Ganfix-Token": self.token,
            "Origin": f"http://127.0.0.1:{self.port}",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name: value for name, value in sent.items() if value is not None}
            connection.request(method, where, content, given)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Reply:
        """GET."""
        return self.ask("GET", path, headers=headers)

    def label(self, *answers: tuple[int, str]) -> Reply:
        """POST answers, without criteria."""
        body = [{"seed": seed, "answer": kind, "criterion": ""} for seed, kind in answers]
        return self.ask("POST", "answers", body)


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    links: dict[str, str]
    said: list[str]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(re.search(r":(\d+)/", next(iter(self.links.values())))[1])  # type: ignore[index]

    def client(self, rater: str) -> Client:
        """A client with the rater's token."""
        return Client(self.port, rater, self.links[rater].partition("token=")[2])

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(command: str, *arguments: str, raters: str = "ann,ben", port: int = 0) -> Served:
    """Start a server and read its links."""
    line = [sys.executable, "-m", "ganfix_plugin", command, *NETWORK, *arguments]
    process = subprocess.Popen(
        [*line, f"--raters={raters}", f"--port={port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        # Tests that run in the background of a shell ignore Ctrl-C, and so would the server.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    links: dict[str, str] = {}
    said: list[str] = []
    while len(links) < len(raters.split(",")):
        text = process.stdout.readline()
        assert text, "".join(said)
        said.append(text)
        if found := re.match(r"([\w-]+): (http\S+)", text):
            links[found[1]] = found[2]
    return Served(process, links, said)


@contextmanager
def served(command: str, *arguments: str, **options: Any) -> Iterator[Served]:
    """A server that is gone afterwards."""
    server = start(command, *arguments, **options)
    try:
        yield server
    finally:
        server.kill()
        assert server.process.stdout
        server.process.stdout.close()
