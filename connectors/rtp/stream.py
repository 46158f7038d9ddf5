"""One leg's RTP stream: packets of its present source in, audio on the leg's time line and key presses out.

Chain: datagram -> [SRTP] -> source -> this: sequence -> jitter buffer -> media time -> events. Media time follows the
sender's timestamps, so the drift of its clock against ours moves nothing; ours only decides what timestamps to
believe, and places what has none to go by: the first packet, a new source, another clock rate.

The packet that is due, of an octet-wise codec, takes the in-order fast path (`in_order`) and is held nowhere. A stream
of such packets may enter a lane (`bulk`), where it is taken together with others until something else comes.
"""

from collections.abc import Sequence

from connectors.codecs import UnsupportedCodec, sample_rate_hz
from connectors.rtp.clock import TimestampClock
from connectors.rtp.dtmf import Beside, EventPayload, KeyPresses, is_key
from connectors.rtp.durations import BYTEWISE, duration
from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import Audio, DtmfEvent, Silence
from connectors.rtp.in_order import InOrderState
from connectors.rtp.jitter import JitterBuffer, Verdict
from connectors.rtp.packet import RtpPacket
from connectors.rtp.quality import RtpStats
from connectors.rtp.sequence import extend, first_extended, step
from connectors.sdp.rtp_codec import COMFORT_NOISE, TELEPHONE_EVENT, Codec

QUIET_AFTER_S = 0.2
"""Without a packet for so long the peer counts as silent. Comfort noise says so at once (RFC 3389)."""

QUIET_STEP_S, QUIET_STEPS = 0.1, 10
"""Silence that is then handed out, in real time, so that the last sentence can end; after it media time jumps."""

MAX_CONCEALED_S = 1.0
"""Longer losses are gaps in media time."""

AHEAD_S = 1.0
"""Timestamps that run ahead of the fastest packet so far by more are not believed."""

EXCESS_S = 10.0
"""Audio this far ahead of the clock is thrown away: somebody sends faster than real time."""

_SWITCH_S = 0.06
"""Where timestamps say nothing, a shorter pause than this is taken for jitter."""

_EARLY_S = 0.005  # a little beyond the fastest packet, so that a fast clock does not set a record with every packet

_CONTINUED = 50  # numbers that a peer may lose on the way from one address to another: a second

_UNAGREED = Codec(-1, TELEPHONE_EVENT, 8000)


