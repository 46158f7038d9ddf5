"""Who may read transcripts: the token, the cookie that stands for it, and where a request may come from without one.

The page's own files carry nothing secret and are served to everybody; every request under `api/` passes `Access.check`.
"""

import hashlib
import hmac
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from liveview.attempts import AccessStats
from liveview.errors import ForeignHost, ForeignOrigin, Forwarded, Unauthorized
from liveview.forwarding import as_address, host_name, hosts, is_loopback, is_secure, mark_of_proxy

COOKIE = "trunkline_live"


class Access:
    """Decides on requests.

    With a token, a request needs `Authorization: Bearer <token>` or the cookie. Without one, it must come straight
    from a client of this machine or network: not through a proxy, which would let in the whole world; addressed to
    `localhost` or an IP address, as a foreign web page reaches a loopback server only through a DNS name of its own
    that it lets resolve to it (DNS rebinding); and not from a page of another origin. `loopback`: the server listens on
    loopback alone, so no other address can be meant either.

    Raises `ValueError` for an empty token, which anybody has; the configuration says so first.
    """

    def __init__(self, token: str | None, *, loopback: bool = False, stats: AccessStats | None = None) -> None:
        if token is not None and not token.strip():
            raise ValueError("the token is empty: only None is none")
        self.stats = stats or AccessStats()
        self._loopback = loopback
        self._token = None if token is None else _bytes(token)
        # The cookie proves the token without holding it, so a leaked cookie jar does not leak the API's credential.
        cookie = None if self._token is None else hmac.digest(self._token, b"trunkline live page", hashlib.sha256)
        self._cookie = "" if cookie is None else cookie.hex()

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def check(self, request: web.Request) -> None:
        """Raises `Unauthorized`, `Forwarded`, `ForeignHost` or `ForeignOrigin`."""
        if self._token is None:
            self._check_local(request)
        elif not self._has_credential(request):
            raise Unauthorized("send Authorization: Bearer <token>, or open the page once with ?token=<token>")

    def check_forwarded(self, request: web.Request) -> None:
        """For what is open to whoever reaches this server itself, as its metrics are: only what came through a proxy
        is checked. Raises as `check` does."""
        if self._token is None or mark_of_proxy(request) is not None:
            self.check(request)

    def accepts(self, token: str) -> bool:
        """Whether `token` is the configured one, in time that does not depend on where they differ."""
        return self._token is not None and _same(_bytes(token), self._token)

    def grant(self, request: web.Request, response: web.StreamResponse, path: str) -> None:
        """Sets the cookie for the folder `path`. SameSite=Strict holds as the page's own files need no cookie."""
        secure = is_secure(request)
        response.set_cookie(COOKIE, self._cookie, path=path, httponly=True, samesite="Strict", secure=secure)

    def _has_credential(self, request: web.Request) -> bool:
        scheme, _, credential = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(credential.strip()):
            return True
        return _same(_bytes(request.cookies.get(COOKIE, "")), _bytes(self._cookie))

    def _check_local(self, request: web.Request) -> None:
        mark = mark_of_proxy(request)
        if mark is not None:
            self.stats.forwarded += 1
            raise Forwarded(
                f"this came through a proxy ({mark}), which needs a token, and none is configured: "
                "set [liveview] token (TRUNKLINE_LIVEVIEW_TOKEN)"
            )
        named = hosts(request)
        if not named or not all(self._is_ours(authority) for authority in named):
            self.stats.foreign_hosts += 1
            where = "localhost or a loopback address" if self._loopback else "localhost or an IP address"
            raise ForeignHost(f"without a token only requests to {where} are answered: set [liveview] token for others")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not _is_origin_of(origin, named[0]):
            self.stats.foreign_origins += 1
            raise ForeignOrigin("without a token pages of other sites are not answered")

    def _is_ours(self, authority: str) -> bool:
        name = host_name(authority)
        return name is not None and (is_loopback(name) or (not self._loopback and as_address(name) is not None))


def _is_origin_of(origin: str, authority: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == authority.lower()
    except ValueError:
        return False


def _bytes(text: str) -> bytes:
    """Of what a header holds, which need not be text."""
    return text.encode("utf-8", "surrogatepass")


def _same(given: bytes, expected: bytes) -> bool:
    """In time that depends on neither, not even on their lengths."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
