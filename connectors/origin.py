"""Which web pages may use an endpoint that asks for no credential: a browser sends its own to nobody, but it goes where
a page tells it to, also to a server on its own machine or behind its firewall.

A browser names the page's origin (RFC 6454, section 7; RFC 6455, section 10.2) and no page can make it lie. Whoever
else calls, a telephone provider or a program, names none, or what it likes.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

_Authority = tuple[str, int | None]


def may_use(request: web.BaseRequest, origins: Iterable[str], public_url: str | None = None) -> bool:
    """Whether the request is from no page, from one of this server's own, or from one of `origins` (`*`: any).

    A page is the server's own if it came from the host that the request is addressed to, as `Host`, `X-Forwarded-Host`
    or `public_url` have it. A name counts only with TLS: a page of `http:` may have let its own name resolve to this
    server (DNS rebinding), for which it has no certificate.
    """
    named = request.headers.getall(hdrs.ORIGIN, [])
    allowed = set(origins)
    if not named or "*" in allowed or allowed.issuperset(named):
        return True
    if len(named) > 1:
        return False
    if request.headers.get("Sec-Fetch-Site") == "same-origin":  # only sent where TLS, or localhost, is at the other end
        return True
    scheme, page = _authority(named[0])
    if scheme not in ("http", "https") or not (scheme == "https" or _is_local(page[0])):
        return False
    return page in _own(request, public_url)


def _own(request: web.BaseRequest, public_url: str | None) -> set[_Authority]:
    """Under which authorities this server may have been reached."""
    hosts = [request.headers.get(hdrs.HOST, "")]
    hosts += request.headers.get("X-Forwarded-Host", "").split(",")
    own = set[_Authority]()
    for host in hosts:
        for scheme in ("http", "https"):
            own.add(_authority(f"{scheme}://{host.strip()}")[1])
    if public_url is not None:
        own.add(_authority(public_url)[1])
    return own - {("", None)}


def _authority(url: str) -> tuple[str, _Authority]:
    """Scheme, and name and port; an empty name for what has none."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", ("", None)
    return parts.scheme, (name, port) if name else ("", None)


def _is_local(name: str) -> bool:
    """Whether a name stands for an address by itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