class RtpStream:
    """`codecs`: what the peer may send. `stats`: is filled in. `started_at`: the time of pts 0; None: the first packet.

    `state`: where the stream stands; its `events` collect what comes out, in order. `waiting`: `next_timer` may have
    come nearer with the last packet.
    """

    def __init__(self, codecs: Sequence[Codec], stats: RtpStats, started_at: float | None = None) -> None:
        self.stats = stats
        self.state = InOrderState(stats)
        self.waiting = False
        self._started_at = started_at
        self._arrived = 0.0
        self._keys = KeyPresses()
        self._beside = Beside()
        self._buffer: JitterBuffer[tuple[RtpPacket, float]] = JitterBuffer()
        self._missing = 0
        self._clock = TimestampClock(1)
        self._clocks: dict[tuple[int, tuple[str, int, int]], int] = {}  # those learned, by payload type and codec
        self._doubt = 0  # pauses that arrival contradicts, handed out when the clock proves to be right
        self._paused = 0  # handed out since the clock is in doubt
        self._begun: float | None = None
        self._rested_at: float | None = None
        self._quiet_steps = 0
        self._filled = 0
        self._debt = 0  # silence handed out for packets that were only late; the next pauses are shorter by it
        self.update(codecs)

    def update(self, codecs: Sequence[Codec]) -> None:
        """Other payload types from here on; those we cannot decode stay unknown."""
        self._codecs = {codec.payload_type: codec for codec in codecs if _known(codec)}
        if self.state.codec != self._codecs.get(self.state.payload_type):
            self.state.payload_type, self.state.fast_path = -1, False

    def knows(self, payload_type: int) -> bool:
        """Whether it is one of those negotiated."""
        return payload_type in self._codecs

    def is_next(self, sequence: int) -> bool:
        """Whether a packet of this number goes on with the stream: the next one, or one a little behind it."""
        return (sequence - self.highest_sequence - 1) % 0x10000 < _CONTINUED

    @property
    def arrived(self) -> float:
        """When the newest packet of the source came."""
        return max(self._arrived, self.state.audio_at)

    @property
    def key_pressed(self) -> bool:
        """Whether a key press is not over yet."""
        return self._keys.next_timer() is not None

    @property
    def first_sequence(self) -> int:
        """Extended number of the present source's first packet."""
        return self._buffer.first

    @property
    def highest_sequence(self) -> int:
        """Extended number of its newest packet."""
        return self._buffer.highest if len(self._buffer) else self.state.next_sequence - 1

    def wait_s(self, now: float) -> float:
        """How long a gap is waited for at present."""
        return self._buffer.wait_s(now, self.state.jitter_s)

    def begin(self, ssrc: int, sequence: int, now: float) -> None:
        """Another source, or the same one anew: what waits of the former is handed out, then media time goes on."""
        self.finish(now)
        if self.state.ssrc is not None:
            self.stats.ssrc_changes += 1
        first = first_extended(sequence, None if self.state.ssrc is None else self.state.next_sequence)
        self.state.ssrc, self.state.next_sequence, self.state.next_timestamp, self._missing = ssrc, first, None, 0
        self._clocks.clear()
        self._clock = TimestampClock(self.state.rate)
        self._buffer.begin(first, now)
        self.state.fast_path = False

    def receive(self, packet: RtpPacket, now: float) -> bool:
        """Take any packet of the present source. False: its sequence number is out of reach, nothing has changed."""
        buffer, stats = self._buffer, self.stats
        self.state.in_a_row = 0
        if not len(buffer):
            buffer.skip(self.state.next_sequence)
        number = extend(packet.sequence, buffer.highest)
        if number is None:
            return False
        self._measure(packet, now)
        match buffer.push(number, (packet, now), now):
            case Verdict.ACCEPTED:
                stats.received += 1
            case Verdict.REORDERED:
                stats.received += 1
                stats.reordered += 1
            case Verdict.LATE:
                stats.late += 1
            case Verdict.DUPLICATE:
                stats.duplicate += 1
        self._arrived = now
        self._drain(now)
        return True

    def next_timer(self, now: float) -> float | None:
        """When `handle_timer` is due if nothing more comes."""
        times = [self._buffer.next_timer(now, self.state.jitter_s), self._keys.next_timer()]
        if times[0] is None and self._begun is not None and self._quiet_steps < QUIET_STEPS:
            times.append(self._quiet_from() + (self._quiet_steps + 1) * QUIET_STEP_S)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Give up what was waited for long enough; see that silence is heard where nothing is sent."""
        self._drain(now)
        self._report(self._keys.handle_timer(now, self._audio_rate))
        if self._begun is None or len(self._buffer):
            return
        due = min(int((now - self._quiet_from()) / QUIET_STEP_S + 1e-6), QUIET_STEPS)
        if due > self._quiet_steps:
            ticks = (due - self._quiet_steps) * int(QUIET_STEP_S * self.state.rate)
            pts = self._pts(self.state.position)
            self.state.position += ticks
            self.state.events.append(Silence(pts, self._pts(self.state.position) - pts, self.state.codec, now))
            self._filled += ticks
            self._quiet_steps = due
            self.state.fast_path = False

    def finish(self, now: float) -> None:
        """The source has ended: hand out what waits, gaps or not."""
        self._drain(now, flush=True)
        self._report(self._keys.finish(self._audio_rate))

    def _drain(self, now: float, *, flush: bool = False) -> None:
        buffer = self._buffer
        if len(buffer):
            jitter_s = self.state.jitter_s
            while (popped := buffer.pop(now, jitter_s, flush=flush)) is not None:
                (packet, arrival), missing = popped
                self._place(packet, arrival, missing)
            self.state.next_sequence = buffer.following
            self.stats.bursts = buffer.bursts
        self.stats.lost = buffer.lost
        self.waiting = len(buffer) > 0 or self._keys.next_timer() is not None or self._rested_at is not None
        codec = self.state.codec
        self.state.fast_path = (
            codec.name in BYTEWISE
            and not len(buffer)
            and not self._filled
            and not self._missing
            and self._rested_at is None
            and not self._doubt
            and not self._clock.doubted
            and not self._clock.other
        )

    def _measure(self, packet: RtpPacket, now: float) -> None:
        """RFC 3550, A.8, for every audio packet of the present clock, in the order of arrival."""
        if packet.payload_type != self.state.payload_type or self.state.next_timestamp is None:
            return
        ahead = self._clock.ticks(step(self.state.next_timestamp, packet.timestamp))
        transit = now * self.state.rate - self.state.media - ahead
        change = abs(transit - self.state.transit)
        if change > AHEAD_S * self.state.rate:  # a jump of the timestamps is no jitter
            return
        self.state.transit = transit
        self.state.jitter += (change - self.state.jitter) / 16

    def _place(self, packet: RtpPacket, arrival: float, missing: int) -> None:
        """A packet whose turn it is; `missing` were given up right before it."""
        codec = self._codecs.get(packet.payload_type)
        self._missing += missing
        if codec is None and is_key(packet.payload_type, packet.payload):
            self.stats.unagreed_events += 1
            self._press(packet, _UNAGREED, arrival)
        elif codec is None:
            self.stats.unknown_payload += 1
        elif codec.name == TELEPHONE_EVENT:
            self._press(packet, codec, arrival)
        elif codec.name == COMFORT_NOISE:
            self._missing = 0
            if self._rested_at is None and not self._filled:
                self._rested_at = arrival
        elif ticks := duration(codec, packet.payload):
            self._hear(packet, codec, ticks, arrival)

    def _hear(self, packet: RtpPacket, codec: Codec, ticks: int, arrival: float) -> None:
        if packet.payload_type != self.state.payload_type or codec is not self.state.codec:
            self._switch(codec)
        before = self.state.position
        lost = self._bridge(packet.timestamp, ticks, arrival)
        pts = self._pts(self.state.position)
        self.state.next_timestamp = (packet.timestamp + self._clock.units(ticks)) & 0xFFFFFFFF
        self.state.media += ticks
        self.state.ticks, self._missing = ticks, 0
        self._rested_at, self._filled, self._quiet_steps, self.state.audio_at = None, 0, 0, arrival
        if self._begun is None:
            self._begun = arrival - self.state.position / self.state.rate
        if self.state.position + ticks > (arrival - self._begun + EXCESS_S) * self.state.rate:
            self.stats.excess += 1
            self.state.position = before
            return
        self.state.position += ticks
        lost_before = pts - self._pts(self.state.position - ticks - lost)
        self.state.events.append(Audio(pts, packet.payload, codec, arrival, lost_before))

    def _bridge(self, timestamp: int, ticks: int, arrival: float) -> int:
        """Move the position to a packet's timestamp; returns how much of that way is loss to be concealed."""
        if self.state.next_timestamp is None:
            self._resume(ticks, arrival)
            return 0
        gap = self._gap(step(self.state.next_timestamp, timestamp), arrival)
        transit = arrival * self.state.rate - self.state.media - gap
        contradicted = 0
        if transit < self.state.earliest:
            if gap and transit < self.state.earliest - AHEAD_S * self.state.rate:
                self._resync(ticks, arrival)
                return 0
            contradicted = int(self.state.earliest - transit) + 1
            self.state.earliest = transit - (0 if self._clock.doubted else _EARLY_S * self.state.rate)
        if gap < 0:
            self._resync(ticks, arrival)
            return 0
        self.state.media += gap
        if self._doubt and not self._clock.doubted:
            self._rest(self._doubt)
            self._doubt = 0
        if gap == 0 and not self._filled:
            return 0
        needed = gap - self._filled
        if needed <= 0:
            self._debt -= needed
            return 0
        lost = min(needed, self._missing * self.state.ticks, int(MAX_CONCEALED_S * self.state.rate))
        pause = needed - lost
        if contradicted and self._clock.doubted:
            doubt = min(contradicted, pause)
            self._doubt += doubt
            pause -= doubt
        self.state.position += lost
        self._rest(pause)
        return lost

    def _rest(self, pause: int) -> None:
        """Move the position by a pause of the peer's, as far as it is not handed out yet."""
        absorbed = min(self._debt, pause)
        self._debt -= absorbed
        self._paused += pause - absorbed
        self.state.position += pause - absorbed

    def _gap(self, gap: int, arrival: float) -> int:
        """Between where the last packet ended and where this one begins, in units of the audio's clock. `gap`: of the
        timestamps'."""
        clock = self._clock
        if not gap and not clock.doubted and not clock.other:
            return 0
        moved = clock.units(self.state.ticks) + gap
        if clock.follow(moved, self.state.ticks, self._missing, self.state.audio_at, arrival):
            self.stats.clock_changes += 1
            self.stats.clock_hz = clock.rate if clock.other else 0
            self._clocks[self.state.payload_type, self.state.codec.key] = clock.rate
            gap = moved - clock.units(self.state.ticks)
            self._debt += self._paused  # by a clock that was none
            self._doubt = 0
            self.state.media = int(arrival * self.state.rate - self.state.transit) - clock.ticks(gap)
            self.state.earliest = self.state.transit
        if not clock.doubted:
            self._paused = 0
        return clock.ticks(gap)

    def _resync(self, ticks: int, arrival: float) -> None:
        """Timestamps jumped: go on by the clock, and take the packet as neither early nor late."""
        self.stats.resyncs += 1
        self._resume(ticks, arrival)

    def _resume(self, ticks: int, arrival: float) -> None:
        """Place a packet by the time since the last one."""
        self._doubt = 0
        if self._begun is None:
            if self._started_at is not None:
                self.state.position = max(int((arrival - self._started_at) * self.state.rate), 0)
            self.state.transit = self.state.earliest = arrival * self.state.rate - self.state.media
            return
        pause = int((arrival - self.state.audio_at) * self.state.rate) - ticks
        if pause > _SWITCH_S * self.state.rate:
            self.state.position += max(pause - self._filled, 0)
        self.state.media = int(arrival * self.state.rate - self.state.transit)

    def _switch(self, codec: Codec) -> None:
        """Another payload type. With another clock its timestamps have another origin (RFC 7160)."""
        rate, old = codec.clock_rate, self.state.rate
        if self._begun is not None and codec.key != self.state.codec.key:
            self.stats.payload_changes += 1
        self.state.codec, self.state.payload_type, self.state.rate, self.state.output_rate = (
            codec,
            codec.payload_type,
            rate,
            _known(codec),
        )
        clock, self._clock = self._clock, TimestampClock(rate, self._clocks.get((codec.payload_type, codec.key)))
        if old != rate or clock.rate != self._clock.rate:
            self.state.next_timestamp = None
        if old != rate:
            self.state.position = self.state.position * rate // old
            self._filled, self._debt = self._filled * rate // old, self._debt * rate // old
            self.state.transit, self.state.jitter = self.state.transit * rate / old, self.state.jitter * rate / old
            self.state.earliest = self.state.earliest * rate / old

    def press_beside(self, packet: RtpPacket, now: float) -> bool:
        """A packet of the peer's under another SSRC than its audio: True where it is of a key. Such senders have
        sequence numbers and timestamps of their own for keys, and the stream goes on."""
        codec = self._codecs.get(packet.payload_type)
        if self._begun is None or codec is None or codec.name != TELEPHONE_EVENT:
            return False
        self.stats.events_beside += 1
        if self._beside.is_new(packet.ssrc, packet.sequence):
            self._press(packet, codec, now, beside=True)
        self.waiting = True
        return True

    def _press(self, packet: RtpPacket, codec: Codec, arrival: float, *, beside: bool = False) -> None:
        try:
            payload = EventPayload.parse(packet.payload)
        except MalformedEvent:
            self.stats.malformed_events += 1
            return
        self._report(
            self._keys.receive(
                payload,
                packet.timestamp,
                self._start_s(None if beside else packet.timestamp, payload.duration, codec, arrival),
                codec.clock_rate,
                marker=packet.marker,
                now=arrival,
                audio_rate=self._audio_rate,
            )
        )

    def _start_s(self, timestamp: int | None, duration: int, codec: Codec, arrival: float) -> float:
        """Leg time at which a key was pressed: by its timestamp where that counts as those of the audio do, and else so
        long before the packet came as it says (RFC 4733, section 2.3.5)."""
        start_s = (self.state.position - self._filled) / self.state.rate
        if self.state.next_timestamp is None:
            return max(
                self.state.position / self.state.rate - (0 if self._begun is None else duration / codec.clock_rate), 0.0
            )
        if timestamp is not None and codec.clock_rate == self._clock.rate:
            return max(start_s + step(self.state.next_timestamp, timestamp) / codec.clock_rate, 0.0)
        return max(start_s + max(arrival - self.state.audio_at, 0.0) - duration / codec.clock_rate, 0.0)

    def _report(self, presses: list[DtmfEvent]) -> None:
        self.stats.dtmf += len(presses)
        self.stats.other_events = self._keys.others
        self.state.events += presses

    @property
    def _audio_rate(self) -> int:
        """Timestamp units a second; 0 before there was audio."""
        return self._clock.rate if self._begun is not None else 0

    def _quiet_from(self) -> float:
        return self.state.audio_at + QUIET_AFTER_S if self._rested_at is None else self._rested_at

    def _pts(self, position: int) -> int:
        return position * self.state.output_rate // self.state.rate


def _known(codec: Codec) -> int:
    """The rate of the decoded audio; 1 for what accompanies audio, 0 for a codec that is none of ours."""
    if not codec.is_audio:
        return 1
    try:
        return sample_rate_hz(codec)
    except UnsupportedCodec:
        return 0
