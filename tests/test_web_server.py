"""The server of `ganfix label`, as a process of its own and over real HTTP."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from generators import dcgan
from PIL import Image
from prepared import EXTRACTOR, error, run, uncorrected
from served import NETWORK, QUICK, Client, Served, served, start

from ganfix_plugin import web
from ganfix_plugin.labels import ARTIFACT, NORMAL, read
from ganfix_plugin.web.answers import Answers

pytestmark = pytest.mark.slow

NUM = 60
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave no answers behind."""
    file = tmp_path_factory.mktemp("server") / "answers.sqlite"
    with served("label", *QUICK, f"--num={NUM}", f"--answers={file}", "--criteria=faces") as found:
        found.file = file  # type: ignore[attr-defined]
        yield found


@pytest.fixture(scope="module")
def ann(server: Served) -> Client:
    return server.client("ann")


def rows(file: Path) -> list[tuple[str, int, str]]:
    """Every answer in the database."""
    with sqlite3.connect(file) as db:
        return db.execute("SELECT rater, seed, answer FROM labels ORDER BY rater, seed").fetchall()


def test_the_page_and_all_that_it_loads_come_from_the_server_itself(ann: Client) -> None:
    page = ann.get("")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
    for name in ("label.js", "common.js", "colours.css", "style.css", "icon.svg"):
        assert ann.get(f"static/{name}").status == 200, name
        assert b"://" not in ann.get(f"static/{name}").body.replace(
            b"http://www.w3.org/2000/svg", b""
        )
    assert b"://" not in page.body


def test_an_image_has_the_pixels_of_the_hosts_own_script(ann: Client) -> None:
    reply = ann.get("images/7.png")
    assert reply.headers["Content-Type"] == "image/png"
    pixels = (uncorrected(dcgan(), [7])[0].permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).byte()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(reply.body))), pixels.numpy())


def test_the_queue_holds_each_seed_once_and_alternates_between_many_and_few_lr_neurons(
    server: Served, ann: Client
) -> None:
    seeds = ann.get(f"queue?n={NUM}").json["seeds"]
    assert sorted(seeds) == list(range(NUM))
    with sqlite3.connect(server.file) as db:  # type: ignore[attr-defined]
        counts = dict(db.execute("SELECT seed, value FROM scores"))
    shown = [counts[seed] for seed in seeds]
    assert shown[0::2] == sorted(shown[0::2], reverse=True)
    assert shown[1::2] == sorted(shown[1::2])
    assert min(shown[0::2]) >= max(shown[1::2])


def test_the_link_gives_a_cookie_that_opens_what_belongs_to_its_rater_only(
    server: Served, ann: Client
) -> None:
    bare = Client(server.port, "ann", "")
    reply = bare.get(f"/ann/?token={ann.token}")
    cookie = reply.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/ann/"} <= set(cookie.split("; "))
    pair = cookie.partition(";")[0]
    assert bare.get("state", Cookie=pair).status == 200
    assert bare.get("/ben/state", Cookie=pair).status == 403


