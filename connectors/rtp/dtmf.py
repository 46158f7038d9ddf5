"""Key presses in telephone-event packets (RFC 4733, section 2.5).

A press is sent many times over: as updates while it lasts and, as a rule, in three end packets, all with the timestamp
of its beginning (section 2.5.1.2). It is reported once, when the first end packet comes, when another press begins, or
when nothing has come of it for `TIMEOUT_S`. Sits behind the jitter buffer, so packets come in order.

Senders and gateways on the way break the rule of the one timestamp both ways: it moves along with the duration or in
the repeated end packets, or it stays for the next press. What sets presses apart all the same is what no press can do:
one of the same key does not begin before the last one is over, its duration begins anew and not where the last one
ended, and nothing of a press but its end comes behind its end. The marker of the first packet says so, too, where it is
neither lost nor set on every packet.
"""

import struct
from dataclasses import dataclass

from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import DtmfEvent
from connectors.rtp.sequence import step

DIGITS = "0123456789*#ABCD"
TIMEOUT_S = 0.25
"""Updates come every 50 ms or faster (RFC 4733, section 2.5.1.2); this is five of them, or a jitter buffer and two."""

UPDATE_S = 0.05
"""Between two packets of a press at most; a shorter pause between two presses no receiver of tones accepts, either."""

_REPEAT_S = (
    0.1  # end packets of the same length this close behind each other are of one press, whatever their timestamp
)
_DYNAMIC = 96
_SEGMENT = 0x10000
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


def is_key(payload_type: int, payload: bytes) -> bool:
    """Whether a payload of a type that nobody has agreed on is a key all the same: a dynamic type, as long as an event,
    with the reserved bit clear. No audio codec has packets like that."""
    return (
        payload_type >= _DYNAMIC
        and len(payload) == _PAYLOAD.size
        and payload[0] < len(DIGITS)
        and payload[1] & 0x40 == 0
    )


class SeparateEvents:
    """Telephone events under an SSRC of their own, with sequence numbers of their own."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def is_new(self, ssrc: int, sequence: int) -> bool:
        """False for a packet that came again or was overtaken: the later ones say all that it does."""
        last = self._last
        if last is not None and last[0] == ssrc and not 0 < (sequence - last[1]) % 0x10000 < 0x8000:
            return False
        self._last = ssrc, sequence
        return True


@dataclass(slots=True)
class _Press:
    """`timestamp`, `duration`: of its last packet, in units of `clock_rate`; `before`: units of the segments before it;
    `last`: when that packet came; `ended`: by an end packet. `grows`: a later packet had a longer duration, so
    durations count from the beginning, wherever timestamps go. `first`, `begun`: duration and time of the first packet;
    `grown_at`: when the present duration came first.
    """

    event: int
    timestamp: int
    start_s: float
    clock_rate: int
    last: float
    duration: int
    before: int = 0
    ended: bool = False
    grows: bool = False
    first: int = 0
    begun: float = 0.0
    grown_at: float = 0.0

    def report(self, other_rate: int) -> DtmfEvent:
        """`other_rate`: of the audio. Some count durations by that and not by the event's own: it is believed where
        they grew at a pace that is nearer to it."""
        total = self.before + self.duration
        rate, elapsed_s = self.clock_rate, self.grown_at - self.begun
        if other_rate and elapsed_s >= 2 * UPDATE_S:
            pace = (total - self.first) / elapsed_s
            if (pace * pace > rate * other_rate) is (other_rate > rate):
                rate = other_rate
        return DtmfEvent(DIGITS[self.event], self.start_s, total / rate)


class TelephoneEvents:
    """One stream's. `others`: events that are no keys, such as flash hook and modem tones, counted once each."""

    def __init__(self) -> None:
        self.others = 0
        self._press: _Press | None = None
        self._over: _Press | None = None  # the last one that is reported

    def receive(
        self,
        payload: EventPayload,
        timestamp: int,
        start_s: float,
        clock_rate: int,
        *,
        marker: bool,
        now: float,
        audio_rate: int = 0,
    ) -> list[DtmfEvent]:
        """The presses that are over with this packet. `start_s`: leg time of `timestamp`; `audio_rate`: timestamp units
        a second of the audio beside them, 0 where it is not known."""
        press, reports = self._press, []
        if press is None and self._over is not None and self._is_repeated(self._over, payload, timestamp, marker, now):
            return []
        if press is not None and press.event == payload.event and _continues(press, payload, timestamp, marker):
            _go_on(press, payload, timestamp, now)
        else:
            reports = self.finish(audio_rate)
            press = _Press(payload.event, timestamp, start_s, clock_rate, now, payload.duration)
            press.first, press.begun, press.grown_at = payload.duration, now, now
            self._press = press
        press.last = now
        if not payload.end:
            return reports
        press.ended = True
        return reports + self.finish(audio_rate)

    def next_timer(self) -> float | None:
        return None if self._press is None else self._press.last + TIMEOUT_S

    def handle_timer(self, now: float, audio_rate: int = 0) -> list[DtmfEvent]:
        """The end packets of a press were lost: it lasted as long as its last packet said."""
        due = self.next_timer()
        return self.finish(audio_rate) if due is not None and now >= due else []

    def finish(self, audio_rate: int = 0) -> list[DtmfEvent]:
        """Report the running press."""
        press, self._press = self._press, None
        if press is None:
            return []
        self._over = press
        if press.event >= len(DIGITS):
            self.others += 1
            return []
        return [press.report(audio_rate)]

    @staticmethod
    def _is_repeated(over: _Press, payload: EventPayload, timestamp: int, marker: bool, now: float) -> bool:
        """A packet of the press that is reported already, which the next one differs from by what is new with it."""
        if payload.event != over.event:
            return False
        ahead, grown = step(over.timestamp, timestamp), payload.duration - over.duration
        if not payload.end and over.ended:
            repeated = _is_next_segment(over, payload, ahead, marker) or (not ahead and not marker and grown >= 0)
        elif not ahead:
            repeated = grown >= 0 or (payload.end and not marker) or _is_next_segment(over, payload, ahead, marker)
        elif not payload.end:  # reported for want of packets, and it goes on after all
            repeated = _continues(over, payload, timestamp, marker)
        else:
            repeated = _is_end_again(over, grown, ahead, marker, now)
        if repeated:
            over.timestamp, over.duration, over.last = timestamp, payload.duration, now
            over.ended = over.ended or payload.end
        return repeated


