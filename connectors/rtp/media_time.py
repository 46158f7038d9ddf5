"""Media time: where the audio and the silence of one RTP stream lie on the time line of its leg.

A packet says by its timestamp when its audio was taken, in units of the sender's clock (RFC 3550, section 5.1). Media
time follows the timestamps and not the arrival of packets. So neither the delay of the network nor the drift of the
sender's clock against ours moves anything, and a pause is as long as the sender says. Our clock does two things: it
decides which timestamps are believed, and it places what has none to go by, which are the first packet, one of a new
source and one at another clock rate (RFC 7160).

Two numbers of `InOrderState` are the state of it, both in units of the payload type's RTP clock. `position` is what was
handed out since the leg began: the place of what comes next. `media` is the time by the timestamps, unwrapped. With it
goes `transit`, arrival minus `media`: the relative transit time of RFC 3550, section 6.4.1, a network delay plus a
constant. `earliest`, its least value, is that of the fastest packet. A timestamp that makes a packet faster still is
wrong, or all packets before it were late.

What lies between two packets is read from `gap`, the timestamp minus the one that was due:

| gap | transit | taken for |
|---|---|---|
| 0 | any | nothing: the audio goes on |
| > 0 | not below `earliest` | loss, then a pause |
| > 0 | below it, by `AHEAD_S` at most | loss, then a pause; this packet is the fastest now |
| > 0 | below it by more | a jump of the timestamps: placed by arrival, counted in `resyncs` |
| < 0 | any | a jump, as audio cannot overlap: placed by arrival, counted in `resyncs` |
| unknown | any | placed by arrival |

Loss is as long as the packets that the sequence numbers miss, `MAX_CONCEALED_S` at most, and is concealed; what remains
of the gap is the pause. In the third row, while the clock of the timestamps is in doubt (`clock`), so much of the pause
is held back as arrival contradicts (`_doubt`).

Silence. Recognition ends a sentence by the silence after it, so it cannot wait for the packet that ends the pause.
`SILENT_AFTER_S` after the last packet, or from comfort noise on, `place_silence` hands silence out in real time, for a
second at most. The next packet's gap is shorter by it (`_filled`). Where that packet had only been late, too much was
handed out: the excess is `_debt`, and the next pauses are shorter by it.

Invariants. What is handed out never overlaps: within one clock `position` only grows. And as long as timestamps are
believed, `position - media - _debt + _doubt` is the same after every packet of audio: nothing handed out is
forgotten, nothing counted twice. A placement by arrival, another clock and audio thrown away (`EXCESS_S`) set it anew.

Example: G.711, 160 units a packet, number 12 given up, half a second of pause before 14:

    number  timestamp   gap   what comes out
      10       1000       -   Audio at 0
      11       1160       0   Audio at 160
      13       1480     160   Audio at 480, 160 samples lost before it
      14       5640    4000   Silence at 640, 1440 and 2240 while nothing comes, 800 samples each; Audio at 4640

`clock` says what a step of the timestamps is worth; `stream` says whose turn it is.
"""

from connectors.codecs import UnsupportedCodec, sample_rate_hz
from connectors.rtp.clock import TimestampClock
from connectors.rtp.events import Audio, Silence
from connectors.rtp.in_order import InOrderState
from connectors.rtp.packet import RtpPacket
from connectors.rtp.sequence import step
from connectors.sdp.rtp_codec import RtpCodec

SILENT_AFTER_S = 0.2
"""Without a packet for so long the peer counts as silent. Comfort noise says so at once (RFC 3389)."""

SILENCE_STEP_S, SILENCE_STEPS = 0.1, 10
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