@pytest.mark.parametrize("token", ["", "wrong", "é", "a" * 2000])
@pytest.mark.parametrize("path", ["", "state", "static/label.js", "images/1.png", "/", "/x"])
def test_without_the_right_token_everything_is_refused(
    server: Served, token: str, path: str
) -> None:
    assert Client(server.port, "ann", "").get(path, **{"X-Ganfix-Token": token}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/ann/static/../../answers.py",
        "/ann/static/..%2f..%2fanswers.py",
        "/ann/static/%2e%2e/%2e%2e/setup.py",
        "/ann/static//etc/passwd",
        "/ann/static/....//....//etc/passwd",
        "/ann/static/..\\..\\answers.py",
        "/ann/static/label.js%00.png",
        "/ann/../../../etc/passwd",
        "/../../etc/passwd",
        "/ann/images/../../../etc/passwd",
        "/ann/images/-1.png",
        f"/ann/images/{NUM}.png",
        "/ann/images/1e1.png",
        "/ann/answers.sqlite",
        "//etc/passwd",
    ],
)
def test_no_path_leads_into_the_file_system(ann: Client, path: str) -> None:
    assert ann.get(path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_name_that_is_not_the_servers_is_refused(ann: Client, host: str) -> None:
    """DNS rebinding: the browser believes that evil.example is this machine."""
    assert ann.get("state", Host=host).status in (400, 403)


@pytest.mark.parametrize("origin", [EVIL, "null", None, "http://127.0.0.1:1", "https://127.0.0.1"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_changes_answers_must_come_from_our_own_origin(
    server: Served, ann: Client, method: str, origin: str | None
) -> None:
    body = [{"seed": 1, "answer": "normal", "criterion": ""}] if method == "POST" else None
    path = "answers" if method == "POST" else "answers/1"
    assert ann.ask(method, path, body, {"Origin": origin}).status == 403
    assert ann.ask("OPTIONS", path, headers={"Origin": EVIL}).status == 403
    assert rows(server.file) == []  # type: ignore[attr-defined]


def test_pages_may_load_nothing_from_elsewhere_nor_be_framed(ann: Client) -> None:
    for path in ("", "state", "images/1.png", "nothing"):
        headers = ann.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers


GOOD = {"seed": 1, "answer": "normal", "criterion": ""}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 50_000,
        None,
        {},
        [],
        [1],
        [[]],
        "text",
        [{}],
        [GOOD] * 97,
        [{**GOOD, "seed": NUM}],
        [{**GOOD, "seed": -1}],
        [{**GOOD, "seed": "1"}],
        [{**GOOD, "seed": True}],
        [{**GOOD, "seed": 1.0}],
        [{**GOOD, "seed": 10**40}],
        [{**GOOD, "answer": "perhaps"}],
        [{**GOOD, "answer": None}],
        [{**GOOD, "answer": ["normal"]}],
        [{**GOOD, "criterion": "nose"}],
        [{**GOOD, "criterion": None}],
        [{**GOOD, "more": 1}],
        [GOOD, {**GOOD, "answer": "perhaps"}],
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_malformed_answer_is_refused_and_nothing_of_it_kept(
    server: Served, ann: Client, body: object
) -> None:
    assert 400 <= ann.ask("POST", "answers", body).status < 500
    assert rows(server.file) == []  # type: ignore[attr-defined]


def test_other_than_json_is_refused(ann: Client) -> None:
    body = json.dumps([GOOD]).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        assert ann.ask("POST", "answers", body, {"Content-Type": kind}).status == 415


def test_an_oversized_request_is_refused(server: Served, ann: Client) -> None:
    assert ann.ask("POST", "answers", b" " * 70_000).status == 413
    assert ann.get("state", Extra="x" * 40_000).status == 431
    assert rows(server.file) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("n", ["0", "97", "-1", "x", "1e1", "٣", "9" * 500, ""])
def test_a_queue_of_an_impossible_length_is_refused(ann: Client, n: str) -> None:
    from urllib.parse import quote

    assert ann.get(f"queue?n={quote(n)}").status == 400


def test_a_thousand_bad_requests_leave_the_server_answering(server: Served, ann: Client) -> None:
    chance = random.Random(0)
    refused = [_bad_request(chance, server.port, ann) for _ in range(1000)]
    assert all(400 <= status < 500 or status == CLOSED for status in refused), set(refused)
    assert refused.count(CLOSED) < 200
    assert ann.get("state").status == 200 and ann.get("images/3.png").status == 200
    assert rows(server.file) == []  # type: ignore[attr-defined]


CLOSED = 0  # the connection was closed on something that is no HTTP


def _bad_request(chance: random.Random, port: int, ann: Client) -> int:
    """One request that must be refused; its status."""
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 200)))
    letters = "".join(chance.choice("/.%2e\\0a~;?&=ann") for _ in range(chance.randrange(1, 60)))
    kind = chance.randrange(8)
    if kind == 0:
        return _raw(port, noise + b"\r\n\r\n")
    if kind == 1:
        return _raw(port, b"GET /ann/state HTTP/1.1\r\n" + noise.replace(b"\r", b"") + b"\r\n\r\n")
    if kind == 2:
        return ann.ask("POST", "answers", noise).status
    if kind == 3:
        value: object = chance.choice([None, 1, -1, 10**30, "x", [], {}, True, 0.5, letters])
        broken = {**GOOD, chance.choice(["seed", "answer", "criterion"]): value}
        if broken["criterion"] == "" and broken["seed"] == 1 and value == 1:
            broken["seed"] = NUM
        return ann.ask("POST", "answers", [GOOD, broken]).status
    if kind == 4:
        return ann.get(f"/ann/static/{letters}x").status
    if kind == 5:
        return Client(port, "ann", letters).get(chance.choice(["", "state", "images/1.png"])).status
    if kind == 6:
        return ann.ask(chance.choice(["PUT", "PATCH", "TRACE", "FOO"]), "answers", noise).status
    return ann.ask("POST", "answers", [GOOD], {"Origin": f"http://{letters}"}).status


