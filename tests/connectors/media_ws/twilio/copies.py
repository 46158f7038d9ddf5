"""Messages as servers and bots that copy Twilio's protocol send them, and what a stream of them comes to."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import Anomaly, AudioReceived, MediaEvent, ProtocolError, StreamStarted
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.stream import TwilioStream
from tests.connectors.media_ws.twilio import twilio_side as twilio

IN, OUT = Track.INBOUND, Track.OUTBOUND


class Received:
    """What a stream of these messages, 10 ms apart, comes to."""

    def __init__(self, messages: Sequence[str | dict[str, Any]], limits: MediaLimits | None = None) -> None:
        self.core = TwilioStream(limits)
        self.events: list[MediaEvent] = []
        for index, message in enumerate(messages):
            now = index * 0.01
            while (timer := self.core.next_timer()) is not None and timer <= now:
                self.events += self.core.handle_timer(timer)
            self.events += self.core.receive(message if isinstance(message, str) else json.dumps(message), now)
        self.events += self.core.connection_lost(len(messages) * 0.01)
        self.stats = self.core.stats

    @property
    def started(self) -> StreamStarted:
        (event,) = [event for event in self.events if isinstance(event, StreamStarted)]
        assert self.events[0] is event
        return event

    @property
    def notes(self) -> list[str]:
        return [event.detail for event in self.events if isinstance(event, Anomaly)]

    @property
    def refusals(self) -> list[tuple[int, str]]:
        return [(event.close_code, event.reason) for event in self.events if isinstance(event, ProtocolError)]

    def codes(self, track: Track = IN) -> list[int]:
        """The first code of each 20 ms that were received, without gap or overlap."""
        parts, position = [], 0
        for event in self.events:
            if isinstance(event, AudioReceived) and event.track is track:
                assert event.pts == position
                position += event.codes.size
                parts.append(event.codes)
        return np.concatenate(parts)[::160].tolist() if parts else []


def media(
    seq: int | str | None, timestamp: int | str | None, code: int, track: str | None = "inbound"
) -> dict[str, Any]:
    """A message whose audio is one code; what is None is left out."""
    payload = base64.b64encode(bytes([code]) * 160).decode()
    body = {"track": track, "timestamp": timestamp, "payload": payload, "chunk": "1"}
    whole: dict[str, Any] = {"event": "media", "sequenceNumber": seq, "streamSid": twilio.STREAM}
    whole["media"] = {name: value for name, value in body.items() if value is not None}
    return {name: value for name, value in whole.items() if value is not None}


def counted(count: int, code: int, *, seq: int = 2, timestamp: int = 0) -> list[dict[str, Any]]:
    return [media(str(seq + index), str(timestamp + 20 * index), code + index) for index in range(count)]


ONE = twilio.start(("inbound",))
TELNYX_START = {
    "event": "start",
    "sequence_number": "1",
    "start": {
        "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
        "call_control_id": "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
        "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
        "from": "+15550100",
        "to": "+15550111",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
    "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
}


def telnyx(count: int, tracks: Sequence[str]) -> list[dict[str, Any]]:
    """20 ms of each track by turns."""
    sent = [
        media(2 + index, 20 * (index // len(tracks)), 1 + index, tracks[index % len(tracks)]) for index in range(count)
    ]
    return [one | {"streamSid": TELNYX_START["stream_id"]} for one in sent]
