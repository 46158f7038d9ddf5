"""The steady streams of many legs, side by side: each packet is the one that was due, so they are checked, counted,
decoded and handed on together (`pipeline.ingest.Ingest.hear`), with next to nothing done for a single one.

Sits beside `stream.RtpStream`, from which a lane takes its state and to which it gives it back as soon as anything else
comes: a packet out of order, another address, a key press, a pause. What is decided there is not decided here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.rtp.events import Audio
from connectors.rtp.latching import Address
from connectors.rtp.packet import HEADER_SIZE
from connectors.rtp.steady import STEADY_RATE_HZ, STEADY_TICKS, SteadyState
from connectors.sdp.rtp_codec import Codec
from pipeline.g711 import ALAW_OFFSET, MULAW_OFFSET
from pipeline.ingest import Ingest

PACKET_SIZE = HEADER_SIZE + STEADY_TICKS
RECENT = 4
"""Packets remembered for concealment."""

QUIET_S = 0.1
"""A lane without a packet for so long is given back; what silence means is up to the stream."""

_MEDIA, _POSITION, _TRANSIT, _EARLIEST, _JITTER, _HEARD_AT, _RECEIVED, _SEQUENCE = range(8)


class LaneLeg(Protocol):
    """Who is in a lane."""

    def leave(self) -> None:
        """Give the lane back, with `Lanes.leave`."""

    def hear(self, audio: Audio) -> None:
        """A packet that the stream has counted and the pipeline would not take with the others."""


@dataclass(slots=True)
class Entry:
    """A leg that wants a lane. `header`: the first two octets of its packets."""

    leg: LaneLeg
    state: SteadyState
    header: int
    codec: Codec
    ssrc: int
    peer: Address
    ticket: int


class Lanes:
    """All of them feed one `Ingest`. A lane that was left is given to another leg only after `recycle`, so that packets
    read meanwhile find nobody in it."""

    def __init__(self, ingest: Ingest, rows: int = 64) -> None:
        self.ingest = ingest
        self._free = deque(range(rows))
        self._left: list[int] = []
        self._entries: list[Entry | None] = [None] * rows
        self._peers: list[Address | None] = [None] * rows
        self._headers = np.zeros((rows, 3), np.uint32)
        self._state = np.zeros((rows, 8))
        self._tickets = np.zeros(rows, np.int64)
        self._offsets = np.zeros((rows, 1), np.int16)
        self._recent = np.zeros((rows, RECENT, STEADY_TICKS), np.uint8)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def enter(self, entry: Entry) -> int:
        """The row of the lane."""
        if not self._free:
            self._grow()
        row = self._free.popleft()
        state = entry.state
        self._entries[row], self._peers[row] = entry, entry.peer
        self._headers[row] = entry.header << 16 | state.sequence & 0xFFFF, state.timestamp, entry.ssrc
        self._state[row] = (
            *(state.media, state.position, state.transit, state.earliest, state.jitter, state.heard_at),
            *(state.received, state.sequence),
        )
        self._tickets[row] = entry.ticket
        self._offsets[row] = MULAW_OFFSET if entry.codec.name == "PCMU" else ALAW_OFFSET
        self._used += 1
        return row

    def state(self, row: int) -> SteadyState:
        """Where the stream stands now."""
        numbers = self._state[row].tolist()
        return SteadyState(
            int(numbers[_SEQUENCE]),
            int(self._headers[row, 1]),
            int(numbers[_MEDIA]),
            int(numbers[_POSITION]),
            numbers[_TRANSIT],
            numbers[_EARLIEST],
            numbers[_JITTER],
            numbers[_HEARD_AT],
            int(numbers[_RECEIVED]),
        )

    def leave(self, row: int) -> tuple[SteadyState, list[bytes]]:
        """The same, and the stream's last packets, oldest first: the lane is no more its own."""
        entry, state = self._entries[row], self.state(row)
        assert entry is not None
        self._entries[row] = self._peers[row] = None
        self._headers[row] = 0
        self._left.append(row)
        self._used -= 1
        newest = range(max(entry.state.received, state.received - RECENT), state.received)
        return state, [self._recent[row, index % RECENT].tobytes() for index in newest]

    def take(
        self,
        rows: Sequence[int],
        datagrams: NDArray[np.uint8],
        addresses: Sequence[Address],
        sizes: Sequence[int],
        now: float,
    ) -> list[int]:
        """A datagram of each of these lanes, none of them twice. `datagrams`: uint8 (n, at least PACKET_SIZE). Returns
        the indices of those that were not due: nothing has changed by them."""
        at = np.array(rows, np.int64)
        state = self._state[at]
        transit = now * STEADY_RATE_HZ - state[:, _MEDIA]
        due = (datagrams[:, :HEADER_SIZE].view(">u4") == self._headers[at]).all(1)
        due &= np.array(sizes) == PACKET_SIZE
        due &= transit >= state[:, _EARLIEST]
        due &= np.fromiter(map(eq, addresses, [self._peers[row] for row in rows]), np.bool_, len(rows))
        payload = datagrams[:, HEADER_SIZE:PACKET_SIZE]
        others: list[int] = []
        if not due.all():
            others = np.flatnonzero(~due).tolist()
            at, state, transit, payload = at[due], state[due], transit[due], payload[due]
        self._advance(at, state, transit, payload, now)
        return others

    def quiet(self, now: float) -> None:
        """Give back the lanes of those that have gone quiet."""
        used = np.flatnonzero((self._headers[:, 0] != 0) & (now - self._state[:, _HEARD_AT] > QUIET_S))
        for row in used.tolist():
            entry = self._entries[row]
            if entry is not None:
                entry.leg.leave()

    def dissolve(self, rows: Sequence[int]) -> None:
        """Give back these lanes: what they are to take cannot be taken together."""
        for row in rows:
            entry = self._entries[row]
            if entry is not None:
                entry.leg.leave()

    def recycle(self) -> None:
        """Nothing that was read before is to be taken any more."""
        self._free += self._left
        self._left.clear()

    def _advance(
        self,
        at: NDArray[np.int64],
        state: NDArray[np.float64],
        transit: NDArray[np.float64],
        payload: NDArray[np.uint8],
        now: float,
    ) -> None:
        """As `RtpStream.receive_next` does it."""
        received, position = state[:, _RECEIVED].astype(np.int64), state[:, _POSITION].astype(np.int64)
        self._recent[at, received % RECENT] = payload
        state[:, _JITTER] += (np.abs(transit - state[:, _TRANSIT]) - state[:, _JITTER]) * 0.0625
        state[:, _TRANSIT] = transit
        state[:, _MEDIA : _POSITION + 1] += STEADY_TICKS
        state[:, _HEARD_AT] = now
        state[:, _RECEIVED : _SEQUENCE + 1] += 1
        self._state[at] = state
        headers = self._headers[at]
        first = headers[:, 0]
        headers[:, 0] = first & 0xFFFF0000 | first + 1 & 0xFFFF
        headers[:, 1] += STEADY_TICKS
        self._headers[at] = headers
        codes = payload + self._offsets[at]
        taken = self.ingest.hear(self._tickets[at], position, codes, np.full(len(at), now))
        if not taken.all():
            for index in np.flatnonzero(~taken).tolist():
                entry = self._entries[at[index]]
                if entry is not None:
                    entry.leg.leave()
                    entry.leg.hear(Audio(int(position[index]), payload[index].tobytes(), entry.codec, now))

    def _grow(self) -> None:
        rows = len(self._entries)
        self._free += range(rows, 2 * rows)
        self._entries += [None] * rows
        self._peers += [None] * rows
        for name in ("_headers", "_state", "_tickets", "_offsets", "_recent"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
