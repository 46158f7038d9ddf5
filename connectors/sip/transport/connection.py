"""One connection of SIP over TCP or TLS: octets to messages and back, keep-alives, and an end when nothing comes.

A connection has a deadline at every time: for its first message, for the rest of a message that has begun, however
slowly it trickles in, and, between messages, for the next one. One that a call uses stays open.
"""

import asyncio
from typing import Protocol, cast

from connectors.sip.config import PeerLimits
from connectors.sip.message.parser import MalformedMessage, StreamParser
from connectors.sip.transaction import Flow
from connectors.sip.transport.peers import Receiver, TransportStats

MAX_UNREAD_BYTES = 1 << 20
"""A peer that lets more than this wait for it is disconnected."""


class Owner(Protocol):
    """What a connection needs of its transport."""

    receiver: Receiver
    stats: TransportStats
    limits: PeerLimits

    def flow(self, remote: tuple[str, int], local: tuple[str, int], number: int, /) -> Flow: ...

    def admit(self, connection: "Connection", /) -> bool: ...

    def forget(self, connection: "Connection", /) -> None: ...


class Connection(asyncio.Protocol):
    """One connection. `flow` names it in all that comes from it."""

    def __init__(self, owner: Owner, number: int) -> None:
        self._owner, self._number = owner, number
        self.flow: Flow | None = None
        self._parser = StreamParser()
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._amid = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = connected = cast(asyncio.Transport, transport)
        peer, local = connected.get_extra_info("peername"), connected.get_extra_info("sockname")
        if peer is None or local is None:  # gone before it was accepted
            connected.abort()
            return
        remote, here = (str(peer[0]), int(peer[1])), (str(local[0]), int(local[1]))
        self.flow = self._owner.flow(remote, here, self._number)
        connected.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        if not self._owner.admit(self):
            connected.abort()
            return
        self._start_idle_timeout(self._owner.limits.first_message_s)

    def data_received(self, data: bytes) -> None:
        """Raises nothing: what cannot be read for a fault of ours leaves no way to find the next message."""
        try:
            self._take(data)
        except Exception as error:  # noqa: BLE001 - of this connection alone
            self._owner.receiver.fault(error, "a connection is closed")
            self.close()

    def _take(self, data: bytes) -> None:
        owner, flow = self._owner, self.flow
        if flow is None:
            return
        before = owner.stats.received
        for message in self._parser.feed(data):
            owner.stats.received += 1
            if isinstance(message, MalformedMessage):
                owner.stats.malformed += 1
                if not message.drop:
                    owner.receiver.received(message, flow)
                if message.close:
                    self.close()
                    return
            else:
                owner.receiver.received(message, flow)
        pongs = self._parser.take_pongs()
        if pongs:
            owner.stats.keepalives += 1
            self.send(pongs)
        complete = pongs or owner.stats.received > before
        was_amid, self._amid = self._amid, self._parser.is_amid
        if self._amid and (complete or not was_amid):
            self._start_idle_timeout(owner.limits.message_s)
        elif not self._amid:
            self._start_idle_timeout(owner.limits.idle_connection_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of asyncio.Protocol
        if self._idle is not None:
            self._idle.cancel()
        self._owner.forget(self)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _start_idle_timeout(self, seconds: float) -> None:
        """Wait for what is to come next, though not for ever."""
        if self._idle is not None:
            self._idle.cancel()
        seconds = min(seconds, self._owner.limits.idle_connection_s)
        self._idle = asyncio.get_running_loop().call_later(seconds, self._on_idle)

    def _on_idle(self) -> None:
        if self.flow is not None and self._owner.receiver.is_busy(self.flow):
            self._start_idle_timeout(self._owner.limits.idle_connection_s)
        else:
            self._owner.stats.idle += 1
            self.close()