def _is_end_again(over: _Press, grown: int, ahead: int, marker: bool, now: float) -> bool:
    """An end packet with another timestamp: of the same press if it has the same length right behind the last one, or
    a length that has grown by what the timestamp has moved, and does not lie beyond the press."""
    quiet_s, update = now - over.last, int(UPDATE_S * over.clock_rate)
    if quiet_s > TIMEOUT_S:
        return False
    if not over.ended:
        return not marker and grown >= 0 and ahead <= over.duration + grown + update
    if not grown and (not marker or ahead <= over.duration) and quiet_s <= _REPEAT_S:
        return True
    return (
        0 <= grown <= max(ahead, 0) + update and ahead <= max(over.duration, update) and (not marker or ahead <= grown)
    )


def _is_next_segment(press: _Press, payload: EventPayload, ahead: int, marker: bool) -> bool:
    """The next segment of a long press begins where the duration field of the former was full and has no marker
    (section 2.5.1.3). The last updates of a segment may be lost. Some do not move the timestamp: the field wraps."""
    full = press.duration > _SEGMENT // 2 and payload.duration < press.duration
    return full and not marker and (not ahead or 0 < ahead <= _SEGMENT)


def _continues(press: _Press, payload: EventPayload, timestamp: int, marker: bool) -> bool:
    """The same press: an update, the next segment of a long one, or a packet whose timestamp wrongly moves and still
    lies within the press."""
    ahead, grown = step(press.timestamp, timestamp), payload.duration - press.duration
    if not ahead:
        return not (marker and grown < 0 and not payload.end)
    if marker:  # of the next press, which begins anew and later; or set on every packet of this one
        return grown >= 0 and 0 < ahead <= max(grown, press.duration, int(UPDATE_S * press.clock_rate))
    if ahead < 0:
        return ahead > -_SEGMENT and grown >= 0
    if _is_next_segment(press, payload, ahead, marker) or ahead <= press.duration:
        return True
    return grown >= 0 and ahead <= payload.duration + (int(UPDATE_S * press.clock_rate) if payload.end else 0)


def _go_on(press: _Press, payload: EventPayload, timestamp: int, now: float) -> None:
    """What another packet of the press says about its length."""
    ahead, grown = step(press.timestamp, timestamp), payload.duration - press.duration
    if _is_next_segment(press, payload, ahead, marker=False):
        press.before += ahead or _SEGMENT
    elif grown > 0:
        press.grows = True
    elif ahead > 0 and not press.grows and (press.before or not payload.end):  # each packet has a piece of its own
        press.before += ahead
    else:
        press.timestamp = timestamp
        return
    press.timestamp, press.duration, press.grown_at = timestamp, payload.duration, now
