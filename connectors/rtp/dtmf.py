"""Key presses in telephone-event packets (RFC 4733, section 2.5).

A press is sent many times over: as updates while it lasts and, as a rule, in three end packets, all with the timestamp
of its beginning. It is reported once, when the first end packet comes, when another press begins, or when nothing has
come of it for `TIMEOUT_S`. Sits behind the jitter buffer, so packets come in order.
"""

import struct
from dataclasses import dataclass

from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import DtmfEvent
from connectors.rtp.sequence import step

DIGITS = "0123456789*#ABCD"
TIMEOUT_S = 0.25
"""Updates come every 50 ms or faster (RFC 4733, section 2.5.1.2); this is five of them, or a jitter buffer and two."""

_PAYLOAD = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class EventPayload:
    """Section 2.3. `duration`: timestamp units from the timestamp of the packet on."""

    event: int
    end: bool
    volume: int
    duration: int

    @classmethod
    def parse(cls, data: bytes) -> "EventPayload":
        """Only the first event of a payload is read. Raises `MalformedEvent`."""
        if len(data) < 4:
            raise MalformedEvent(f"{len(data)} octets are no telephone event")
        event, flags, duration = _PAYLOAD.unpack_from(data)
        return cls(event, flags >= 0x80, flags & 0x3F, duration)

    def encode(self) -> bytes:
        return _PAYLOAD.pack(self.event, (0x80 if self.end else 0) | self.volume & 0x3F, self.duration)


@dataclass(slots=True)
class _Press:
    """`timestamp`: of its present segment; `before`: units of the segments before it."""

    event: int
    timestamp: int
    start_s: float
    clock_rate: int
    last: float
    duration: int
    before: int = 0

    def report(self) -> DtmfEvent:
        duration_s = (self.before + self.duration) / self.clock_rate
        return DtmfEvent(DIGITS[self.event], self.start_s, duration_s)


class KeyPresses:
    """One stream's. `others`: events that are no keys, such as flash hook and modem tones, counted once each."""

    def __init__(self) -> None:
        self.others = 0
        self._press: _Press | None = None
        self._over: tuple[int, int] | None = None  # event and timestamp of the last one that is reported

    @property
    def timestamp(self) -> int | None:
        """Of the segment that is running or was the last one, by which the packets of one press are known."""
        return self._press.timestamp if self._press is not None else self._over[1] if self._over is not None else None

    def receive(
        self, payload: EventPayload, timestamp: int, start_s: float, clock_rate: int, *, marker: bool, now: float
    ) -> list[DtmfEvent]:
        """The presses that are over with this packet. `start_s`: leg time of `timestamp`."""
        event = payload.event
        if self._over == (event, timestamp):
            return []
        if event >= len(DIGITS):
            self.others += 1
            reports = self.finish()
            self._over = (event, timestamp)
            return reports
        press, reports = self._press, []
        if press is not None and press.event == event and self._continues(press, timestamp, marker):
            if timestamp != press.timestamp:
                press.before += step(press.timestamp, timestamp)
                press.timestamp, press.duration = timestamp, 0
        else:
            reports = self.finish()
            press = self._press = _Press(event, timestamp, start_s, clock_rate, now, 0)
        press.duration = payload.duration
        press.last = now
        return reports + self.finish() if payload.end else reports

    def next_timer(self) -> float | None:
        return None if self._press is None else self._press.last + TIMEOUT_S

    def handle_timer(self, now: float) -> list[DtmfEvent]:
        """The end packets of a press were lost: it lasted as long as its last packet said."""
        due = self.next_timer()
        return self.finish() if due is not None and now >= due else []

    def finish(self) -> list[DtmfEvent]:
        """Report the running press."""
        press, self._press = self._press, None
        if press is None:
            return []
        self._over = (press.event, press.timestamp)
        return [press.report()]

    @staticmethod
    def _continues(press: _Press, timestamp: int, marker: bool) -> bool:
        """The same press: an update, or the next segment of a long one, which begins where the duration field of the
        former was full and has no marker (section 2.5.1.3). Some senders wrongly move the timestamp along with the
        duration; theirs lies within the press."""
        ahead = step(press.timestamp, timestamp)
        within = 0x10000 if press.duration > 0x8000 else press.duration  # the last updates of a segment may be lost
        return ahead == 0 or (not marker and 0 < ahead <= within)
