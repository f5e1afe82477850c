"""Requests to the label page, whole and broken, by many clients at once, beside idle connections.

    python tests/fuzz_http.py --requests 5000 --clients 50 --idle 150 --seed 0

Each is answered by a status that says what is wrong, never by 500; answers that the page heard are
saved are there in the end; and the server has said nothing but its links.
"""

from __future__ import annotations

import json
import random
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from fuzzing import DEEP, damaged_bytes, damaged_value
from served import QUICK, Client, Served, served

from ganfix_plugin.labels import KINDS
from ganfix_plugin.web.answers import Answers

NUM = 200
REFUSALS = {400, 403, 404, 405, 411, 413, 414, 415, 431, 501, 505}
PATHS = ["state", "queue?n=3", "images/3.png", "answers", "answers/3", "", "static/label.css"]
PATHS += ["queue?n=x", "images/999999999999999999999.png", "images/-1.png", "static/../server.py"]
PATHS += ["%2e%2e/%2e%2e/etc/passwd", "//", "/ben/state", "%00", "x" * 9000]


@dataclass
class Session:
    """A running page, and what it has said to its clients.

    Attributes:
        saved: by seed, what one rater heard is saved; each seed is one client's.
    """

    server: Served
    saved: dict[int, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, number: int, clients: int, requests: int, seed: int) -> None:
        """One client's requests, one after the other."""
        chance = random.Random(f"{seed} {number}")
        seeds = range(number, NUM, clients)
        for request in range(requests):
            what = f"client {number}, request {request}"
            try:
                status = self._ask(chance, seeds)
            except OSError as error:
                self._keep(0, f"{what}: {type(error).__name__}: {error}")
                continue
            wrong = status != 200 and status not in REFUSALS
            self._keep(status, f"{what}: status {status}" if wrong else "")

    def _keep(self, status: int, found: str) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.found += [found] if found else []

    def _ask(self, chance: random.Random, seeds: range) -> int:
        ann = self.server.client("ann")
        way = chance.random()
        if way < 0.3:
            return self._answer(ann, chance.choice(seeds), chance.choice(KINDS))
        if way < 0.5:
            return self._raw(ann, chance)
        body = json.dumps(damaged_value([{"seed": 3, "answer": "x", "criterion": ""}], chance))
        bodies = [None, b"", body.encode(), DEEP.encode(), b"x" * 100_000, chance.randbytes(50)]
        headers = chance.choice(
            [{}] * 6 + [{"X-Ganfix-Token": "x"}, {"Host": "evil.example"}, {"Origin": None}]
        )
        method = chance.choice(["GET", "GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"])
        path = chance.choice(PATHS)
        body_sent = chance.choice(bodies) if method in ("POST", "PUT") else None
        if method == "DELETE":  # nobody else's
            path = "answers/x"
        return ann.ask(method, path, body_sent, headers).status

    def _answer(self, ann: Client, seed: int, kind: str) -> int:
        status = ann.label((seed, kind)).status
        if status == 200:
            with self.lock:
                self.saved[seed] = kind
        return status

    def _raw(self, ann: Client, chance: random.Random) -> int:
        """Bytes that are hardly HTTP; no answer counts as 400."""
        whole = (
            f"POST /ann/answers HTTP/1.1\r\nHost: 127.0.0.1:{ann.port}\r\nX-Ganfix-Token: "
            f"{ann.token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
        )
        content = damaged_bytes(whole.encode(), chance)
        with socket.create_connection(("127.0.0.1", ann.port), timeout=30) as connection:
            try:
                connection.sendall(content[:20_000])
                connection.shutdown(socket.SHUT_WR)
                line = connection.recv(100).split(b" ")
            except (TimeoutError, ConnectionError):
                return 400
        return int(line[1]) if len(line) > 1 and line[1].isdigit() else 400


def attack(folder: Path, requests: int, clients: int, idle: int, seed: int) -> Session:
    """Ask a new page so often, by so many clients."""
    file = folder / "answers.sqlite"
    words = (*QUICK, f"--num={NUM}", f"--answers={file}", "--order=random", "--criteria=faces")
    with served("label", *words) as server:
        session = Session(server)
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(idle)]
        with ThreadPoolExecutor(clients) as pool:
            each = -(-requests // clients)
            list(pool.map(lambda n: session.client(n, clients, each, seed), range(clients)))
        if server.client("ann").get("state").status != 200:
            session.found.append("the page no longer answers")
        for connection in silent:
            connection.close()
        server.kill()
        assert server.process.stdout
        said = server.process.stdout.read()
        if "Traceback" in said or "Error" in said:
            session.found.append(f"the server said {said[-500:]!r}")
    answers = Answers(file)
    kept = {item.seed: item.answer for item in answers.labelled("ann", "")}
    answers.close()
    lost = [seed for seed, kind in session.saved.items() if kept.get(seed) != kind]
    session.found += [f"lost {lost}"] if lost else []
    return session


@click.command()
@click.option("--requests", default=5000, show_default=True)
@click.option("--clients", default=50, show_default=True)
@click.option("--idle", default=150, show_default=True, help="Connections that say nothing.")
@click.option("--seed", default=0, show_default=True)
def main(requests: int, clients: int, idle: int, seed: int) -> None:
    """Attack the label page of a small generator on this machine."""
    with TemporaryDirectory() as folder:
        session = attack(Path(folder), requests, clients, idle, seed)
    statuses = ", ".join(
        f"{number} × {status}" for status, number in sorted(session.statuses.items())
    )
    click.echo("\n".join(session.found))
    click.echo(
        f"--seed {seed}: {session.statuses.total()} requests ({statuses}), {len(session.saved)} "
        f"answers saved and there, {len(session.found)} found"
    )
    raise SystemExit(bool(session.found))


if __name__ == "__main__":
    main()
