"""Reads the media sockets of all legs of an event loop, in bulk.

The sockets are in an epoll of their own, and the loop polls only that, and only while little comes: after a wake-up
it is left out for `PACE_S`, and what has come by then is read in one go. With many legs one wake-up thus serves
hundreds of packets. A packet comes up to `PACE_S` later by it, well within the tick it waits for anyway.
"""

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from connectors.rtp.bulk import IDLE_TIMEOUT_S, LaneEntry, RtpLanes
from connectors.rtp.latching import Address
from supervision import Supervisor

PACE_S = 0.004
_BULK = 512
_ROUNDS = 4  # of reading before other work of the loop has its turn
_MOST_WAITING = 200  # of one socket: four seconds of packets of 20 ms
_MAX_DATAGRAM = 2_048
_STRIDE = _MAX_DATAGRAM + 64  # a power of two would put all headers into the same few lines of the cache

OnDatagram = Callable[[bytes, Address], None]


class Lane:
    """The lane of one socket's stream, from `MediaReader.enter` until it is left, once."""

    __slots__ = ("_lanes", "_number", "_reader", "_row")

    def __init__(self, reader: "MediaReader", number: int, lanes: RtpLanes, row: int) -> None:
        self._reader, self._number, self._lanes, self._row = reader, number, lanes, row

    def settle(self) -> None:
        """Bring the stream's state up to date."""
        self._lanes.settle(self._row)

    def leave(self) -> list[bytes]:
        """Bring the stream's state up to date; its packets come to `on_datagram` again. Returns its last payloads,
        oldest first."""
        self._reader._read_one_by_one(self._number)
        return self._lanes.leave(self._row)


class MediaReader:
    """One for each event loop; get it with `MediaReader.of`."""

    supervisor: ClassVar[Supervisor] = Supervisor()
    """Of all readers: what is nobody's alone."""

    _readers: ClassVar[dict[asyncio.AbstractEventLoop, "MediaReader"]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._sockets: dict[int, tuple[socket.socket, OnDatagram]] = {}
        self._lane_of: dict[int, int] = {}
        self._into: dict[int, Callable[[memoryview], tuple[int, Address]]] = {}
        self._lanes: RtpLanes | None = None
        self._bulk = np.zeros((_BULK, _STRIDE), np.uint8)
        self._buffers = [buffer.data[:_MAX_DATAGRAM] for buffer in self._bulk]
        self._pacing: asyncio.TimerHandle | None = None
        self._listening = False
        self._looked_at = 0.0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "MediaReader":
        """The loop's reader. `add` a socket to it at once: it lasts as long as it has any."""
        reader = cls._readers.get(loop)
        if reader is None:
            reader = cls._readers[loop] = cls(loop)
        return reader

    def add(self, sock: socket.socket, on_datagram: OnDatagram) -> None:
        """Call `on_datagram`, which raises nothing, for everything that comes."""
        self._sockets[sock.fileno()] = sock, on_datagram
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        if self._pacing is None:
            self._listen()

    def remove(self, sock: socket.socket) -> None:
        """Before the socket is closed. With the last one nothing is left in the loop, and this reader is closed."""
        self._epoll.unregister(sock.fileno())
        del self._sockets[sock.fileno()]
        if not self._sockets:
            self._stop_listening()
            if self._pacing is not None:
                self._pacing.cancel()
                self._pacing = None
            self._epoll.close()
            del self._readers[self._loop]

    def enter(self, sock: socket.socket, entry: LaneEntry) -> "Lane | None":
        """Take the stream of this socket into a lane; None where lanes of another pipeline are in use."""
        lanes = self._lanes
        if lanes is None or (lanes.ingest is not entry.ingest and not len(lanes)):
            lanes = self._lanes = RtpLanes(entry.ingest)
        if lanes.ingest is not entry.ingest:
            return None
        number = sock.fileno()
        row = self._lane_of[number] = lanes.enter(entry)
        self._into[number] = sock.recvfrom_into
        return Lane(self, number, lanes, row)

    def _read_one_by_one(self, number: int) -> None:
        """The stream of this socket has left its lane."""
        del self._into[number], self._lane_of[number]

    def read_waiting(self, sock: socket.socket) -> None:
        """What has come before this: at the end of a stream, where a busy loop has not got to its last packets. The
        stream must have left its lane, and may be in one again afterwards."""
        on_datagram = self._sockets[sock.fileno()][1]
        for _ in range(_MOST_WAITING):
            try:
                data, address = sock.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # the peer's port is closed (ICMP)
                continue
            on_datagram(data, address)

    def _listen(self) -> None:
        if not self._listening:
            self._loop.add_reader(self._epoll, self._wake)
            self._listening = True

    def _stop_listening(self) -> None:
        if self._listening:
            self._loop.remove_reader(self._epoll)
            self._listening = False

    def _wake(self) -> None:
        self._stop_listening()
        self._drain()

    def _drain(self) -> None:
        """Read what has come; then again in a while, or, where nothing had, when something does."""
        self._pacing = None
        came = True
        try:
            came = self._read_all()
        finally:
            if self._sockets:
                if came:
                    self._pacing = self._loop.call_later(PACE_S, self._drain)
                else:
                    self._listen()

    def _read_all(self) -> bool:
        """False where nothing came and nobody is in a lane."""
        came = ready = self._read_round()
        for _ in range(_ROUNDS):
            if ready < _BULK or not self._sockets:
                break
            ready = self._read_round()
        if self._lanes is not None and len(self._lanes):
            now = time.monotonic()
            if now - self._looked_at > IDLE_TIMEOUT_S / 2:
                self._looked_at = now
                self._lanes.leave_idle(now)
            return True
        return came > 0

    def _read_round(self) -> int:
        """A datagram of each socket that has one, `_BULK` at most; returns how many had. More of one socket wait for
        the next time, which comes far sooner than its next packet."""
        ready = self._epoll.poll(0, _BULK)
        if not ready:
            return 0
        lanes, lane_of, into, buffers = self._lanes, self._lane_of, self._into, self._buffers
        rows: list[int] = []
        sizes: list[int] = []
        addresses: list[Address] = []
        sockets: list[int] = []
        if lanes is not None:
            lanes.recycle()
        for number, _ in ready:
            row = lane_of.get(number)
            if row is None:
                self._read(number)
                continue
            try:
                size, address = into[number](buffers[len(rows)])
            except OSError:  # nothing there after all, or the peer's port is closed (ICMP)
                continue
            rows.append(row)
            sizes.append(size)
            addresses.append(address)
            sockets.append(number)
        if rows and lanes is not None:
            try:
                others = lanes.take(rows, self._bulk[: len(rows)], addresses, sizes, time.monotonic())
            except Exception as error:  # noqa: BLE001 - some stream's: found one by one
                self.supervisor.fault("rtp lanes", error, "packets are taken one by one")
                lanes.leave_all(rows)
                others = list(range(len(rows)))
            for index in others:
                known = self._sockets.get(sockets[index])
                if known is not None:
                    known[1](bytes(buffers[index][: sizes[index]]), addresses[index])
        return len(ready)

    def _read(self, number: int) -> None:
        known = self._sockets.get(number)
        if known is not None:
            sock, on_datagram = known
            try:
                data, address = sock.recvfrom(_MAX_DATAGRAM)
            except OSError:
                return
            on_datagram(data, address)
