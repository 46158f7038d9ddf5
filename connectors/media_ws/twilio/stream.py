"""Twilio Media Streams: text messages in, events out. No socket, no clock, no task.

A message passes the parser (`parser`), the table of states at the end of this file, the order of the sequence numbers
(`ordering`) and the timeline of its track (`output`, `tracks`). Audio that is just what was due takes the in-order
fast path (`receive_next`). What a peer can do wrong, and what it gets:

| input | answer |
|---|---|
| text that is not JSON, not an object, or has no `event` | close 1007 |
| a binary message | close 1003 |
| an event Twilio does not have, `connected` again | counted, ignored |
| `start`: no call SID or stream SID, an unusable one, two different stream SIDs | close 1002 |
| `start`: a format other than mu-law, 8000 Hz, mono; a track Twilio does not have | close 1003 |
| `start`: too many or too long custom parameters | close 1008 |
| `media`, `dtmf`, `mark` or `stop` before `start` | close 1002 |
| another stream's SID, a second `start` or a `stop` of another call | close 1008 |
| a second `start` of the same call | counted; numbers and timestamps begin anew |
| `start` without tracks | counted; taken as inbound, and as what else there is audio or a key of (`TrackAdded`) |
| `media`, `dtmf`, `mark`: no audio or key, wrong base64, an unannounced track | counted, ignored; too many: 1008 |
| what is not needed missing or of another type; other forms of one meaning (`lenient`) | counted, taken |
| no sequence number | counted; taken in the order of arrival |
| no timestamp | counted; taken right behind the audio before |
| `media` with more audio than allowed | close 1009 |
| a message longer than allowed | close 1009 (by the socket) |
| the same sequence number again | dropped; `media` counted |
| the same sequence number again, but audio with a later timestamp | counted; taken |
| sequence numbers that begin anew, or do not count on at all (`renumbered`) | counted; taken |
| a message that comes after its gap was given up | dropped; `media` counted |
| a sequence number or timestamp that cannot be | counted; audio is kept when only its time is wrong |
| anything after `stop` | counted, ignored |

The first of what is counted is reported (`Anomaly`).

Close codes: RFC 6455, section 7.4.1. A single bad packet costs that packet, and its place becomes silence; a peer that
does not speak the protocol loses its stream. Audio that was waiting for a missing message comes out before the close.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from connectors.errors import LocalProtocolError, RemoteProtocolError
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import (
    MediaEncoding,
    MediaEvent,
    MediaFormat,
    MediaPacket,
    ProtocolError,
    StreamStarted,
    TrackAdded,
)
from connectors.media_ws.foreseen import PACKET_CODES, Foreseen, RecentMessage, last_two_of_each
from connectors.media_ws.track import Track
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.ordering import MessageOrder, Numbered
from connectors.media_ws.twilio.output import StreamOutput, StreamState, track_of
from connectors.media_ws.twilio.parser import MessageParser
from connectors.media_ws.twilio.start import check_parameters, stream_sid_of, tracks_of
from connectors.media_ws.twilio.template import next_media

_MAX_NAME_CHARS = 256
_REMEMBERED_SIDS = 8
_STREAMING = StreamState.STREAMING


class TwilioStream:
    """One WebSocket of Twilio's. See `connectors.media_ws.events.MediaDialect` for the methods the driver uses."""

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self.started: StreamStarted | None = None
        self._limits = limits = limits or MediaLimits()
        self._output = StreamOutput(limits)
        self._parser = MessageParser(self._output)
        self._order = MessageOrder(self._output, limits)
        self._sid = ""  # of the stream now
        self._former_sids: deque[str] = deque(maxlen=_REMEMBERED_SIDS)
        self._unannounced = False  # further tracks may come
        self._recent: deque[RecentMessage] = deque(maxlen=2 * len(Track))
        # Parts of those above, for the way of audio in order.
        self.stats, self._tracks = self._output.stats, self._output.tracks
        self._window, self._old = self._order.window, self._order.old
        self._max_payload = limits.max_payload_bytes

    @property
    def state(self) -> StreamState:
        return self._output.state

    # -- from the driver

    def receive(self, data: str | bytes, now: float) -> list[MediaEvent]:
        output = self._output
        self.stats.messages += 1
        self._recent.clear()
        output.counted = False
        if output.state is StreamState.ENDED:
            self.stats.after_end += 1
            return []
        try:
            message = self._parser.parse(data)
            if message is not None:
                self._dispatch(message, now)
        except RemoteProtocolError as exc:
            self._fail(exc, now)
        return output.take_events()

    def receive_next(self, data: bytes | bytearray, now: float) -> MediaPacket | None:  # noqa: ARG002 - for other dialects
        window = self._window
        if self._output.state is not _STREAMING:
            return None
        try:
            message = wire.decode_media(data)
        except ValueError:  # msgspec's errors are of this kind, too
            return None
        media = message.media
        timestamp, size = wire.number(media.timestamp), len(media.payload)
        if (
            message.stream_sid != self._sid
            or message.sequence_number != str(window.due)
            or timestamp is None
            or not 0 < size <= self._max_payload
        ):
            return None
        pts = self._tracks.place_next(media.track, timestamp, size, window.missing)
        if pts is None:
            return None
        window.pass_by()
        if self._old.streak:
            self._old.over()
        self.stats.messages += 1
        self._recent.append((media.track, pts + size, bytes(data)))
        return MediaPacket(media.track, pts, media.payload)

    def foresee(self) -> list[Foreseen]:
        turns = len(self._tracks)
        if len(self._recent) < 2 * turns:
            return []
        pairs = last_two_of_each(self._recent, turns)
        self._recent.clear()
        foreseen = [next_media(message, before, track, turns, pts) for (_, _, before), (track, pts, message) in pairs]
        return [one for one in foreseen if one is not None] if None not in foreseen else []

    def passed_by(self, taken: Mapping[Track, int]) -> None:
        for track, messages in taken.items():
            self._tracks.pass_by(track, messages, PACKET_CODES)
            self._window.pass_by(messages)
            self.stats.messages += messages

    def next_timer(self) -> float | None:
        return self._window.deadline()

    def handle_timer(self, now: float) -> list[MediaEvent]:
        self._order.release(now)
        return self._output.take_events()

    def connection_lost(self, now: float) -> list[MediaEvent]:
        self._order.release(now, flush=True)
        self._output.state = StreamState.ENDED
        return self._output.take_events()

    # -- to the peer, for bidirectional streams (`<Connect><Stream>`)

    def play(self, codes: bytes) -> str:
        """Message that plays mu-law audio into the call. Raises `LocalProtocolError` outside a running stream."""
        return wire.encode(wire.PlayMessage(self._stream_sid(), wire.PlayBody(codes)))

    def mark(self, name: str) -> str:
        """Message that comes back as `MarkReceived(name)` when what was sent before it has been played."""
        return wire.encode(wire.PlayMarkMessage(self._stream_sid(), wire.MarkBody(name)))

    def clear(self) -> str:
        """Message that drops what was sent and not yet played."""
        return wire.encode(wire.ClearMessage(self._stream_sid()))

    def _stream_sid(self) -> str:
        if self.started is None or self.state is not StreamState.STREAMING:
            raise LocalProtocolError(f"nothing can be sent {self.state}")
        return self._sid

    # -- the state machine

    def _dispatch(self, message: wire.TwilioMessage, now: float) -> None:
        state = self._output.state
        action = _TABLE.get((state, type(message)))
        if action is None:
            raise RemoteProtocolError(1002, f"{message.__struct_config__.tag} {state}")
        action(self, message, now)

    def _connected(self, _message: wire.ConnectedMessage, _now: float) -> None:
        self._output.state = StreamState.CONNECTED

    def _connected_again(self, _message: wire.ConnectedMessage, _now: float) -> None:
        self._output.irregular("connected again")

    def _start(self, message: wire.StartMessage, now: float) -> None:
        body, stream_sid, tracks = message.start, stream_sid_of(message), tracks_of(message.start)
        check_parameters(body, self._limits)
        self._order.start(message)
        self._tracks.begin(tracks, now)
        self._unannounced = self._parser.unannounced
        self._sid = stream_sid
        self._output.state = StreamState.STREAMING
        self.started = StreamStarted(
            body.call_sid,
            stream_sid,
            body.account_sid,
            tracks,
            dict(body.custom_parameters),
            MediaFormat(MediaEncoding.PCMU, wire.SAMPLE_RATE_HZ),
        )
        self._output.events.insert(0, self.started)

    def _start_again(self, message: wire.StartMessage, now: float) -> None:
        """The peer begins anew in the middle of its call, such as after it lost its own source."""
        assert self.started is not None
        body, stream_sid = message.start, stream_sid_of(message)
        if body.call_sid != self.started.call_sid or body.account_sid not in ("", self.started.account_sid):
            raise RemoteProtocolError(1008, "second start of another call")
        if set(tracks_of(body)) - set(self._tracks) and not self._unannounced:
            raise RemoteProtocolError(1008, "second start with another track")
        self._order.release(now, flush=True)
        if self.state is StreamState.STREAMING:  # else a stop was waiting
            self._order.start(message)
            self._output.begin_anew()
            if stream_sid != self._sid:
                self._former_sids.append(self._sid)
                self._sid = stream_sid

    def _numbered(self, message: Numbered, now: float) -> None:
        """Check what can be checked out of order, and put the message in its place in the sequence."""
        output, order = self._output, self._order
        if message.stream_sid not in ("", self._sid):
            if message.stream_sid in self._former_sids:
                return output.irregular("message of the stream before the second start")
            raise RemoteProtocolError(1008, "message of another stream")
        seq = wire.number(message.sequence_number)
        if seq is None:
            output.irregular("no sequence number")
        elif not order.numbered:
            order.begin_at(seq)
        if isinstance(message, wire.MediaMessage):
            self._media(message, seq, now)
        else:
            self._other(message, seq, now)

    def _media(self, message: wire.MediaMessage, seq: int | None, now: float) -> None:
        track, timestamp = message.media.track, wire.number(message.media.timestamp)
        if len(message.media.payload) > self._max_payload:
            raise RemoteProtocolError(1009, "too much audio in one message")
        if not self._has(track):
            return self._output.malformed("media: a track that was not announced")
        if timestamp is None:
            self._output.irregular("no timestamp")
        self._order.add_media(message, seq, timestamp, now)

    def _other(
        self, message: wire.DtmfMessage | wire.MarkMessage | wire.StopMessage, seq: int | None, now: float
    ) -> None:
        assert self.started is not None
        if isinstance(message, wire.StopMessage):
            if message.stop.call_sid not in ("", self.started.call_sid):
                raise RemoteProtocolError(1008, "stop of another call")
        elif isinstance(message, wire.DtmfMessage) and not self._has(track_of(message)):
            return self._output.malformed("dtmf: track")
        elif isinstance(message, wire.MarkMessage) and len(message.mark.name) > _MAX_NAME_CHARS:
            return self._output.malformed("mark: name")
        self._order.add_other(message, seq, now)

    def _has(self, track: Track) -> bool:
        """Whether the stream has this track, from now on at the latest."""
        if track not in self._tracks and self._unannounced:
            self._tracks.add(track, self._window.missing)
            self._output.events.append(TrackAdded(track))
        return track in self._tracks

    def _fail(self, exc: RemoteProtocolError, now: float) -> None:
        """End the stream for a fault of the peer's. What was waiting for its turn comes out first, a `stop`
        included."""
        self._order.release(now, flush=True)
        if self.state is not StreamState.ENDED:
            self._output.state = StreamState.ENDED
            self._output.events.append(ProtocolError(exc.close_code, exc.reason))


_TABLE: dict[tuple[StreamState, type], Callable[[TwilioStream, Any, float], None]] = {
    (StreamState.OPENING, wire.ConnectedMessage): TwilioStream._connected,
    (
        StreamState.OPENING,
        wire.StartMessage,
    ): TwilioStream._start,  # servers that copy Twilio's protocol leave `connected` out
    (StreamState.CONNECTED, wire.StartMessage): TwilioStream._start,
    (StreamState.CONNECTED, wire.ConnectedMessage): TwilioStream._connected_again,
    (StreamState.STREAMING, wire.ConnectedMessage): TwilioStream._connected_again,
    (StreamState.STREAMING, wire.StartMessage): TwilioStream._start_again,
    (StreamState.STREAMING, wire.MediaMessage): TwilioStream._numbered,
    (StreamState.STREAMING, wire.DtmfMessage): TwilioStream._numbered,
    (StreamState.STREAMING, wire.MarkMessage): TwilioStream._numbered,
    (StreamState.STREAMING, wire.StopMessage): TwilioStream._numbered,
}
"""What a message does in a state. A pair that is not here breaks the protocol: close 1002."""