def _raw(port: int, content: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            head = connection.recv(100).split(b" ")
        except OSError:
            return CLOSED
    return int(head[1]) if len(head) > 1 else CLOSED


def test_answers_survive_kill_9_and_go_on_where_they_were(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    arguments = ("label", *QUICK, f"--num={NUM}", f"--answers={file}")
    server = start(*arguments)
    ann = server.client("ann")
    for place in range(10):
        reply = ann.label((place, NORMAL))
        assert reply.json["counts"][NORMAL] == place + 1
    server.kill()
    assert [seed for _, seed, _ in rows(file)] == list(range(10))
    with served(*arguments, port=server.port) as again:
        assert again.links["ann"] != server.links["ann"], "a new start has new tokens"
        assert ann.get("state").status == 403
        ann = again.client("ann")
        found = ann.get("state").json
        assert found["counts"] == {ARTIFACT: 0, NORMAL: 10, "skip": 0}
        assert [each["seed"] for each in found["recent"]] == list(range(10))
        assert set(ann.get("queue?n=96").json["seeds"]) == set(range(10, NUM))
        ann.label((9, NORMAL))  # a browser that did not hear the answer sends it again
        ann.label((10, ARTIFACT))
        assert ann.ask("DELETE", "answers/3").status == 200
        assert ann.ask("DELETE", "answers/3").status == 200
    assert [seed for _, seed, _ in rows(file)] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]


def test_two_raters_at_once_each_keep_what_they_said_and_the_export_fits_a_classifier(
    tmp_path: Path,
) -> None:
    file, table = tmp_path / "answers.sqlite", tmp_path / "labels.csv"
    bright = uncorrected(dcgan(), range(NUM)).mean(dim=(1, 2, 3))
    kinds = [ARTIFACT if each else NORMAL for each in bright > bright.median()]

    def work(client: Client) -> None:
        for seed in client.get(f"queue?n={NUM}").json["seeds"]:
            assert client.label((seed, kinds[seed])).status == 200

    with served("label", *QUICK, f"--num={NUM}", f"--answers={file}") as server:
        threads = [Thread(target=work, args=(server.client(name),)) for name in ("ann", "ben")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.client("ann").get("queue").json["seeds"] == []
    expected = [(name, seed, kinds[seed]) for name in ("ann", "ben") for seed in range(NUM)]
    assert rows(file) == expected
    assert run("labels", "export", str(file), "--out", str(table)).exit_code == 0
    assert len(read(table).items) == 2 * NUM
    head = tmp_path / "head.safetensors"
    where = [*NETWORK, f"--labels={table}", f"--extractor={EXTRACTOR}", f"--out={head}"]
    fitted = run("fit", *where)
    assert fitted.exit_code == 0, fitted.output
    assert head.exists()


def test_listening_beyond_this_machine_is_warned_of_names_are_still_checked_and_ctrl_c_ends_it(
    tmp_path: Path,
) -> None:
    arguments = ("--order=random", "--num=5", f"--answers={tmp_path / 'a.sqlite'}")
    with served("label", "--listen=0.0.0.0", *arguments, raters="ann") as server:
        assert server.process.stdout
        warning = server.process.stdout.readline()
        assert "Warning" in warning and "not encrypted" in warning and "0.0.0.0" in warning
        ann = server.client("ann")
        assert ann.get("state").status == 200
        assert ann.get("state", Host="192.168.1.5:80").status == 200
        assert ann.get("state", Host="evil.example").status == 403
        os.kill(server.process.pid, signal.SIGINT)
        rest, _ = server.process.communicate(timeout=20)
        assert server.process.returncode == 0 and "Traceback" not in rest


def test_a_taken_port_is_noticed_before_anything_is_measured(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = run("label", "--network=nothing:here", f"--port={port}")
        assert f"port {port}: cannot listen there" in error(failed)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--raters=ann,b/n",), "--raters: found 'b/n'"),
        (("--criteria=noses",), "--criteria noses: no text file, and no template"),
    ],
)
def test_wrong_options_are_told_in_one_line(arguments: tuple[str, ...], reason: str) -> None:
    assert reason in error(run("label", "--network=generators:dcgan", "--port=0", *arguments))


def test_answers_about_another_generator_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    Answers(file, "f" * 64).close()
    failed = run("label", *NETWORK, "--port=0", f"--answers={file}")
    assert "are about another generator" in error(failed)


def test_pages_without_flask_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where ganfix was installed without its extra."""
    for name in [name for name in sys.modules if name.startswith("ganfix_plugin.web.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(web, name.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "flask", None)
    failed = run("label", "--network=x:y", "--port=0")
    assert error(failed) == "Error: the pages need flask: run pip install 'ganfix[web]'"


def test_connections_that_say_nothing_lock_nobody_out(server: Served, ann: Client) -> None:
    idle = [socket.create_connection(("127.0.0.1", ann.port)) for _ in range(150)]
    try:
        assert ann.get("queue?n=3").status == 200
    finally:
        for connection in idle:
            connection.close()


def test_one_client_cannot_take_all_connections(server: Served, ann: Client) -> None:
    idle = [socket.create_connection(("127.0.0.1", ann.port)) for _ in range(400)]
    try:
        other = http.client.HTTPConnection(
            "127.0.0.1", ann.port, timeout=20, source_address=("127.0.0.2", 0)
        )
        other.request("GET", "/ann/state", headers={"X-Ganfix-Token": ann.token})
        assert other.getresponse().status == 200
        other.close()
    finally:
        for connection in idle:
            connection.close()


def test_answers_that_cannot_be_kept_are_answered_by_507(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    with served("label", *QUICK, f"--num={NUM}", f"--answers={file}") as found:
        ann = found.client("ann")
        answers = [{"seed": 1, "answer": NORMAL, "criterion": ""}]
        with sqlite3.connect(file) as db:
            db.execute("ALTER TABLE labels RENAME TO gone")
        reply = ann.ask("POST", "answers", answers)
        assert reply.status == 507 and "cannot be written" in reply.json["error"]
        with sqlite3.connect(file) as db:
            db.execute("ALTER TABLE gone RENAME TO labels")
        assert ann.ask("POST", "answers", answers).status == 200
