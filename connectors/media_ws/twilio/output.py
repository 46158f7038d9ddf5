"""What comes out of a Twilio stream: its events, its counters and its state.

Behind the reordering window (`ordering`): messages come here one by one in the order of their sequence numbers, and
audio is placed in media time (`tracks`). Parser, state machine and window note here what they count. The first of what
is counted is reported (`Anomaly`).
"""

from enum import StrEnum

import numpy as np

from connectors.errors import RemoteProtocolError
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import Anomaly, DtmfReceived, MarkReceived, MediaEvent, StreamStats, StreamStopped
from connectors.media_ws.track import Track
from connectors.media_ws.tracks import Tracks
from connectors.media_ws.twilio import messages as wire

MULAW_ZERO = 0xFF

NO_TIME = -1
"""In the place of a timestamp that a message does not have."""


class StreamState(StrEnum):
    OPENING = "before connected"
    CONNECTED = "before start"
    STREAMING = "after start"
    ENDED = "after the end"


class StreamOutput:
    """`state`: of the stream; a `stop` ends it when its turn has come, all else is for the table of `stream`.
    `counted`: the message at hand has been counted as irregular. `tracks` has the tracks of a running stream, none
    before its start. `events`: what the driver has not taken yet."""

    def __init__(self, limits: MediaLimits) -> None:
        self.state = StreamState.OPENING
        self.stats = StreamStats()
        self.tracks = Tracks(wire.SAMPLE_RATE_HZ, MULAW_ZERO, self.stats.tracks)
        self.events: list[MediaEvent] = []
        self.counted = False
        self._noted = False
        self._max_malformed = limits.max_malformed

    def take_events(self) -> list[MediaEvent]:
        events, self.events = self.events, []
        return events

    # -- messages in order

    def place(self, message: wire.MediaMessage, media_ms: int, arrival: float, missing: int) -> None:
        """Audio. `missing`: sequence numbers given up so far."""
        media = message.media
        codes = np.frombuffer(media.payload, np.uint8)
        if media_ms == NO_TIME:
            media_ms = max(self.tracks.clock_ms(media.track), 0)
        audio, plausible = self.tracks.place(media.track, media_ms, codes, arrival, missing)
        if not plausible:
            self.implausible("timestamp")
        self.events += audio

    def hand_out(self, message: wire.DtmfMessage | wire.MarkMessage | wire.StopMessage) -> None:
        """All that is no audio."""
        if isinstance(message, wire.DtmfMessage):
            track = track_of(message)
            self.events.append(DtmfReceived(track, message.dtmf.digit, self.tracks.position_s(track)))
        elif isinstance(message, wire.MarkMessage):
            self.events.append(MarkReceived(message.mark.name))
        else:
            self.events.append(StreamStopped())
            self.state = StreamState.ENDED

    def begin_anew(self) -> None:
        """The peer counts anew, its timestamps perhaps as well."""
        self.tracks.begin_anew()
        self.stats.restarts += 1
        self.note("the peer counts anew")

    # -- what is counted

    def malformed(self, detail: str) -> None:
        """Raises `RemoteProtocolError` where it is one too many."""
        self.stats.malformed += 1
        self.note(f"malformed {detail}")
        if self.stats.malformed > self._max_malformed:
            raise RemoteProtocolError(1008, "too many malformed messages")

    def irregular(self, detail: str) -> None:
        """Once a message."""
        self.stats.irregular += not self.counted
        self.counted = True
        self.note(detail)

    def implausible(self, what: str) -> None:
        self.stats.implausible += 1
        self.note(f"{what} too far ahead")

    def note(self, detail: str) -> None:
        if not self._noted:
            self._noted = True
            self.events.append(Anomaly(detail))


def track_of(message: wire.DtmfMessage) -> Track:
    """The track of a key."""
    return Track(message.dtmf.track.removesuffix("_track"))
