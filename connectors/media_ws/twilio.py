"""Twilio Media Streams: text messages in, events out. No socket, no clock, no task.

Messages pass the parser, the reordering window (`reorder`) and the timeline of their track (`tracks`). What a peer can
do wrong, and what it gets:

| input | answer |
|---|---|
| text that is not JSON, not an object, or has no `event` | close 1007 |
| a binary message | close 1003 |
| an event Twilio does not have | counted, ignored |
| `connected`, `start`, `stop`: fields missing or of another type | close 1002 |
| `start`: two different stream SIDs, an unusable call SID | close 1002 |
| `start`: a format other than mu-law, 8000 Hz, mono; a track Twilio does not have | close 1003 |
| `start`: too many or too long custom parameters | close 1008 |
| `media`, `dtmf`, `mark` or `stop` before `start` | close 1002 |
| a second `connected` or `start` | close 1002 |
| another stream's SID, or at the end another call's | close 1008 |
| `media`, `dtmf`, `mark`: fields missing, wrong base64, an unannounced track | counted, ignored; too many: close 1008 |
| `media` with more audio than allowed | close 1009 |
| a message longer than allowed | close 1009 (by the socket) |
| the same sequence number again | dropped; `media` counted |
| a message that comes after its gap was given up | dropped; `media` counted |
| a sequence number or timestamp that cannot be | counted; audio is kept when only its time is wrong |
| anything after `stop` | counted, ignored |

Close codes: RFC 6455, section 7.4.1. A single bad packet costs that packet, and its place becomes silence; a peer that
does not speak the protocol loses its stream. Audio that was waiting for a missing message comes out before the close.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from connectors.errors import LocalProtocolError, RemoteProtocolError
from connectors.media_ws import twilio_messages as wire
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import (
    Anomaly,
    Dtmf,
    Event,
    Mark,
    MediaEncoding,
    MediaFormat,
    Packet,
    ProtocolError,
    Stopped,
    StreamStarted,
    StreamStats,
    Track,
)
from connectors.media_ws.reorder import SequenceWindow, Verdict
from connectors.media_ws.steady import PACKET_CODES, Foreseen
from connectors.media_ws.tracks import Tracks

MULAW_ZERO = 0xFF

_SID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_PATH = re.compile(r"`(\$[^`]{0,80})`$")
_MAX_NAME_CHARS = 256

InOrder = wire.Media | wire.Dtmf | wire.Mark | wire.Stop


class State(StrEnum):
    OPENING = "before connected"
    CONNECTED = "before start"
    STREAMING = "after start"
    ENDED = "after the end"


class TwilioStream:
    """One WebSocket of Twilio's. See `connectors.media_ws.events.Dialect` for the methods the driver uses."""

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self.stats = StreamStats()
        self.state = State.OPENING
        self.started: StreamStarted | None = None
        self._limits = limits or MediaLimits()
        self._window: SequenceWindow[InOrder] = SequenceWindow(1, 0.0)
        self._tracks = Tracks((), wire.SAMPLE_RATE_HZ, MULAW_ZERO, self.stats.tracks, 0.0)
        self._events: list[Event] = []
        self._recent: deque[tuple[Track, int, bytes]] = deque(maxlen=2 * len(Track))
        self._noted = False

    # -- from the driver

    def receive(self, data: str | bytes, now: float) -> list[Event]:
        self.stats.messages += 1
        self._recent.clear()
        if self.state is State.ENDED:
            self.stats.after_end += 1
            return []
        try:
            message = self._parse(data)
            if message is not None:
                self._dispatch(message, now)
        except RemoteProtocolError as exc:
            self._fail(exc, now)
        return self._take_events()

    def receive_next(self, data: bytes | bytearray, now: float) -> Packet | None:  # noqa: ARG002 - for other dialects
        started, window = self.started, self._window
        if started is None or self.state is not State.STREAMING:
            return None
        try:
            message = wire.decode_media(data)
        except ValueError:  # msgspec's errors are of this kind, too
            return None
        media = message.media
        timestamp, size = wire.number(media.timestamp), len(media.payload)
        if (
            message.stream_sid != started.stream_sid
            or message.sequence_number != str(window.due)
            or timestamp is None
            or not 0 < size <= self._limits.max_payload_bytes
        ):
            return None
        pts = self._tracks.place_next(media.track, timestamp, size, window.missing)
        if pts is None:
            return None
        window.pass_by()
        self.stats.messages += 1
        self._recent.append((media.track, pts + size, bytes(data)))
        return Packet(media.track, pts, media.payload)

    def foresee(self) -> list[Foreseen]:
        turns = len(self._tracks)
        if len(self._recent) < 2 * turns:
            return []
        recent = list(self._recent)[-2 * turns :]
        self._recent.clear()
        if [one[0] for one in recent[:turns]] != [one[0] for one in recent[turns:]]:
            return []
        if len({one[0] for one in recent}) != turns:
            return []
        foreseen = [
            Foreseen.after(message, before, track, turns, pts)
            for (_, _, before), (track, pts, message) in zip(recent[:turns], recent[turns:], strict=True)
        ]
        return [one for one in foreseen if one is not None] if None not in foreseen else []

    def passed_by(self, taken: Mapping[Track, int]) -> None:
        for track, messages in taken.items():
            self._tracks.pass_by(track, messages, PACKET_CODES)
            self._window.pass_by(messages)
            self.stats.messages += messages

    def next_timer(self) -> float | None:
        return self._window.deadline()

    def handle_timer(self, now: float) -> list[Event]:
        self._release(now)
        return self._take_events()

    def connection_lost(self, now: float) -> list[Event]:
        self._release(now, flush=True)
        self.state = State.ENDED
        return self._take_events()

    # -- to the peer, for bidirectional streams (`<Connect><Stream>`)

    def play(self, codes: bytes) -> str:
        """Message that plays mu-law audio into the call. Raises `LocalProtocolError` outside a running stream."""
        return wire.encode(wire.Play(self._stream_sid(), wire.PlayBody(codes)))

    def mark(self, name: str) -> str:
        """Message that comes back as `Mark(name)` when what was sent before it has been played."""
        return wire.encode(wire.PlayMark(self._stream_sid(), wire.MarkBody(name)))

    def clear(self) -> str:
        """Message that drops what was sent and not yet played."""
        return wire.encode(wire.Clear(self._stream_sid()))

    def _stream_sid(self) -> str:
        if self.started is None or self.state is not State.STREAMING:
            raise LocalProtocolError(f"nothing can be sent {self.state}")
        return self.started.stream_sid

    # -- parser

    def _parse(self, data: str | bytes) -> wire.TwilioMessage | None:
        if isinstance(data, bytes):
            raise RemoteProtocolError(1003, "binary message")
        try:
            return wire.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            self._reject(data, exc)
            return None

    def _reject(self, data: str, exc: Exception) -> None:
        """Raise or count what the typed decoder did not take, by what it would have been."""
        try:
            fields = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise RemoteProtocolError(1007, "not JSON") from None
        event = fields.get("event") if isinstance(fields, dict) else None
        if not isinstance(event, str):
            raise RemoteProtocolError(1007, "not a message with an event")
        if event not in wire.KNOWN_EVENTS:
            self.stats.unknown_events += 1
            self._note("unknown event")
        elif event in ("connected", "start", "stop"):
            raise RemoteProtocolError(1002, f"malformed {event} at {_path(exc)}")
        elif self.state is not State.STREAMING:
            raise RemoteProtocolError(1002, f"{event} {self.state}")
        else:
            self._malformed(f"{event} at {_path(exc)}")

    def _dispatch(self, message: wire.TwilioMessage, now: float) -> None:
        action = _TABLE.get((self.state, type(message)))
        if action is None:
            raise RemoteProtocolError(1002, f"{type(message).__name__.lower()} {self.state}")
        action(self, message, now)

    # -- actions of the table

    def _connected(self, _message: wire.Connected, _now: float) -> None:
        self.state = State.CONNECTED

    def _start(self, message: wire.Start, now: float) -> None:
        body = message.start
        seq = wire.number(message.sequence_number)
        if seq is None or body.stream_sid != message.stream_sid:
            raise RemoteProtocolError(1002, "malformed start: sequenceNumber or streamSid")
        if not (_SID.fullmatch(body.call_sid) and _SID.fullmatch(body.stream_sid)):
            raise RemoteProtocolError(1002, "malformed start: callSid or streamSid")
        media = body.media_format
        if (media.encoding, media.sample_rate, media.channels) != (wire.ENCODING, wire.SAMPLE_RATE_HZ, 1):
            raise RemoteProtocolError(1003, "media format is not audio/x-mulaw, 8000 Hz, 1 channel")
        tracks = tuple(Track(name) for name in body.tracks if name in tuple(Track))
        if not tracks or len(set(tracks)) != len(body.tracks):
            raise RemoteProtocolError(1003, "tracks are not inbound, outbound or both")
        parameters = body.custom_parameters
        if len(parameters) > self._limits.max_parameters:
            raise RemoteProtocolError(1008, "too many custom parameters")
        if any(len(name) + len(value) > self._limits.max_parameter_chars for name, value in parameters.items()):
            raise RemoteProtocolError(1008, "custom parameter too long")
        self._window = SequenceWindow(seq + 1, self._limits.reorder_window_ms / 1000)
        self._tracks = Tracks(tracks, wire.SAMPLE_RATE_HZ, MULAW_ZERO, self.stats.tracks, now)
        self.state = State.STREAMING
        self.started = StreamStarted(
            body.call_sid,
            body.stream_sid,
            body.account_sid,
            tracks,
            dict(parameters),
            MediaFormat(MediaEncoding.PCMU, wire.SAMPLE_RATE_HZ),
        )
        self._events.append(self.started)

    def _enqueue(self, message: InOrder, now: float) -> None:
        """Check what can be checked out of order, and put the message in its place in the sequence."""
        assert self.started is not None
        if message.stream_sid != self.started.stream_sid:
            raise RemoteProtocolError(1008, "message of another stream")
        if isinstance(message, wire.Stop) and message.stop.call_sid != self.started.call_sid:
            raise RemoteProtocolError(1008, "stop of another call")
        seq = wire.number(message.sequence_number)
        lane, media_ms = None, 0
        if isinstance(message, wire.Media):
            lane, timestamp = message.media.track, wire.number(message.media.timestamp)
            if len(message.media.payload) > self._limits.max_payload_bytes:
                raise RemoteProtocolError(1009, "too much audio in one message")
            if seq is None or timestamp is None or lane not in self._tracks:
                return self._malformed("media: sequenceNumber, timestamp or track")
            media_ms = timestamp
        elif isinstance(message, wire.Dtmf) and _dtmf_track(message) not in self._tracks:
            return self._malformed("dtmf: track")
        elif isinstance(message, wire.Mark) and len(message.mark.name) > _MAX_NAME_CHARS:
            return self._malformed("mark: name")
        if seq is None:
            return self._malformed("sequenceNumber")
        self._judge(self._window.push(seq, message, now, lane, media_ms), lane)
        self._release(now)

    def _judge(self, verdict: Verdict, lane: Track | None) -> None:
        if verdict is Verdict.ACCEPTED:
            return
        stats = self.stats.tracks[lane] if lane is not None else None
        if verdict is Verdict.IMPLAUSIBLE:
            self._implausible("sequence number")
        elif stats is not None:
            stats.reordered += verdict is Verdict.REORDERED
            stats.duplicates += verdict is Verdict.DUPLICATE
            stats.late += verdict is Verdict.LATE

    # -- in order

    def _release(self, now: float, *, flush: bool = False) -> None:
        window = self._window
        while self.state is State.STREAMING and (held := window.pop(now, flush=flush)) is not None:
            message = held.item
            if isinstance(message, wire.Media):
                media = message.media
                codes = np.frombuffer(media.payload, np.uint8)
                audio, plausible = self._tracks.place(media.track, held.media_ms, codes, held.arrival, window.missing)
                if not plausible:
                    self._implausible("timestamp")
                self._events += audio
            elif isinstance(message, wire.Dtmf):
                track = _dtmf_track(message)
                self._events.append(Dtmf(track, message.dtmf.digit, self._tracks.position_s(track)))
            elif isinstance(message, wire.Mark):
                self._events.append(Mark(message.mark.name))
            else:
                self._events.append(Stopped())
                self.state = State.ENDED

    # -- faults

    def _malformed(self, detail: str) -> None:
        self.stats.malformed += 1
        self._note(f"malformed {detail}")
        if self.stats.malformed > self._limits.max_malformed:
            raise RemoteProtocolError(1008, "too many malformed messages")

    def _implausible(self, what: str) -> None:
        self.stats.implausible += 1
        self._note(f"{what} too far ahead")

    def _note(self, detail: str) -> None:
        if not self._noted:
            self._noted = True
            self._events.append(Anomaly(detail))

    def _fail(self, exc: RemoteProtocolError, now: float) -> None:
        """End the stream for a fault of the peer's. What was waiting for its turn comes out first, a `stop`
        included."""
        self._release(now, flush=True)
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self._events.append(ProtocolError(exc.close_code, exc.reason))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _path(exc: Exception) -> str:
    """Where the typed decoder stopped, such as `$.media.payload`; its message may quote what the peer sent."""
    found = _PATH.search(str(exc))
    return found.group(1) if found else "$"


def _dtmf_track(message: wire.Dtmf) -> Track:
    return Track(message.dtmf.track.removesuffix("_track"))


_TABLE: dict[tuple[State, type], Callable[[TwilioStream, Any, float], None]] = {
    (State.OPENING, wire.Connected): TwilioStream._connected,
    (State.OPENING, wire.Start): TwilioStream._start,  # servers that copy Twilio's protocol leave `connected` out
    (State.CONNECTED, wire.Start): TwilioStream._start,
    (State.STREAMING, wire.Media): TwilioStream._enqueue,
    (State.STREAMING, wire.Dtmf): TwilioStream._enqueue,
    (State.STREAMING, wire.Mark): TwilioStream._enqueue,
    (State.STREAMING, wire.Stop): TwilioStream._enqueue,
}
"""What a message does in a state. A pair that is not here breaks the protocol: close 1002."""
