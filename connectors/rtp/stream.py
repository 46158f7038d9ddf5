"""One leg's RTP stream: packets of its present source in, audio on the leg's time line and key presses out.

Chain: datagram -> [SRTP] -> source -> this: sequence -> jitter buffer -> media time -> events. A packet goes one of two
ways through it:

| way | which packets | what it passes |
|---|---|---|
| in-order fast path, `InOrderState.receive_next` | the one that is due, of a codec in `BYTEWISE` | nothing |
| slow path, `RtpStream.receive` | any of the present source | `sequence`, `jitter`, then by payload type |

By payload type: `media_time` places audio and comfort noise, `dtmf` reads telephone events.

The fast path is open (`fast_path`) when the slow path has nothing left to do: no packet waits, no silence, loss or
comfort noise lies before the next one, and timestamps run at the clock of the payload type. `_drain` decides it after
every packet of the slow path, and what disturbs the stream otherwise (silence, another source, other payload types)
closes it. Many streams on the fast path may be taken together, in lanes (`bulk`).

Invariants:

- A packet has the same effect on either way. On the fast path the jitter buffer is not asked; it is brought up to date
  (`JitterBuffer.skip`) before the next packet of the slow path.
- Every sequence number from the first to the highest is counted once (RFC 3550, appendices A.1 and A.3): as `received`,
  in time, or as `lost`, when its time was up. `late` and `duplicate` packets are dropped and count beside these two.
- Packets leave in the order of their numbers, whatever their order of arrival. The interarrival jitter alone is taken
  in the order of arrival (appendix A.8).

Example, in a running stream, with 11 overtaken by 12: 10 takes the fast path. 12 is not due: it goes to the buffer,
which waits for 11 (20 to 120 ms). 11 comes, is `reordered`, and both are placed. Nothing waits then, so 13 takes the
fast path again. Had 11 not come in time, 12 would have been placed with 11 `lost` before it, and 11 be `late`.
"""

from collections.abc import Sequence

from connectors.rtp.dtmf import EventPayload, SeparateEvents, TelephoneEvents, is_key
from connectors.rtp.durations import BYTEWISE, duration
from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import DtmfEvent
from connectors.rtp.in_order import InOrderState
from connectors.rtp.jitter import JitterBuffer, PacketStatus
from connectors.rtp.media_time import MediaTime, decoded_rate_hz
from connectors.rtp.packet import RtpPacket
from connectors.rtp.quality import RtpStats
from connectors.rtp.sequence import extend, first_extended
from connectors.sdp.rtp_codec import COMFORT_NOISE, TELEPHONE_EVENT, RtpCodec

_CONTINUED = 50  # numbers that a peer may lose on the way from one address to another: a second

_UNAGREED = RtpCodec(-1, TELEPHONE_EVENT, 8000)


