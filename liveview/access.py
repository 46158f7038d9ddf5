"""Who may read transcripts: the token, the cookie that stands for it, and the host check when there is no token.

The page's own files carry nothing secret and are served to everybody; every request under `api/` passes `Access.check`.
"""

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from liveview.errors import ForeignHost, Unauthorized

COOKIE = "trunkline_live"


class Access:
    """Decides on requests; without state of its own.

    With a token, a request needs `Authorization: Bearer <token>` or the cookie. Without one, the request must be
    addressed to `localhost` or an IP address: a foreign web page reaches a loopback server only through a DNS name of
    its own that it lets resolve to it (DNS rebinding).
    """

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None
        # The cookie proves the token without holding it, so a leaked cookie jar does not leak the API's credential.
        self._cookie = hmac.digest(self._token, b"trunkline live page", hashlib.sha256).hex() if self._token else ""

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def check(self, request: web.Request) -> None:
        """Raises `Unauthorized` or `ForeignHost`."""
        if self._token is None:
            if not _is_address(request.headers.get(hdrs.HOST, "")):
                raise ForeignHost("without a token only requests to localhost or an IP address are answered")
            return
        scheme, _, credential = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(credential.strip()):
            return
        if hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._cookie.encode()):
            return
        raise Unauthorized("send Authorization: Bearer <token>, or open the page once with ?token=<token>")

    def accepts(self, token: str) -> bool:
        """Whether `token` is the configured one, in time that does not depend on where they differ."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token)

    def grant(self, request: web.Request, response: web.StreamResponse, path: str) -> None:
        """Sets the cookie for the folder `path`. SameSite=Strict holds as the page's own files need no cookie."""
        response.set_cookie(COOKIE, self._cookie, path=path, httponly=True, samesite="Strict", secure=request.secure)


def _is_address(host: str) -> bool:
    """Whether a Host header names this machine by address: `localhost`, an IP address, or nothing (HTTP/1.0)."""
    if not host:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
