"""The one signalling socket of all SIP calls: datagrams or a TCP connection, messages to their call by Call-ID."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from connectors.sip.message.message import SipMessage
from connectors.sip.message.parser import MalformedMessage, StreamParser, parse_datagram
from trunkline.errors import ConfigError

CONNECT_S = 10.0

Deliver = Callable[[SipMessage], None]


class UdpSignalling(asyncio.DatagramProtocol):
    """Connected to the server, so that nothing goes or comes from anywhere else."""

    transport_name = "UDP"

    def __init__(self, deliver: Deliver) -> None:
        self.malformed = 0
        self._deliver = deliver
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, local: str | None, remote: tuple[str, int]) -> tuple[str, int]:
        """Our address and port. Raises `ConfigError`."""
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, remote_addr=remote, local_addr=None if local is None else (local, 0)
            )
        except OSError as error:
            raise ConfigError(f"no way to {remote[0]}: {error.strerror or error}") from error
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        name = transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:  # noqa: ARG002
        try:
            message = parse_datagram(data)
        except MalformedMessage as error:
            self.malformed += not error.drop
            return
        self._deliver(message)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens: the calls' own timers find out."""

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class TcpSignalling(asyncio.Protocol):
    """One connection for all calls (RFC 3261, section 18); once it is lost, calls time out."""

    transport_name = "TCP"

    def __init__(self, deliver: Deliver) -> None:
        self.malformed = 0
        self._deliver = deliver
        self._parser = StreamParser()
        self._transport: asyncio.Transport | None = None

    async def open(self, local: str | None, remote: tuple[str, int]) -> tuple[str, int]:
        """Our address and port. Raises `ConfigError`."""
        loop = asyncio.get_running_loop()
        local_address = None if local is None else (local, 0)
        try:
            async with asyncio.timeout(CONNECT_S):
                transport, _ = await loop.create_connection(lambda: self, *remote, local_addr=local_address)
        except OSError as error:
            raise ConfigError(f"no connection to {remote[0]}:{remote[1]}: {error.strerror or error}") from error
        name = transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for message in self._parser.feed(data):
            if isinstance(message, MalformedMessage):
                self.malformed += 1
            else:
                self._deliver(message)
        self.send(self._parser.take_pongs())

    def send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
