"""An app on a port: started early so that a taken port is noticed early, served from a thread."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import waitress
from flask import Flask, Response, abort
from waitress.channel import HTTPChannel
from werkzeug.exceptions import HTTPException

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.web.guard import Guard, is_any, is_loopback

log = logging.getLogger("ganfix")
LARGEST_BODY = 64 * 1024
PER_CLIENT = 250  # connections of one address, behind which there may be several raters
CONNECTIONS = 6  # of one browser; each may wait for an image while another brings an answer
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Place:
    """A port that this process listens on already."""

    address: str
    socket: socket.socket

    @classmethod
    def open(cls, address: str, port: int) -> Place:
        """Listen; port 0 takes any that is free.

        Raises:
            GanfixError: if the port is taken, or the address is not this machine's.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            return cls(address, socket.create_server((address, port), family=family))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise GanfixError(
                f"{address} port {port}: cannot listen there ({reason}); give another --port"
            ) from None

    @property
    def port(self) -> int:
        """Its number."""
        return int(self.socket.getsockname()[1])


def new_app(guard: Guard, pages: dict[str, str]) -> Flask:
    """An app that serves a rater's pages (path → file) and what belongs to them, to raters only.

    Everything is read once, from the package: no request names a file.
    """
    app = Flask("ganfix", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.merge_slashes = False  # a path is one of ours as it is, or none
    app.before_request(guard.check)
    app.after_request(guard.finish)
    shipped = {item.name: item.read_bytes() for item in (files(__package__) / "static").iterdir()}

    @app.get("/<rater>/static/<name>")
    def static(rater: str, name: str) -> Response:
        if name not in shipped:
            abort(404)
        return Response(shipped[name], content_type=_TYPES[PurePath(name).suffix])

    for path, name in pages.items():
        app.add_url_rule(f"/<rater>/{path}", name, static, defaults={"name": name})

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict[str, str], int]:
        return {"error": error.description or error.name}, error.code or 500

    @app.errorhandler(GanfixError)
    def failed(error: GanfixError) -> tuple[dict[str, str], int]:
        # A page that is told 507 keeps the answer and sends it again.
        return {"error": str(error)}, 507 if isinstance(error.__cause__, sqlite3.Error) else 500

    return app


def serve(app: Flask, place: Place, raters: int) -> None:
    """Serve from a thread, until the process ends."""
    # Of some requests that are no HTTP it would show a traceback; what our own code raises, Flask
    # logs.
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    server = waitress.create_server(
        app,
        sockets=[place.socket],
        threads=CONNECTIONS * raters,
        ident=None,
        max_request_body_size=LARGEST_BODY,
        max_request_header_size=16 * 1024,
        # Connections that say nothing cost no thread, and end soon.
        connection_limit=4 * PER_CLIENT,
        asyncore_use_poll=True,
        channel_timeout=20,
        cleanup_interval=5,
        clear_untrusted_proxy_headers=True,
    )
    server.channel_class = _limited
    threading.Thread(target=server.run, name="server", daemon=True).start()


def _limited(server: Any, connection: Any, address: Any, *how: Any, **more: Any) -> None:
    """Take a connection up, unless its client has `PER_CLIENT` of them."""
    open_ones = (channel.addr[0] for channel in list(server.active_channels.values()))
    if sum(other == address[0] for other in open_ones) < PER_CLIENT:
        HTTPChannel(server, connection, address, *how, **more)
    else:
        connection.close()


def invite(guard: Guard, place: Place) -> list[str]:
    """What to print: a link for each rater, and what it means to listen beyond this machine."""
    name = socket.gethostname() if is_any(place.address) else place.address
    link = f"http://{f'[{name}]' if ':' in name else name}:{place.port}"
    lines = [f"{rater}: {link}/{rater}/?token={token}" for rater, token in guard.tokens.items()]
    if not is_loopback(place.address):
        lines += [
            f"Warning: listening on {place.address}, so other machines can connect. Whoever has a "
            "link can look at the images and answer in that rater's name, and the connection is "
            "not encrypted: others on the network can read the link. An ssh tunnel is safer: "
            f"ssh -L {place.port}:127.0.0.1:{place.port} THIS_MACHINE",
        ]
    return lines
