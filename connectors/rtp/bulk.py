"""Lanes: RTP streams whose packets come in order, side by side in the rows of arrays.

Received one by one, a packet costs some twenty small steps on objects of its leg, which have left the CPU's caches
since the leg's last packet. A lane is one row with all that a packet in order reads and changes. The reader collects a
datagram of each of many lanes; `RtpLanes.take` compares them with what was due, counts and decodes them as arrays, and
`pipeline.ingest.Ingest.push_packets` resamples and pushes them in one product. Next to nothing is done for a single
packet. The rule of what is due is that of `in_order`. What is not due is not decided here: the leg leaves, and its
packets are received one by one until it may enter again.

A leg enters when all of this holds. `lane_entry` asks all but the last, which only `reader.MediaReader.enter` knows:

| of | condition |
|---|---|
| the stream | `IN_ORDER_AFTER` packets took the in-order fast path since the last other one, and since the last try |
| the stream | the fast path is open; G.711 (`LANE_CODECS`) at 8 kHz, `LANE_TICKS` octets in the last packet |
| the stream | no key press is under way: its end may be a timer's |
| the receiver | no SRTP, and the peer's address is known |
| the feed | not on hold; the leg has an intake, and that is open |
| the reader | no lane of another ingest is in use |

A leg leaves, by `LaneLeg.leave_lane`, when one of this happens:

| what | noticed by |
|---|---|
| a datagram is not the one that was due | `RtpLanes.take`, then `RtpLeg` as the reader hands it over |
| the pipeline refuses a packet that was due: it is counted, and delivered alone | `RtpLanes._advance` |
| nothing came for `IDLE_TIMEOUT_S` | `RtpLanes.leave_idle` |
| a batch cannot be computed: its packets are received one by one | `MediaReader._read_round` |
| RTCP brought an event, the goodbye | `RtpLeg._on_rtcp` |
| hold or its end, a new agreement, another intake, the end of the leg | `RtpLeg` |

Invariants:

- Records, counters and audio are the same with lanes and without.
- While a leg is in a lane its row is ahead of its `InOrderState`. `settle` stores the row back; whoever reads or
  changes the state settles or leaves first.
- A datagram that is not due has changed nothing when it is handed back.
- A row that was left is given to another leg only after `recycle`, so packets read before meet nobody's lane.

Example: PCMU, number 1000, timestamp 50000 and SSRC 7 are due. The row of headers holds the first 12 octets of that
packet as three words, 0x800003E8, 50000, 7. A datagram with these, of 172 octets, from the peer's address and not
early, is taken, and the words become 0x800003E9, 50160, 7. Any other has the leg leave.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.rtp.events import Audio
from connectors.rtp.feed import LegFeed
from connectors.rtp.in_order import InOrderState
from connectors.rtp.latching import Address
from connectors.rtp.packet import HEADER_SIZE, PLAIN
from connectors.rtp.receiver import RtpReceiver
from pipeline.g711 import ALAW_OFFSET, MULAW_OFFSET
from pipeline.intake import PacketIngest

LANE_CODECS = frozenset({"PCMU", "PCMA"})
"""One octet a sample and no state: the packets of many legs are decoded together."""

LANE_TICKS, LANE_RATE_HZ = 160, 8_000
"""Packets that lanes take: 20 ms at 8 kHz."""

IN_ORDER_AFTER = 8
"""Packets in a row on the in-order fast path, after which a leg asks for a lane."""

PACKET_SIZE = HEADER_SIZE + LANE_TICKS
RECENT = 4
"""Packets remembered for concealment."""

IDLE_TIMEOUT_S = 0.1
"""A lane without a packet for so long is given up; what silence means is up to the stream."""

_MEDIA, _POSITION, _TRANSIT, _EARLIEST, _JITTER, _AUDIO_AT, _RECEIVED, _SEQUENCE = range(8)


class LaneLeg(Protocol):
    """Who is in a lane."""

    def leave_lane(self) -> None:
        """Give the lane back, with `RtpLanes.leave`."""

    def deliver(self, audio: Audio) -> None:
        """A packet that the lane has counted and the pipeline would not take with the others."""


@dataclass(slots=True)
class LaneEntry:
    """A leg that may enter a lane. `state`: of its stream. `peer`: the one address of its packets. `ingest`, `ticket`:
    where its audio goes, and as whose. `received`: packets of the stream before the lane."""

    leg: LaneLeg
    state: InOrderState
    peer: Address
    ingest: PacketIngest
    ticket: int
    received: int


def lane_entry(leg: LaneLeg, receiver: RtpReceiver, feed: LegFeed) -> LaneEntry | None:
    """The leg's entry, or None where its packets are to be received one by one. Asks no more than once for
    `IN_ORDER_AFTER` packets."""
    state, peer, intake = receiver.state, receiver.peer, feed.intake
    if state.in_a_row < IN_ORDER_AFTER:
        return None
    state.in_a_row = 0
    if (
        not state.fast_path
        or state.codec.name not in LANE_CODECS
        or state.rate != LANE_RATE_HZ
        or state.ticks != LANE_TICKS
        or state.next_timestamp is None
        or receiver.key_pressed
        or receiver.secured
        or peer is None
        or intake is None
        or (ticket := intake.ticket) is None
    ):
        return None
    return LaneEntry(leg, state, peer, intake.ingest, ticket, state.stats.received)


class RtpLanes:
    """`ingest`: what all of them feed. `rows`: lanes to begin with; more are made as they are needed."""

    def __init__(self, ingest: PacketIngest, rows: int = 64) -> None:
        self.ingest = ingest
        self._free = deque(range(rows))
        self._left: list[int] = []
        self._entries: list[LaneEntry | None] = [None] * rows
        self._peers: list[Address | None] = [None] * rows
        self._headers = np.zeros((rows, 3), np.uint32)
        self._state = np.zeros((rows, 8))
        self._tickets = np.zeros(rows, np.int64)
        self._offsets = np.zeros((rows, 1), np.int16)
        self._recent = np.zeros((rows, RECENT, LANE_TICKS), np.uint8)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def enter(self, entry: LaneEntry) -> int:
        """Load the stream's state into a row; returns the row."""
        if not self._free:
            self._grow()
        row, state = self._free.popleft(), entry.state
        assert state.next_timestamp is not None
        assert state.ssrc is not None
        self._entries[row], self._peers[row] = entry, entry.peer
        first = (PLAIN << 8 | state.payload_type) << 16 | state.next_sequence & 0xFFFF
        self._headers[row] = first, state.next_timestamp, state.ssrc
        self._state[row] = (
            *(state.media, state.position, state.transit, state.earliest, state.jitter, state.audio_at),
            *(entry.received, state.next_sequence),
        )
        self._tickets[row] = entry.ticket
        self._offsets[row] = MULAW_OFFSET if state.codec.name == "PCMU" else ALAW_OFFSET
        self._used += 1
        return row

    def settle(self, row: int) -> None:
        """Store the row back into the stream's state. The lane goes on."""
        entry, numbers = self._entries[row], self._state[row].tolist()
        assert entry is not None
        state = entry.state
        state.next_sequence, state.next_timestamp = int(numbers[_SEQUENCE]), int(self._headers[row, 1])
        state.media, state.position = int(numbers[_MEDIA]), int(numbers[_POSITION])
        state.transit, state.jitter, state.audio_at = numbers[_TRANSIT], numbers[_JITTER], numbers[_AUDIO_AT]
        state.stats.received = int(numbers[_RECEIVED])

    def leave(self, row: int) -> list[bytes]:
        """Store the row back and give it up. Returns the last payloads that the lane took, oldest first."""
        self.settle(row)
        entry = self._entries[row]
        assert entry is not None
        self._entries[row] = self._peers[row] = None
        self._headers[row] = 0
        self._left.append(row)
        self._used -= 1
        received = entry.state.stats.received
        newest = range(max(entry.received, received - RECENT), received)
        return [self._recent[row, index % RECENT].tobytes() for index in newest]

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
        transit = now * LANE_RATE_HZ - state[:, _MEDIA]
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

    def leave_idle(self, now: float) -> None:
        """Give up the lanes that nothing has come for in `IDLE_TIMEOUT_S`."""
        idle = (self._headers[:, 0] != 0) & (now - self._state[:, _AUDIO_AT] > IDLE_TIMEOUT_S)
        self.leave_all(np.flatnonzero(idle).tolist())

    def leave_all(self, rows: Sequence[int]) -> None:
        """Give up these lanes."""
        for row in rows:
            entry = self._entries[row]
            if entry is not None:
                entry.leg.leave_lane()

    def recycle(self) -> None:
        """Rows that were left may be used again: nothing read before waits for `take`."""
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
        """Count, place and push a packet of each of these rows, all of them due."""
        received, position = state[:, _RECEIVED].astype(np.int64), state[:, _POSITION].astype(np.int64)
        self._recent[at, received % RECENT] = payload
        state[:, _JITTER] += (np.abs(transit - state[:, _TRANSIT]) - state[:, _JITTER]) * 0.0625
        state[:, _TRANSIT] = transit
        state[:, _MEDIA : _POSITION + 1] += LANE_TICKS
        state[:, _AUDIO_AT] = now
        state[:, _RECEIVED : _SEQUENCE + 1] += 1
        self._state[at] = state
        headers = self._headers[at]
        first = headers[:, 0]
        headers[:, 0] = first & 0xFFFF0000 | first + 1 & 0xFFFF
        headers[:, 1] += LANE_TICKS
        self._headers[at] = headers
        codes = payload + self._offsets[at]
        taken = self.ingest.push_packets(self._tickets[at], position, codes, np.full(len(at), now))
        if not taken.all():
            for index in np.flatnonzero(~taken).tolist():
                entry = self._entries[at[index]]
                if entry is not None:
                    entry.leg.leave_lane()
                    entry.leg.deliver(Audio(int(position[index]), payload[index].tobytes(), entry.state.codec, now))

    def _grow(self) -> None:
        rows = len(self._entries)
        self._free += range(rows, 2 * rows)
        self._entries += [None] * rows
        self._peers += [None] * rows
        for name in ("_headers", "_state", "_tickets", "_offsets", "_recent"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