class RtpStream:
    """`codecs`: what the peer may send. `stats`: is filled in. `started_at`: the time of pts 0; None: the first packet.

    `state`: where the stream stands; its `events` collect what comes out, in order. `waiting`: `next_timer` may have
    come nearer with the last packet.
    """

    def __init__(self, codecs: Sequence[RtpCodec], stats: RtpStats, started_at: float | None = None) -> None:
        self.stats = stats
        self.state = InOrderState(stats)
        self.waiting = False
        self._time = MediaTime(self.state, started_at)
        self._arrived = 0.0
        self._telephone_events = TelephoneEvents()
        self._separate = SeparateEvents()
        self._buffer: JitterBuffer[tuple[RtpPacket, float]] = JitterBuffer()
        self.update(codecs)

    def update(self, codecs: Sequence[RtpCodec]) -> None:
        """Other payload types from here on; those we cannot decode stay unknown."""
        state = self.state
        self._codecs = {codec.payload_type: codec for codec in codecs if decoded_rate_hz(codec)}
        if state.codec != self._codecs.get(state.payload_type):
            state.payload_type, state.fast_path = -1, False

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
        return self._telephone_events.next_timer() is not None

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
        state = self.state
        if state.ssrc is not None:
            self.stats.ssrc_changes += 1
        first = first_extended(sequence, None if state.ssrc is None else state.next_sequence)
        state.ssrc, state.next_sequence = ssrc, first
        self._time.begin_source()
        self._buffer.begin(first, now)
        state.fast_path = False

    def receive(self, packet: RtpPacket, now: float) -> bool:
        """Take any packet of the present source. False: its sequence number is out of reach, nothing has changed."""
        buffer, stats, state = self._buffer, self.stats, self.state
        state.in_a_row = 0
        if not len(buffer):
            buffer.skip(state.next_sequence)
        number = extend(packet.sequence, buffer.highest)
        if number is None:
            return False
        self._time.measure(packet, now)
        match buffer.push(number, (packet, now), now):
            case PacketStatus.ACCEPTED:
                stats.received += 1
            case PacketStatus.REORDERED:
                stats.received += 1
                stats.reordered += 1
            case PacketStatus.LATE:
                stats.late += 1
            case PacketStatus.DUPLICATE:
                stats.duplicate += 1
        self._arrived = now
        self._drain(now)
        return True

    def next_timer(self, now: float) -> float | None:
        """When `handle_timer` is due if nothing more comes."""
        times = [self._buffer.next_timer(now, self.state.jitter_s), self._telephone_events.next_timer()]
        if times[0] is None:
            times.append(self._time.next_silence())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Give up what was waited for long enough; hand out silence where nothing is sent."""
        self._drain(now)
        self._report(self._telephone_events.handle_timer(now, self._time.audio_rate))
        if not len(self._buffer):
            self._time.place_silence(now)

    def finish(self, now: float) -> None:
        """The source has ended: hand out what waits, gaps or not."""
        self._drain(now, flush=True)
        self._report(self._telephone_events.finish(self._time.audio_rate))

    def _drain(self, now: float, *, flush: bool = False) -> None:
        """Place every packet whose turn it is."""
        buffer, state, time = self._buffer, self.state, self._time
        if len(buffer):
            jitter_s = state.jitter_s
            while (popped := buffer.pop(now, jitter_s, flush=flush)) is not None:
                (packet, arrival), missing = popped
                self._place(packet, arrival, missing)
            state.next_sequence = buffer.following
            self.stats.bursts = buffer.bursts
        self.stats.lost = buffer.lost
        self.waiting = len(buffer) > 0 or self._telephone_events.next_timer() is not None or time.in_noise
        state.fast_path = state.codec.name in BYTEWISE and not len(buffer) and time.undisturbed

    def _place(self, packet: RtpPacket, arrival: float, missing: int) -> None:
        """A packet whose turn it is; `missing` were given up right before it."""
        codec = self._codecs.get(packet.payload_type)
        self._time.missing += missing
        if codec is None and is_key(packet.payload_type, packet.payload):
            self.stats.unagreed_events += 1
            self._press(packet, _UNAGREED, arrival)
        elif codec is None:
            self.stats.unknown_payload += 1
        elif codec.name == TELEPHONE_EVENT:
            self._press(packet, codec, arrival)
        elif codec.name == COMFORT_NOISE:
            self._time.place_noise(arrival)
        elif ticks := duration(codec, packet.payload):
            self._time.place(packet, codec, ticks, arrival)

    def receive_separate_event(self, packet: RtpPacket, now: float) -> bool:
        """A packet of the peer's under another SSRC than its audio: True where it is of a key. Such senders have
        sequence numbers and timestamps of their own for keys, and the stream goes on."""
        codec = self._codecs.get(packet.payload_type)
        if not self._time.begun or codec is None or codec.name != TELEPHONE_EVENT:
            return False
        self.stats.events_beside += 1
        if self._separate.is_new(packet.ssrc, packet.sequence):
            self._press(packet, codec, now, separate=True)
        self.waiting = True
        return True

    def _press(self, packet: RtpPacket, codec: RtpCodec, arrival: float, *, separate: bool = False) -> None:
        try:
            payload = EventPayload.parse(packet.payload)
        except MalformedEvent:
            self.stats.malformed_events += 1
            return
        timestamp = None if separate else packet.timestamp
        self._report(
            self._telephone_events.receive(
                payload,
                packet.timestamp,
                self._time.event_start_s(timestamp, payload.duration, codec, arrival),
                codec.clock_rate,
                marker=packet.marker,
                now=arrival,
                audio_rate=self._time.audio_rate,
            )
        )

    def _report(self, presses: list[DtmfEvent]) -> None:
        self.stats.dtmf += len(presses)
        self.stats.other_events = self._telephone_events.others
        self.state.events += presses
