"""The connections of the HTTP server: how long their requests may take to arrive, and how many there may be.

aiohttp waits an hour for the headers of a request and takes as many connections as come, so a thousand half-sent
requests keep every call out of a process with a thousand descriptors. Here a request's head has a deadline, and
connections are bounded, in all and for each address. Where a bound is reached, the oldest connection that has no
request under way makes room; only where there is none, the new one is refused. So a flood that sends nothing hurts
itself, and a reverse proxy, whose connections all come from one address and idle in between, is none the worse.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from aiohttp import web

logger = logging.getLogger(__name__)

_IPV6_HOST_BITS = 64  # one customer has a network of at least this size (RFC 6177)


@dataclass(slots=True)
class ConnectionStats:
    """`connections` now. `late`: ended because the head of a request did not come in time. `shed`: ended without a
    request under way, to make room. `crowded`: refused, as nothing could make room."""

    connections: int = 0
    late: int = 0
    shed: int = 0
    crowded: int = 0


class Connections:
    """All of a server. `head_s`: from the beginning of a connection, or the first octet of a later request, to the end
    of its headers. `most`, `most_per_address`: connections; a network of 64 bits is one address of IPv6."""

    def __init__(self, *, head_s: float, most: int, most_per_address: int) -> None:
        self.stats = ConnectionStats()
        self.head_s = head_s
        self._most, self._most_per_address = most, most_per_address
        self._open: dict[str, int] = {}
        # Without a request under way, the longest so first.
        self._waiting: dict[HttpConnection, None] = {}
        self._waiting_of: dict[str, dict[HttpConnection, None]] = {}
        self._warned: set[str] = set()

    def admit(self, connection: "HttpConnection") -> bool:
        """Count it in, at the cost of another one if need be."""
        address, stats = connection.address, self.stats
        if self._open.get(address, 0) >= self._most_per_address:
            self._warn(address, "%s has %d connections", address, self._most_per_address)
            if not self._shed(self._waiting_of.get(address, {})):
                return False
        elif stats.connections >= self._most:
            self._warn("", "there are %d connections", self._most)
            if not self._shed(self._waiting):
                return False
        stats.connections += 1
        self._open[address] = self._open.get(address, 0) + 1
        self.wait(connection)
        return True

    def forget(self, connection: "HttpConnection") -> None:
        """It is gone."""
        address = connection.address
        self.busy(connection)
        self.stats.connections -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def wait(self, connection: "HttpConnection") -> None:
        """It has no request under way."""
        self._waiting[connection] = None
        self._waiting_of.setdefault(connection.address, {})[connection] = None

    def busy(self, connection: "HttpConnection") -> None:
        """It has one. Idempotent."""
        self._waiting.pop(connection, None)
        of_address = self._waiting_of.get(connection.address)
        if of_address is not None:
            of_address.pop(connection, None)
            if not of_address:
                del self._waiting_of[connection.address]

    def _shed(self, waiting: dict["HttpConnection", None]) -> bool:
        oldest = next(iter(waiting), None)
        if oldest is None:
            self.stats.crowded += 1
            return False
        self.stats.shed += 1
        oldest.end()
        return True

    def _warn(self, key: str, message: str, *values: object) -> None:
        """Once for each address, of the first hundred."""
        if key not in self._warned and len(self._warned) < 100:
            self._warned.add(key)
            logger.warning(
                f"{message}, the most that there may be: those without a request are ended for new ones "
                "([server] max_connections, max_connections_per_address)",
                *values,
            )


class HttpConnection(web.RequestHandler):
    """One connection. While it has no request under way a deadline may run, and it may be ended to make room."""

    __slots__ = ("_connections", "_counted", "_deadline", "_under_way", "address")

    def __init__(self, connections: Connections, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.address = ""
        self._connections = connections
        self._counted = False
        self._under_way = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = _address(transport)
        self._counted = self._connections.admit(self)
        if self._counted:
            self._arm()
        else:
            self.end()

    def data_received(self, data: bytes) -> None:
        if not self._under_way and self._deadline is None:
            self._arm()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        if self._counted:
            self._counted = False
            self._connections.forget(self)
        super().connection_lost(exc)

    def begin_request(self) -> None:
        """The head of a request is there."""
        self._under_way += 1
        self._disarm()
        self._connections.busy(self)

    def end_request(self) -> None:
        """It was answered."""
        self._under_way -= 1
        if not self._under_way and self._counted:
            self._connections.wait(self)

    def end(self) -> None:
        """At once."""
        if self._counted:
            self._counted = False
            self._connections.forget(self)
        self._disarm()
        if self.transport is not None:
            self.transport.abort()

    def _arm(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._connections.head_s, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        self._connections.stats.late += 1
        logger.debug("%s: no request within %g s", self.address, self._connections.head_s)
        self.end()


@web.middleware
async def mark_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The outermost middleware of an application that is served by an `HttpSite`."""
    connection = request.protocol
    if not isinstance(connection, HttpConnection):
        return await handler(request)
    connection.begin_request()
    try:
        return await handler(request)
    finally:
        connection.end_request()


class HttpSite(web.BaseSite):
    """Listens on a socket with such connections. `options`: those that the runner was made with."""

    def __init__(
        self, runner: "web.BaseRunner", listener: socket.socket, connections: Connections, **options: Any
    ) -> None:
        super().__init__(runner)
        self._listener, self._connections, self._options = listener, connections, options

    @property
    def name(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        self._server = await loop.create_server(
            lambda: HttpConnection(self._connections, server, loop=loop, **self._options), sock=self._listener
        )


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    try:
        address = ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return str(peer[0])
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS))
