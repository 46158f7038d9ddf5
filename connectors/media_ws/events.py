"""What every WebSocket media dialect reports to the driver, and the boundary between the two.

A dialect is a class without I/O: messages and the time go in, events come out. The driver owns the socket and the
clock and turns events into calls and legs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.media_ws.foreseen import Foreseen
from connectors.media_ws.track import Track


class MediaEncoding(StrEnum):
    """Name of a payload format as the media type registry has it, in lower case."""

    PCMU = "pcmu"


@dataclass(frozen=True, slots=True)
class MediaFormat:
    encoding: MediaEncoding
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """Always the first event of a stream, and only once. `parameters`: what the user put into the call's markup."""

    call_sid: str
    stream_sid: str
    account_sid: str
    tracks: tuple[Track, ...]
    parameters: Mapping[str, str]
    media_format: MediaFormat


@dataclass(frozen=True, slots=True)
class TrackAdded:
    """The stream has a track that its start did not announce; before the first audio and the first key of it."""

    track: Track


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Contiguous audio of one track: `pts` is the previous event's `pts + len(codes)`, 0 for the first one.

    `pts`: samples since the stream began. `codes`: uint8 (T,), G.711 codes, read-only. `filled`: silence in the place
    of audio that never came. `arrival`: the `now` at which its message came in, in seconds.
    """

    track: Track
    pts: int
    codes: NDArray[np.uint8]
    arrival: float
    filled: bool = False


class MediaPacket(NamedTuple):
    """Audio of one track as it came, right behind what was handed out before it. A tuple because one is made for each
    message of each leg."""

    track: Track
    pts: int
    codes: bytes


@dataclass(frozen=True, slots=True)
class DtmfReceived:
    """A key press; `at_s` is media time of the track."""

    track: Track
    digit: str
    at_s: float


@dataclass(frozen=True, slots=True)
class MarkReceived:
    """The peer has played everything that was sent to it before the mark of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """The first thing of this stream that was counted and ignored; later ones only raise the counters."""

    detail: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer ended the stream in order; the last event."""


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """The peer broke the protocol; the last event. The socket is to be closed with this code and reason."""

    close_code: int
    reason: str


MediaEvent = (
    StreamStarted | TrackAdded | AudioReceived | DtmfReceived | MarkReceived | Anomaly | StreamStopped | ProtocolError
)


@dataclass(slots=True)
class TrackStats:
    """`packets` were delivered. `lost` never came in time and are silence now; a `late` one among them came after that.
    `duplicates` were dropped. `filled_samples` are silence put in, for lost packets and where the peer sent nothing."""

    packets: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    reordered: int = 0
    filled_samples: int = 0


@dataclass(slots=True)
class StreamStats:
    """Counters of one stream. `malformed` messages were dropped; `irregular` ones are not as the protocol has them and
    were taken, or lacked nothing that is needed. `implausible`: sequence numbers or timestamps too far off to be
    believed. `restarts`: the peer began to count anew."""

    messages: int = 0
    unknown_events: int = 0
    malformed: int = 0
    irregular: int = 0
    implausible: int = 0
    restarts: int = 0
    after_end: int = 0
    tracks: dict[Track, TrackStats] = field(default_factory=dict)


class MediaDialect(Protocol):
    """A protocol core. `str` is a text message, `bytes` a binary one; `now` is a monotonic clock in seconds. `play`,
    `mark` and `clear` make messages to the peer; they raise `LocalProtocolError` outside a running stream."""

    @property
    def stats(self) -> StreamStats: ...

    def receive(self, data: str | bytes, now: float) -> list[MediaEvent]: ...

    def receive_next(self, data: bytes | bytearray, now: float) -> MediaPacket | None:
        """Take a text message if it is just the audio that was due; None: it is not, and nothing has changed."""

    def foresee(self) -> "list[Foreseen]":
        """The next message of each track, in the order of their turns; empty where that cannot be said."""

    def passed_by(self, taken: Mapping[Track, int]) -> None:
        """So many messages of each track were as foreseen and did not come here."""

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, or None."""

    def handle_timer(self, now: float) -> list[MediaEvent]: ...

    def connection_lost(self, now: float) -> list[MediaEvent]:
        """The socket is gone: what was still held for reordering comes out. The stream is over."""

    def play(self, codes: bytes) -> str:
        """Plays audio to who is on the inbound track."""

    def mark(self, name: str) -> str:
        """Comes back as `MarkReceived` when all before it was played."""

    def clear(self) -> str:
        """Throws away what was not played yet."""
