"""SIP over UDP (RFC 3261, section 18): the driver of one datagram socket."""

import asyncio
import logging
import socket
from typing import cast

from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.message import encode as encode_message
from connectors.sip.message.parser import MalformedMessage, parse_datagram
from connectors.sip.transaction import Flow
from connectors.sip.transport.peers import AllowList, LocalAddress, Receiver, TransportStats

_STUN_COOKIE = b"\x21\x12\xa4\x42"

logger = logging.getLogger(__name__)

RECEIVE_BUFFER = 4 << 20
"""Bytes the kernel keeps while the event loop is busy: a burst of INVITEs must not be lost."""


def is_stun(data: bytes) -> bool:
    """A STUN message by its first bits and its magic cookie (RFC 8489, section 5): a keep-alive of a peer that takes us
    for an outbound proxy (RFC 5626, section 4.4.2). It is not answered: no such flow was agreed."""
    return len(data) >= 20 and data[0] < 0x40 and data[4:8] == _STUN_COOKIE


class UdpTransport(asyncio.DatagramProtocol):
    """Datagrams to messages and back. What cannot be sent now is dropped and counted: the transactions repeat it."""

    def __init__(
        self, receiver: Receiver, allow: AllowList, stats: TransportStats, advertised: str | None = None
    ) -> None:
        self._receiver, self._allow, self._stats, self._advertised = receiver, allow, stats, advertised
        self._transport: asyncio.DatagramTransport | None = None
        self._local = LocalAddress(("127.0.0.1", 0))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return str(host), int(port)

    async def open(self, address: tuple[str, int]) -> None:
        """Raises `OSError` where the port cannot be had."""
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.setblocking(False)
            sock.bind(address)
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        self._local = LocalAddress(self.address, self._advertised)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # which asyncio's own is not by its class

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Raises nothing: an event loop may take that for the end of the socket."""
        try:
            self._take(data, addr)
        except Exception as error:  # noqa: BLE001 - of this datagram alone
            self._receiver.fault(error, "a datagram is let go")

    def _take(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        host, port = str(addr[0]), int(addr[1])
        stats = self._stats
        if not self._allow.admits(host):
            stats.strangers += 1
            return
        if not data.strip(b"\r\n\0 \t") or is_stun(data):
            stats.keepalives += 1
            return
        stats.received += 1
        message: SipRequest | SipResponse | MalformedMessage
        try:
            message = parse_datagram(data)
        except MalformedMessage as error:
            stats.malformed += 1
            if error.drop:
                stats.dropped += 1
                return
            message = error
        self._receiver.received(message, Flow("UDP", (host, port), self._local.towards(host)))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the peer is not there. Its transactions find out by their timers."""
        logger.debug("SIP over UDP: %s", exc)

    def send(self, message: SipRequest | SipResponse, flow: Flow) -> None:
        """Never blocks and never raises."""
        if self._transport is None or self._transport.is_closing():
            self._stats.unsent += 1
            return
        try:
            self._transport.sendto(encode_message(message), flow.remote)
        except (OSError, ValueError, UnicodeError) as exc:
            self._stats.unsent += 1
            logger.debug("SIP over UDP: cannot send: %s", exc)
        else:
            self._stats.sent += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
