"""Whose packets a leg receives: one address and one source of it at a time.

Symmetric RTP (RFC 4961) with these rules. A packet from the address of the session description is believed at once. One
from elsewhere, where NAT may have moved the peer, takes over after three packets in a row, and only while nothing has
come from the peer yet or for `RELATCH_S`. One that goes on with the SSRC and the sequence numbers of the stream, which
nobody knows who does not see it, needs no such pause: a new port of the same host takes over after three packets, a new
host after `OTHER_HOST`, in a row with nothing from the present address between them (`Moving`). A new SSRC, or sequence
numbers that began anew, take over after two in a row with nothing of the present source between them, so that a stray
packet never does. What waits meanwhile is kept, so a change loses nothing; what proves to be foreign is counted and
dropped.
"""

from connectors.rtp.packet import RtpPacket

Address = tuple[str, int]

RELATCH_S = 1.0
ELSEWHERE, NEWCOMER, OTHER_HOST = 3, 2, 8
_MAX_HELD = 8
_NEXT = 16  # a step of this many sequence numbers still is "in a row": losses come in bursts


class Probation:
    """Packets of one candidate: an address and an SSRC. `dropped` counts those that led to nothing."""

    def __init__(self) -> None:
        self.dropped = 0
        self._key: tuple[object, int] | None = None
        self._held: list[tuple[RtpPacket, float]] = []
        self._in_a_row = 0
        self._present = 0

    def add(self, address: object, packet: RtpPacket, now: float, present: int) -> int:
        """How many packets in a row the candidate has with this one. `present`: packets the present source has had."""
        key = (address, packet.ssrc)
        if key != self._key:
            self.clear()
            self._key, self._in_a_row = key, 0
        elif present != self._present:
            self._in_a_row = 0
        if self._held and not 0 < (packet.sequence - self._held[-1][0].sequence) % 0x10000 <= _NEXT:
            self.clear()
            self._key = key
        self._present = present
        self._in_a_row += 1
        self._held.append((packet, now))
        if len(self._held) > _MAX_HELD:
            del self._held[0]
            self.dropped += 1
        return self._in_a_row

    def take(self) -> list[tuple[RtpPacket, float]]:
        """The candidate is believed: its packets, in the order of their arrival."""
        held, self._held, self._key, self._in_a_row = self._held, [], None, 0
        return held

    def clear(self) -> None:
        """Whatever waits is foreign."""
        self.dropped += len(self._held)
        self._held, self._key, self._in_a_row = [], None, 0


class Moving:
    """Packets that go on with the stream from another address. Each counts as foreign until they are believed."""

    def __init__(self) -> None:
        self._address: Address | None = None
        self._present = 0
        self._held: list[tuple[RtpPacket, float]] = []

    def add(
        self, address: Address, packet: RtpPacket, now: float, present: int, needed: int
    ) -> list[tuple[RtpPacket, float]]:
        """All of them, in the order of their arrival, once they are `needed`; none as long as that is open. `present`:
        packets that the stream has had: one more since the last call, and nobody has moved."""
        behind = (packet.sequence - self._held[-1][0].sequence) % 0x10000 if self._held else 1
        if address != self._address or present != self._present or not 0 < behind <= _NEXT:
            self._address, self._present, self._held = address, present, []
        self._held.append((packet, now))
        if len(self._held) < needed:
            return []
        held, self._held = self._held, []
        return held