class MediaTime:
    """Places one stream's audio and silence. `state`: of the stream; its `events` get what is placed. `started_at`: the
    time of pts 0; None: that of the first audio.

    `missing`: packets given up since the last audio; whoever releases packets adds to it.
    """

    def __init__(self, state: InOrderState, started_at: float | None = None) -> None:
        self.missing = 0
        self._state = state
        self._started_at = started_at
        self._begun: float | None = None  # the time of pts 0, once there was audio
        self._clock = TimestampClock(1)
        self._clocks: dict[tuple[int, tuple[str, int, int]], int] = {}  # those learned, by payload type and codec
        # All in units of the RTP clock:
        self._filled = 0  # silence handed out since the last audio
        self._debt = 0  # silence handed out for packets that were only late; the next pauses are shorter by it
        self._doubt = 0  # pauses that arrival contradicts, handed out when the clock proves to be right
        self._paused = 0  # pauses handed out since the clock is in doubt
        self._noise_since: float | None = None  # comfort noise and nothing else since
        self._silence_steps = 0

    @property
    def undisturbed(self) -> bool:
        """The next packet, if it is the one that is due, follows the last one without anything between them, and its
        timestamp runs at the clock of its payload type."""
        return (
            not self._filled
            and not self.missing
            and self._noise_since is None
            and not self._doubt
            and not self._clock.doubted
            and not self._clock.other
        )

    @property
    def in_noise(self) -> bool:
        """The newest packet was comfort noise."""
        return self._noise_since is not None

    @property
    def audio_rate(self) -> int:
        """Timestamp units a second; 0 before there was audio."""
        return self._clock.rate if self._begun is not None else 0

    def begin_source(self) -> None:
        """Another source: its timestamps have another origin, and maybe another clock."""
        self._state.next_timestamp, self.missing = None, 0
        self._clocks.clear()
        self._clock = TimestampClock(self._state.rate)

    def measure(self, packet: RtpPacket, now: float) -> None:
        """The interarrival jitter of RFC 3550, appendix A.8: call it with every packet, in the order of arrival. Audio
        of the present payload type counts."""
        state = self._state
        if packet.payload_type != state.payload_type or state.next_timestamp is None:
            return
        ahead = self._clock.ticks(step(state.next_timestamp, packet.timestamp))
        transit = now * state.rate - state.media - ahead
        change = abs(transit - state.transit)
        if change > AHEAD_S * state.rate:  # a jump of the timestamps is no jitter
            return
        state.transit = transit
        state.jitter += (change - state.jitter) / 16

    def place(self, packet: RtpPacket, codec: RtpCodec, ticks: int, arrival: float) -> None:
        """A packet of `ticks` units of audio whose turn it is."""
        state = self._state
        if packet.payload_type != state.payload_type or codec is not state.codec:
            self._switch(codec)
        before = state.position
        lost = self._bridge(packet.timestamp, ticks, arrival)
        pts = self._pts(state.position)
        state.next_timestamp = (packet.timestamp + self._clock.units(ticks)) & 0xFFFFFFFF
        state.media += ticks
        state.ticks, state.audio_at = ticks, arrival
        self.missing, self._noise_since, self._filled, self._silence_steps = 0, None, 0, 0
        if self._begun is None:
            self._begun = arrival - state.position / state.rate
        if state.position + ticks > (arrival - self._begun + EXCESS_S) * state.rate:
            state.stats.excess += 1
            state.position = before
            return
        state.position += ticks
        lost_before = pts - self._pts(state.position - ticks - lost)
        state.events.append(Audio(pts, packet.payload, codec, arrival, lost_before))

    def place_noise(self, arrival: float) -> None:
        """A packet of comfort noise whose turn it is: the peer is silent from here on (RFC 3389)."""
        self.missing = 0
        if self._noise_since is None and not self._filled:
            self._noise_since = arrival

    def next_silence(self) -> float | None:
        """When `place_silence` has something to hand out if nothing more comes."""
        if self._begun is None or self._silence_steps >= SILENCE_STEPS:
            return None
        return self._silent_from() + (self._silence_steps + 1) * SILENCE_STEP_S

    def place_silence(self, now: float) -> None:
        """Hand out the silence that is due where nothing is sent. Nothing may wait for its turn."""
        if self._begun is None:
            return
        state = self._state
        due = min(int((now - self._silent_from()) / SILENCE_STEP_S + 1e-6), SILENCE_STEPS)
        if due > self._silence_steps:
            ticks = (due - self._silence_steps) * int(SILENCE_STEP_S * state.rate)
            pts = self._pts(state.position)
            state.position += ticks
            state.events.append(Silence(pts, self._pts(state.position) - pts, state.codec, now))
            self._filled += ticks
            self._silence_steps = due
            state.fast_path = False

    def event_start_s(self, timestamp: int | None, duration: int, codec: RtpCodec, arrival: float) -> float:
        """Leg time at which a telephone event began: by its timestamp where that counts as those of the audio do, and
        else so long before the packet came as it says (RFC 4733, section 2.3.5). `timestamp`: None where it is of
        another source."""
        state = self._state
        start_s = (state.position - self._filled) / state.rate
        if state.next_timestamp is None:
            return max(state.position / state.rate - (0 if self._begun is None else duration / codec.clock_rate), 0.0)
        if timestamp is not None and codec.clock_rate == self._clock.rate:
            return max(start_s + step(state.next_timestamp, timestamp) / codec.clock_rate, 0.0)
        return max(start_s + max(arrival - state.audio_at, 0.0) - duration / codec.clock_rate, 0.0)

    @property
    def begun(self) -> bool:
        """There was audio."""
        return self._begun is not None

    def _bridge(self, timestamp: int, ticks: int, arrival: float) -> int:
        """Move the position to a packet's timestamp; returns how much of that way is loss to be concealed."""
        state = self._state
        if state.next_timestamp is None:
            self._place_by_arrival(ticks, arrival)
            return 0
        gap = self._gap(step(state.next_timestamp, timestamp), arrival)
        transit = arrival * state.rate - state.media - gap
        contradicted = 0
        if transit < state.earliest:
            if gap and transit < state.earliest - AHEAD_S * state.rate:
                self._resync(ticks, arrival)
                return 0
            contradicted = int(state.earliest - transit) + 1
            state.earliest = transit - (0 if self._clock.doubted else _EARLY_S * state.rate)
        if gap < 0:
            self._resync(ticks, arrival)
            return 0
        state.media += gap
        if self._doubt and not self._clock.doubted:
            self._pause(self._doubt)
            self._doubt = 0
        if gap == 0 and not self._filled:
            return 0
        needed = gap - self._filled
        if needed <= 0:
            self._debt -= needed
            return 0
        lost = min(needed, self.missing * state.ticks, int(MAX_CONCEALED_S * state.rate))
        pause = needed - lost
        if contradicted and self._clock.doubted:
            doubt = min(contradicted, pause)
            self._doubt += doubt
            pause -= doubt
        state.position += lost
        self._pause(pause)
        return lost

    def _pause(self, pause: int) -> None:
        """Move the position by a pause of the peer's, as far as it is not handed out yet."""
        absorbed = min(self._debt, pause)
        self._debt -= absorbed
        self._paused += pause - absorbed
        self._state.position += pause - absorbed

    def _gap(self, gap: int, arrival: float) -> int:
        """Between where the last packet ended and where this one begins, in units of the audio's clock. `gap`: of the
        timestamps'."""
        clock, state = self._clock, self._state
        if not gap and not clock.doubted and not clock.other:
            return 0
        moved = clock.units(state.ticks) + gap
        if clock.observe(moved, state.ticks, self.missing, state.audio_at, arrival):
            state.stats.clock_changes += 1
            state.stats.clock_hz = clock.rate if clock.other else 0
            self._clocks[state.payload_type, state.codec.key] = clock.rate
            gap = moved - clock.units(state.ticks)
            self._debt += self._paused  # by a clock that was none
            self._doubt = 0
            state.media = int(arrival * state.rate - state.transit) - clock.ticks(gap)
            state.earliest = state.transit
        if not clock.doubted:
            self._paused = 0
        return clock.ticks(gap)

    def _resync(self, ticks: int, arrival: float) -> None:
        """Timestamps jumped: go on by the clock, and take the packet as neither early nor late."""
        self._state.stats.resyncs += 1
        self._place_by_arrival(ticks, arrival)

    def _place_by_arrival(self, ticks: int, arrival: float) -> None:
        """Move the position by the time since the last audio."""
        state = self._state
        self._doubt = 0
        if self._begun is None:
            if self._started_at is not None:
                state.position = max(int((arrival - self._started_at) * state.rate), 0)
            state.transit = state.earliest = arrival * state.rate - state.media
            return
        pause = int((arrival - state.audio_at) * state.rate) - ticks
        if pause > _SWITCH_S * state.rate:
            state.position += max(pause - self._filled, 0)
        state.media = int(arrival * state.rate - state.transit)

    def _switch(self, codec: RtpCodec) -> None:
        """Another payload type. With another clock its timestamps have another origin (RFC 7160)."""
        state = self._state
        rate, old = codec.clock_rate, state.rate
        if self._begun is not None and codec.key != state.codec.key:
            state.stats.payload_changes += 1
        state.codec, state.payload_type = codec, codec.payload_type
        state.rate, state.output_rate = rate, decoded_rate_hz(codec)
        clock, self._clock = self._clock, TimestampClock(rate, self._clocks.get((codec.payload_type, codec.key)))
        if old != rate or clock.rate != self._clock.rate:
            state.next_timestamp = None
        if old != rate:
            state.position = state.position * rate // old
            self._filled, self._debt = self._filled * rate // old, self._debt * rate // old
            state.transit, state.jitter = state.transit * rate / old, state.jitter * rate / old
            state.earliest = state.earliest * rate / old

    def _silent_from(self) -> float:
        return self._state.audio_at + SILENT_AFTER_S if self._noise_since is None else self._noise_since

    def _pts(self, position: int) -> int:
        return position * self._state.output_rate // self._state.rate


def decoded_rate_hz(codec: RtpCodec) -> int:
    """The rate of the decoded audio; 1 for what accompanies audio, 0 for a codec that is none of ours."""
    if not codec.is_audio:
        return 1
    try:
        return sample_rate_hz(codec)
    except UnsupportedCodec:
        return 0
