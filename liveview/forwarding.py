"""Whether a request came straight from its client or through a proxy, for whom, and by which scheme.

A proxy on this machine makes every client look like a local one, so a server without a token must tell the two apart.
Proxies say what they do: by `Forwarded` (RFC 7239), `Via` (RFC 9110, section 7.6.3), or one of the many headers that
came before those. One that says nothing still gives itself away where it passes the client's `Host` on, or speaks
HTTP/1.0, as nginx does to its upstream by default and no browser does.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, hdrs, web

_PROXYS = re.compile(
    r"via|forwarded|x-forwarded|forwarded-.*|x-forwarded-.*|x-original-.*|x-rewrite-.*|x-proxy.*|proxy-.*"
    r"|.*-?real-?ip|.*client-?ip|.*connecting-ip|.*remote-(ip|addr|user)|remote-(ip|addr|user)|.*socketip"
    r"|x-envoy-.*|x-amzn-.*|x-amz-cf-.*|cloudfront-.*|cf-.*|cdn-loop|fastly-.*|fly-.*|x-azure-.*|x-arr-.*|x-appengine-.*"
    r"|x-cloud-trace-context|x-vercel-.*|x-nf-.*|x-ngrok-.*|tailscale-.*|x-traefik-.*|x-haproxy-.*|x-varnish"
    r"|x-cluster-.*|x-scheme|x-url-scheme|x-host|x-ssl.*|ssl-client-.*|x-client-(cert|verify|dn).*|client-cert.*"
    r"|front-end-https|x-https|early-data|x-auth-request-.*|x-accel-.*|x-sendfile-type|x-request-start|max-forwards",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%\w]+\]|[^\s\[\]:@/?#\\,]+)(:[0-9]*)?")

_Address = IPv4Address | IPv6Address


def is_loopback(name: str) -> bool:
    """Whether a host name or IP address, without port, means this machine to itself: `localhost` and names below it
    (RFC 6761, section 6.3), 127.0.0.0/8, ::1, and IPv4 written as IPv6."""
    name = name.lower().removesuffix(".")
    address = as_address(name)
    return name == "localhost" or name.endswith(".localhost") if address is None else address.is_loopback


def as_address(text: str) -> _Address | None:
    """An IP address, of IPv4 where it is one written as IPv6; None for anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def host_name(authority: str) -> str | None:
    """The name in `name:port` or `[address]:port`; None where it is neither."""
    match = _AUTHORITY.fullmatch(authority)
    return None if match is None else match["name"].strip("[]")


def hosts(request: web.BaseRequest) -> list[str]:
    """Every authority that the request names: its `Host` headers and that of a target in absolute form, which counts
    before them (RFC 9112, section 3.2.2)."""
    named = request.headers.getall(hdrs.HOST, [])
    target = request.raw_path
    if not target.startswith("/") and "://" in target:
        try:
            named = [urlsplit(target).netloc, *named]
        except ValueError:
            named = ["", *named]
    return list(named)


def mark_of_proxy(request: web.BaseRequest) -> str | None:
    """What shows that the request was forwarded: the name of a header, or `HTTP/1.0`; None where nothing does."""
    for name in request.headers:
        if _PROXYS.fullmatch(name):
            return name
    if request.version < HttpVersion11:
        return f"HTTP/{request.version.major}.{request.version.minor}"
    return None


def is_secure(request: web.BaseRequest) -> bool:
    """Whether the client's own connection is by TLS: here, or at a proxy that says so.

    A proxy is believed where it is near: on a loopback, private or link-local address. A client that lies from there
    gets a cookie which its browser does not send, and nothing else.
    """
    if request.secure:
        return True
    peer = as_address(request.remote or "")
    if peer is not None and not (peer.is_loopback or peer.is_private or peer.is_link_local):
        return False
    return any(scheme in ("https", "wss", "on", "ssl") for scheme in _schemes(request))


def _schemes(request: web.BaseRequest) -> Iterable[str]:
    """What proxies say of the client's connection, that of the client's side first in each header."""
    first = next(iter(request.forwarded), {})
    yield str(first.get("proto", "")).lower()
    for name in ("X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme", "X-Scheme", "X-Forwarded-Ssl"):
        yield request.headers.get(name, "").partition(",")[0].strip().lower()
    yield request.headers.get("Front-End-Https", "").strip().lower()
    visitor = request.headers.get("CF-Visitor", "")
    yield "https" if re.search(r'"scheme"\s*:\s*"https"', visitor) else ""


def client(request: web.BaseRequest) -> str:
    """The address that a request is counted under: the peer's, or behind a proxy of this machine the one that it names
    last, which is the one it saw itself. An IPv6 client is its /64, as it has all of that."""
    peer = as_address(request.remote or "")
    if peer is None:
        return "-"
    if peer.is_loopback:
        peer = _named_by_proxy(request) or peer
    if isinstance(peer, IPv6Address) and not peer.is_loopback:
        return f"{IPv6Address(int(peer) >> 64 << 64)}/64"
    return str(peer)


def _named_by_proxy(request: web.BaseRequest) -> _Address | None:
    named = [part for value in request.headers.getall("X-Forwarded-For", []) for part in value.split(",")]
    if not named:
        named = [str(one.get("for", "")) for one in request.forwarded] or [request.headers.get("X-Real-IP", "")]
    name = named[-1].strip().strip('"')
    return as_address(name) or as_address(host_name(name) or "")
