"""The doors of the server: which stand open to everybody, and what is done about requests through a proxy and about
what is no HTTP.
"""

import logging
import re
import time
from collections.abc import MutableMapping
from ipaddress import collapse_addresses, ip_network
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import (
    BadHttpMethod,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)
from aiohttp.typedefs import Handler, Middleware

from connectors.sip.config import DEFAULT_PORTS, SipConfig, parse_listen
from liveview.attempts import AccessStats, AddressCounts, is_logged
from liveview.forwarding import host_name, is_loopback, mark_of_proxy
from trunkline.config import Config

logger = logging.getLogger(__name__)


def open_doors(config: Config) -> list[str]:
    """One line for each endpoint that anybody who reaches it may use, with what closes it."""
    doors = list(_http_doors(config).values()) if not config.server.is_loopback else []
    if config.sip is not None:
        doors += _sip_doors(config.sip)
    doors += [
        f"pages of any site may use {path}: name them in {section} origins" for path, section in _any_page(config)
    ]
    return doors


def log_open_doors(config: Config) -> None:
    """A warning for each."""
    for door in open_doors(config):
        logger.warning("%s", door)


def engine_door(listen: str) -> str | None:
    """The same for an engine that listens at `unix:/path` or `tcp:host:port`; its protocol knows no password."""
    kind, _, rest = listen.partition(":")
    host = host_name(rest) or rest.rpartition(":")[0]
    if kind != "tcp" or is_loopback(host.strip("[]")):
        return None
    return (
        f"anybody who reaches {listen} may use the engine: bind it to loopback, a unix socket or a network of its own"
    )


def _http_doors(config: Config) -> dict[str, str]:
    """By path, those that have neither token nor signature."""
    doors = {}
    if config.twilio.auth_token is None:
        doors[config.twilio.path] = f"anybody may stream to {config.twilio.path}: set [twilio] auth_token"
    if config.webrtc is not None and config.webrtc.token is None:
        doors[config.webrtc.path] = f"anybody may send audio to {config.webrtc.path}: set [webrtc] token"
    return doors


def _any_page(config: Config) -> list[tuple[str, str]]:
    """Path and section of what a page of any site may use without a token, on loopback too: a browser is there."""
    found = []
    if config.twilio.auth_token is None and "*" in config.twilio.origins:
        found.append((config.twilio.path, "[twilio]"))
    if config.webrtc is not None and config.webrtc.token is None and "*" in config.webrtc.origins:
        found.append((config.webrtc.path, "[webrtc]"))
    return found


def _sip_doors(config: SipConfig) -> list[str]:
    if config.credentials or (config.allow and not _is_everybody(config.allow)):
        return []
    doors = []
    for name in DEFAULT_PORTS:
        listen = getattr(config, name)
        if listen is None or is_loopback(parse_listen(name, listen)[0]):
            continue
        if name == "tls" and config.tls_client_ca is not None:
            continue  # a peer shows a certificate before it can say anything
        doors.append(f"{name} = {listen!r}")
    if not doors:
        return []
    why = "allow holds every address" if config.allow else "there are neither allow nor credentials"
    return [f"anybody may call [sip] {', '.join(doors)}, as {why}: set one"]


def _is_everybody(allow: tuple[str, ...]) -> bool:
    """Whether the networks together are all addresses of IPv4 or of IPv6."""
    networks = [ip_network(one) for one in allow]
    return any(
        one.prefixlen == 0
        for version in (4, 6)
        for one in collapse_addresses([network for network in networks if network.version == version])  # type: ignore[type-var]
    )


def through_proxies(config: Config) -> Middleware:
    """Of the server: what comes through a proxy to an endpoint without token or signature of a server on loopback, is
    logged once a path, and refused where the configuration is strict. The proxy opened the door, so nobody could know
    at the start."""
    doors = _http_doors(config) if config.server.is_loopback else {}
    reported = set[str]()

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = f"{request.path}/"
        door = next((door for own, door in doors.items() if path.startswith(f"{own.rstrip('/')}/")), None)
        mark = None if door is None else mark_of_proxy(request)
        if door is not None and mark is not None:
            if door not in reported:
                reported.add(door)
                logger.warning("%s; a proxy (%s) passes requests on to it", door, mark)
            if config.server.strict:
                raise web.HTTPForbidden(
                    text=f"this came through a proxy ({mark}) and nothing is configured to check it\n"
                )
        return await handler(request)

    return watch


def refuse_expectations(server: web.Server) -> None:
    """Answer any `Expect` but 100-continue with 417 (RFC 9110, section 10.1.1), before aiohttp does: its answer quotes
    the header and fails on bytes that are no text. For connections made from then on."""
    handle = server.request_handler

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            raise web.HTTPExpectationFailed(text="only 100-continue can be expected\n")
        return await handle(request)

    server.request_handler = checked


class ServerLog(logging.LoggerAdapter[logging.Logger]):
    """The log of aiohttp's server, for which it is made a handler argument: what is no HTTP is counted, and logged in a
    line now and then instead of a traceback each time. The line does not repeat what was sent, which may be a token."""

    def __init__(self, stats: AccessStats) -> None:
        super().__init__(logging.getLogger("aiohttp.server"))
        self._stats = stats
        self._tally = AddressCounts()

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        if not self._is_malformed(exc_info, args):
            super().exception(msg, *args, exc_info=exc_info, **kwargs)

    def debug(self, msg: object, *args: object, exc_info: Any = None, **kwargs: Any) -> None:
        if not self._is_malformed(exc_info, args):
            super().debug(msg, *args, exc_info=exc_info, **kwargs)

    def _is_malformed(self, error: object, args: tuple[object, ...]) -> bool:
        """Whether it is the client's fault, and was counted."""
        if isinstance(error, web.RequestPayloadError):  # of a body that nobody wanted to read
            error = error.__cause__ or HttpProcessingError(message="a body that is not coded as its headers say")
        if not isinstance(error, HttpProcessingError):
            return False
        self._stats.malformed += 1
        address = str(args[0]) if args else "a client"
        count = self._tally.add(address, time.monotonic())
        if is_logged(count):
            logger.warning("no HTTP from %s, number %d: %s", address, count, _reason(error))
        return True


_HEADER = re.compile(r"(?P<what>Missing|Duplicate) '(?P<name>[A-Za-z-]{1,40})' header.*")
"""Messages that name a header of HTTP's own; all others are cut off before the first thing they quote."""


def _reason(error: HttpProcessingError) -> str:
    """In words of ours: the message of the error quotes the request."""
    if isinstance(error, LineTooLong):
        return "a header or the request line is too long"
    if isinstance(error, BadHttpMethod):
        return "another protocol, such as TLS" if "HTTPS" in error.message else "no method of HTTP, or another protocol"
    if isinstance(error, InvalidURLError):
        return "its target is no URL"
    header = _HEADER.fullmatch(error.message)
    if header is not None:
        return f"{header['what']} header {header['name']}"
    return re.split(r"[^\w ()/,.-]", error.message, maxsplit=1)[0].strip()[:80] or type(error).__name__
