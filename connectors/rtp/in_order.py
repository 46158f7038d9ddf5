"""Where one RTP stream stands, and the rule by which a packet in order moves it on: the in-order fast path.

Nearly every packet of a telephone call is the one that was due. What such a packet reads and changes is one object,
`InOrderState`. `stream.RtpStream` and `media_time.MediaTime` work on it; a lane (`bulk`) loads it into its row and
stores it back. The rule is carried out in two places: by `InOrderState.receive_next` for one packet, and by
`RtpLanes.take` for a packet of each of many streams. `tests/connectors/rtp/test_bulk.py` holds the two, and the slow
path, against each other.

| of a packet that is due | `receive_next` | `RtpLanes.take` |
|---|---|---|
| first octet | `PLAIN`: version 2 and nothing but the header | the same |
| payload type, SSRC | those of the newest audio | the same, and no marker |
| sequence number | lower 16 bits of `next_sequence` | the same |
| timestamp | `next_timestamp` | the same |
| payload | not empty | `LANE_TICKS` octets |
| transit, `now * rate - media` | `earliest` at least | the same |
| address | the peer's, compared by `RtpReceiver` | the peer's |

It moves the state on: `next_sequence` and the packets received by one; `next_timestamp`, `media` and `position` by the
ticks of its payload; `jitter` by a sixteenth towards the change of `transit` (RFC 3550, appendix A.8). What is not due
changes nothing and takes the slow path, `RtpStream.receive`.
"""

from dataclasses import dataclass, field

from connectors.rtp.events import Audio, RtpEvent
from connectors.rtp.packet import HEADER, HEADER_SIZE, PLAIN
from connectors.rtp.quality import RtpStats
from connectors.sdp.rtp_codec import RtpCodec

NO_CODEC = RtpCodec(-1, "", 1)
"""Before the first audio."""


@dataclass(slots=True)
class InOrderState:
    """What a packet in order reads and changes of a stream. Owned by `stream.RtpStream`; while the stream is in a lane
    (`bulk`), a row of the lane is ahead of it.

    `stats`, `events`: of the receiver; what comes out is appended. `fast_path`: the packet that is due may take
    `receive_next`. `in_a_row`: packets that took it since another one, or since a lane was last asked for.

    `codec`, `payload_type`: of the newest audio; its RTP clock has `rate` units a second, its decoded audio
    `output_rate` samples. `ssrc`: of the present source, None before the first packet. `next_sequence` (extended),
    `next_timestamp` (None: unknown): those that are due.

    In units of the RTP clock: `media`, the timestamps unwrapped; `position`, what was handed out since the leg began;
    `ticks`, how long the last packet was; `transit`, arrival minus media time, and `earliest`, its least; `jitter`
    (RFC 3550, appendix A.8). Where timestamps run at another clock than the payload type has, only `next_timestamp`
    does. `audio_at`: when the newest audio came.
    """

    stats: RtpStats
    events: list[RtpEvent] = field(default_factory=list)
    fast_path: bool = False
    in_a_row: int = 0
    codec: RtpCodec = NO_CODEC
    payload_type: int = -1
    rate: int = 1
    output_rate: int = 1
    ssrc: int | None = None
    next_sequence: int = 0
    next_timestamp: int | None = None
    media: int = 0
    position: int = 0
    ticks: int = 0
    transit: float = 0.0
    earliest: float = 0.0
    jitter: float = 0.0
    audio_at: float = 0.0

    def receive_next(self, data: bytes, now: float) -> bool:
        """Take a datagram if it is the one that is due; otherwise nothing has changed."""
        if not self.fast_path or len(data) <= HEADER_SIZE:
            return False
        flags, kind, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        if (
            sequence != self.next_sequence & 0xFFFF
            or timestamp != self.next_timestamp
            or ssrc != self.ssrc
            or kind & 0x7F != self.payload_type
            or flags != PLAIN
        ):
            return False
        media = self.media
        transit = now * self.rate - media
        if transit < self.earliest:
            return False
        change = transit - self.transit
        self.transit = transit
        self.jitter += ((change if change > 0 else -change) - self.jitter) * 0.0625
        payload = data[HEADER_SIZE:]
        ticks = self.ticks = len(payload)
        position = self.position
        self.next_sequence += 1
        self.next_timestamp = (timestamp + ticks) & 0xFFFFFFFF
        self.media = media + ticks
        self.position = position + ticks
        self.audio_at = now
        self.in_a_row += 1
        self.stats.received += 1
        self.events.append(Audio(position * self.output_rate // self.rate, payload, self.codec, now))
        return True

    @property
    def jitter_s(self) -> float:
        return self.jitter / self.rate
