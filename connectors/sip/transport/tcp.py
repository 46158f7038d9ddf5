"""SIP over TCP and TLS (RFC 3261, section 18): the driver of one listening socket and its connections.

Answers go back on the connection of their request. Where that is gone, and for requests of ours without one, a
connection to the peer's address is made (section 18.2.2).
"""

import asyncio
import logging
import ssl
from collections import Counter
from typing import Literal

from connectors.sip.config import PeerLimits, SipConfig
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.message import encode as encode_message
from connectors.sip.transaction import Flow
from connectors.sip.transport.connection import Connection
from connectors.sip.transport.peers import AllowList, Receiver, TransportStats
from supervision import cancel_and_wait

logger = logging.getLogger(__name__)

MAX_WAITING = 64
"""Messages kept for one peer while it is being connected to."""

CONNECT_S = 5.0
HANDSHAKE_S = 10.0


def tls_context(config: SipConfig) -> ssl.SSLContext:
    """Of the server's certificate. Raises `OSError` and `ssl.SSLError` where the files cannot be read or used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert config.tls_cert is not None
    context.load_cert_chain(config.tls_cert, config.tls_key)
    if config.tls_client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(config.tls_client_ca)
    return context


class TcpTransport:
    """Listens, and makes connections where an answer needs one. `kind` "TLS" with a context."""

    def __init__(
        self,
        receiver: Receiver,
        allow: AllowList,
        stats: TransportStats,
        limits: PeerLimits,
        context: ssl.SSLContext | None = None,
        advertised: str | None = None,
    ) -> None:
        self.receiver, self.stats, self.limits = receiver, stats, limits
        self.kind: Literal["TCP", "TLS"] = "TCP" if context is None else "TLS"
        self._allow, self._context, self._advertised = allow, context, advertised
        self._server: asyncio.Server | None = None
        self._connections: dict[int, Connection] = {}
        self._remotes: dict[tuple[str, int], Connection] = {}
        self._peers: Counter[str] = Counter()
        self._count = 0
        self._calling: dict[tuple[str, int], list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def open(self, address: tuple[str, int]) -> None:
        """Raises `OSError` where the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection,
            *address,
            ssl=self._context,
            backlog=512,
            ssl_handshake_timeout=None if self._context is None else HANDSHAKE_S,
        )

    def reload(self, config: SipConfig) -> None:
        """Take the certificate as it is now, for handshakes to come. Raises `OSError` and `ssl.SSLError`; the former
        one stays then."""
        tls_context(config)  # a pair that does not fit would leave the context with half of it
        if self._context is not None and config.tls_cert is not None:
            self._context.load_cert_chain(config.tls_cert, config.tls_key)

    def _connection(self) -> Connection:
        self._count += 1
        return Connection(self, self._count)

    def flow(self, remote: tuple[str, int], local: tuple[str, int], number: int) -> Flow:
        """Of a connection: whoever made it, we are reached where we listen."""
        return Flow(self.kind, remote, (self._advertised or local[0], self.address[1]), number)

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, or refuse it."""
        assert connection.flow is not None
        host, limits = connection.flow.remote[0], self.limits
        if not self._allow.admits(host):
            self.stats.strangers += 1
            return False
        if len(self._connections) >= limits.max_connections or self._peers[host] >= limits.max_connections_per_peer:
            self.stats.crowded += 1
            return False
        self._connections[connection.flow.connection] = connection
        self._remotes[connection.flow.remote] = connection
        self._peers[host] += 1
        self.stats.accepted += 1
        return True

    def forget(self, connection: Connection) -> None:
        """Idempotent; also for connections that were never admitted."""
        flow = connection.flow
        if flow is not None and self._connections.pop(flow.connection, None) is not None:
            self._remotes.pop(flow.remote, None)
            self._peers[flow.remote[0]] -= 1
            self._peers += Counter()  # without those that are zero

    def send(self, message: SipRequest | SipResponse, flow: Flow) -> None:
        """Never blocks and never raises."""
        data = encode_message(message)
        connection = self._connections.get(flow.connection) or self._remotes.get(flow.remote)
        if connection is not None:
            self.stats.sent += 1
            connection.send(data)
        elif self._context is not None:
            self.stats.unsent += 1  # a TLS peer calls us: the name that its certificate would bear is not known here
        elif (waiting := self._calling.get(flow.remote)) is not None and len(waiting) < MAX_WAITING:
            waiting.append(data)
        elif waiting is not None or len(self._calling) >= self.limits.max_connections_per_peer:
            self.stats.unsent += 1
        else:
            self._calling[flow.remote] = [data]
            task = asyncio.get_running_loop().create_task(self._connect(flow.remote))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, remote: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await asyncio.get_running_loop().create_connection(self._connection, *remote)
        except Exception as exc:  # noqa: BLE001 - whatever it is, what waits for the connection is not sent
            logger.debug("SIP over TCP: cannot connect: %s", exc)
            self.stats.unsent += len(self._calling.pop(remote))
            return
        for data in self._calling.pop(remote):
            connection.send(data)

    async def close(self) -> None:
        """Close the listening socket and every connection."""
        if self._server is not None:
            self._server.close()
        await cancel_and_wait(*self._tasks)
        for connection in list(self._connections.values()):
            connection.close()
