"""Who may talk to the server: only a page of ours, in the browser of somebody who has a link.

Each rater has a link with a random token of their own, new at every start. The page trades it for
a cookie that scripts cannot read and that no other site's request carries. Besides, the name in the
Host header must be ours (against DNS rebinding), a request that changes anything must come from our
own origin, and pages may load nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence

from flask import Response, abort, g, request

_RATER = re.compile(r"[A-Za-z0-9_-]{1,40}")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """The raters with new tokens, and the address that the server listens on."""

    def __init__(self, raters: Sequence[str], address: str):
        self.tokens = {rater: secrets.token_urlsafe(24) for rater in raters}
        self.address = address

    def check(self) -> None:
        """Refuse a request that is not a rater's own, before anything else sees it."""
        if not self._is_ours(_host_name(request.host)):
            abort(403, "this address is not one of this server's")
        rater = self._rater()
        if rater is None:
            abort(403, "the token is missing or wrong; open the link that ganfix printed")
        own = f"{request.scheme}://{request.host}"
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != own:
            abort(403, "answers are taken from this server's own pages only")
        area = request.path.split("/")[1]
        if area != rater:
            abort(403 if area in self.tokens else 404)
        g.rater = rater

    def finish(self, response: Response) -> Response:
        """Add the headers of every response, and the cookie in exchange for a token."""
        response.headers.update(_HEADERS)
        rater = g.get("rater")
        if rater and "token" in request.args:
            token, path = self.tokens[rater], f"/{rater}/"
            response.set_cookie(_cookie(), token, path=path, httponly=True, samesite="Strict")
        return response

    def _rater(self) -> str | None:
        """Whose token the request carries."""
        sent = request.args.get("token") or request.headers.get("X-Ganfix-Token")
        token = (sent or request.cookies.get(_cookie(), "")).encode()
        raters = [r for r, t in self.tokens.items() if hmac.compare_digest(t.encode(), token)]
        return raters[0] if raters else None

    def _is_ours(self, name: str) -> bool:
        """The host in the Host header is this machine and no name that could point anywhere."""
        if name in ("localhost", self.address):
            return True
        if is_any(self.address):
            return _is_ip(name) or name == socket.gethostname().lower()
        return is_loopback(self.address) and is_loopback(name)


def is_rater(name: str) -> bool:
    """Whether a name can be a rater's: it becomes a part of the link."""
    return _RATER.fullmatch(name) is not None


def is_loopback(address: str) -> bool:
    """Whether an address reaches this machine only."""
    return address == "localhost" or (_is_ip(address) and ipaddress.ip_address(address).is_loopback)


def is_any(address: str) -> bool:
    """Whether an address means all of this machine's."""
    return _is_ip(address) and ipaddress.ip_address(address).is_unspecified


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str:
    """The Host header without its port."""
    parts = re.fullmatch(r"\[([^]]*)\](?::\d+)?|([^:]*)(?::\d+)?", host)
    return (parts[1] or parts[2] or "").lower() if parts else ""


def _cookie() -> str:
    """Cookies do not know ports; two servers on one machine must not take each other's."""
    return f"ganfix_{request.host.rpartition(':')[2]}"
