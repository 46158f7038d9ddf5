"""Twilio Media Streams: text messages in, events out. No socket, no clock, no task.

Messages pass the parser, the reordering window (`reorder`) and the timeline of their track (`tracks`). What a peer can
do wrong, and what it gets:

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

The first of what is counted is told (`Anomaly`).

Close codes: RFC 6455, section 7.4.1. A single bad packet costs that packet, and its place becomes silence; a peer that
does not speak the protocol loses its stream. Audio that was waiting for a missing message comes out before the close.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from connectors.errors import LocalProtocolError, RemoteProtocolError
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
    TrackAdded,
)
from connectors.media_ws.foreseen import PACKET_CODES, Foreseen
from connectors.media_ws.renumbered import OldNumbers
from connectors.media_ws.reorder import SequenceWindow, Verdict
from connectors.media_ws.track import Track
from connectors.media_ws.tracks import Tracks
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.lenient import NotAMessage, Reader, Unusable, read_fields
from connectors.media_ws.twilio.start import check_parameters, stream_sid_of, tracks_of

MULAW_ZERO = 0xFF

_MAX_NAME_CHARS = 256
_NO_TIME = -1
_REMEMBERED_KEYS, _REMEMBERED_SIDS = 64, 8

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
        self._noted = self._counted = False
        self._sid = ""  # of the stream now
        self._former_sids: deque[str] = deque(maxlen=_REMEMBERED_SIDS)
        self._numbered = True
        self._old: OldNumbers[InOrder] = OldNumbers(0)
        self._doubted = False  # `_old` has messages
        self._keys: deque[int] = deque(maxlen=_REMEMBERED_KEYS)
        self._reader = Reader()
        self._unannounced = False  # further tracks may come

    # -- from the driver

    def receive(self, data: str | bytes, now: float) -> list[Event]:
        self.stats.messages += 1
        self._recent.clear()
        self._counted = False
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
        window = self._window
        if self.state is not State.STREAMING:
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
            or not 0 < size <= self._limits.max_payload_bytes
        ):
            return None
        pts = self._tracks.place_next(media.track, timestamp, size, window.missing)
        if pts is None:
            return None
        window.pass_by()
        if self._doubted:
            self._doubted = False
            self._old.over()
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
        return self._sid

    # -- parser

    def _parse(self, data: str | bytes) -> wire.TwilioMessage | None:
        if isinstance(data, bytes):
            raise RemoteProtocolError(1003, "binary message")
        try:
            return wire.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self._read(data)

    def _read(self, data: str) -> wire.TwilioMessage | None:
        """What the typed decoder did not take: taken, counted and left out, or a breach of the protocol."""
        try:
            fields = read_fields(data)
        except NotAMessage as exc:
            raise RemoteProtocolError(1007, str(exc)) from None
        event = fields.event
        if event not in wire.KNOWN_EVENTS:
            self.stats.unknown_events += 1
            self._note("unknown event")
            return None
        if self.state is not State.STREAMING and event not in ("connected", "start"):
            raise RemoteProtocolError(1002, f"{event} {self.state}")
        try:
            message, odd = self._reader.message(fields), self._reader.odd
        except Unusable as exc:
            if event == "start":
                raise RemoteProtocolError(1002, f"malformed {event} at {exc}") from None
            self._malformed(f"{event} at {exc}")
            return None
        self._irregular(odd or f"{event} in another form")
        return message

    def _dispatch(self, message: wire.TwilioMessage, now: float) -> None:
        action = _TABLE.get((self.state, type(message)))
        if action is None:
            raise RemoteProtocolError(1002, f"{type(message).__name__.lower()} {self.state}")
        action(self, message, now)

    # -- actions of the table

    def _connected(self, _message: wire.Connected, _now: float) -> None:
        self.state = State.CONNECTED

    def _connected_again(self, _message: wire.Connected, _now: float) -> None:
        self._irregular("connected again")

    def _start(self, message: wire.Start, now: float) -> None:
        body, stream_sid, tracks = message.start, stream_sid_of(message), tracks_of(message.start)
        check_parameters(body, self._limits)
        self._window = SequenceWindow(1, self._limits.reorder_window_ms / 1000)
        self._begin(message)
        self._tracks = Tracks(tracks, wire.SAMPLE_RATE_HZ, MULAW_ZERO, self.stats.tracks, now)
        self._unannounced = self._reader.unannounced
        self._reader = Reader(tracks)
        self._sid = stream_sid
        self.state = State.STREAMING
        self.started = StreamStarted(
            body.call_sid,
            stream_sid,
            body.account_sid,
            tracks,
            dict(body.custom_parameters),
            MediaFormat(MediaEncoding.PCMU, wire.SAMPLE_RATE_HZ),
        )
        self._events.insert(0, self.started)

    def _start_again(self, message: wire.Start, now: float) -> None:
        """The peer begins anew in the middle of its call, such as after it lost its own source."""
        assert self.started is not None
        body, stream_sid = message.start, stream_sid_of(message)
        if body.call_sid != self.started.call_sid or body.account_sid not in ("", self.started.account_sid):
            raise RemoteProtocolError(1008, "second start of another call")
        if set(tracks_of(body)) - set(self._tracks) and not self._unannounced:
            raise RemoteProtocolError(1008, "second start with another track")
        self._release(now, flush=True)
        if self.state is State.STREAMING:  # else a stop was waiting
            self._begin(message)
            self._begin_anew()
            if stream_sid != self._sid:
                self._former_sids.append(self._sid)
                self._sid = stream_sid

    def _begin(self, message: wire.Start) -> None:
        """Numbers go on from that of a start; without one, the first message says where they begin."""
        seq = wire.number(message.sequence_number)
        self._numbered = seq is not None
        first = 0 if seq is None else seq
        if seq is None:
            self._irregular("no sequence number")
        self._window.begin_anew(first + 1)
        self._old = OldNumbers(first + 1)

    def _begin_anew(self) -> None:
        self._tracks.begin_anew()
        self.stats.restarts += 1
        self._note("the peer counts anew")

    def _enqueue(self, message: InOrder, now: float) -> None:
        """Check what can be checked out of order, and put the message in its place in the sequence."""
        if message.stream_sid not in ("", self._sid):
            if message.stream_sid in self._former_sids:
                return self._irregular("message of the stream before the second start")
            raise RemoteProtocolError(1008, "message of another stream")
        seq = wire.number(message.sequence_number)
        if seq is None:
            self._irregular("no sequence number")
        if seq is not None and not self._numbered:
            self._numbered = True
            self._window.begin_anew(seq)
            self._old = OldNumbers(seq)
        if isinstance(message, wire.Media):
            self._enqueue_media(message, seq, now)
        else:
            self._enqueue_other(message, seq, now)

    def _enqueue_media(self, message: wire.Media, seq: int | None, now: float) -> None:
        track, timestamp = message.media.track, wire.number(message.media.timestamp)
        if len(message.media.payload) > self._limits.max_payload_bytes:
            raise RemoteProtocolError(1009, "too much audio in one message")
        if not self._has(track):
            return self._malformed("media: a track that was not announced")
        if timestamp is None:
            self._irregular("no timestamp")
        if seq is None or self._old.hopeless:
            seq = self._window.next_number
        elif not self._window.was_there(seq):
            self._old.over()
        elif timestamp is not None and self._tracks.is_new(track, timestamp):
            # The audio was not heard yet, so the number is that of a peer which counts otherwise.
            self._irregular("sequence number that was there before")
            self._release(now, flush=True)
            self._window.begin_anew(seq)
            self._old.over()
        else:
            return self._enqueue_old(message, seq, now)
        self._push(seq, message, now)

    def _has(self, track: Track) -> bool:
        """Whether the stream has this track, from now on at the latest."""
        if track not in self._tracks and self._unannounced:
            self._tracks.add(track, self._window.missing)
            self._reader.tracks = tuple(self._tracks)
            self._events.append(TrackAdded(track))
        return track in self._tracks

    def _enqueue_old(self, message: wire.Media, seq: int, now: float) -> None:
        """A message that was sent twice, or the sign of a peer that counts anew."""
        self._doubted = True
        anew = self._old.add(seq, message, self._window.next_number)
        self.stats.tracks[message.media.track].duplicates += 1
        if self._old.hopeless:
            self._note("sequence numbers that do not count on are not looked at any more")
        if not anew:
            return
        self._release(now, flush=True)
        self._window.begin_anew(anew[0][0])
        self._begin_anew()
        for number, item in anew:
            assert isinstance(item, wire.Media)
            self.stats.tracks[item.media.track].duplicates -= 1
            self._push(number, item, now)

    def _enqueue_other(self, message: wire.Dtmf | wire.Mark | wire.Stop, seq: int | None, now: float) -> None:
        assert self.started is not None
        if isinstance(message, wire.Stop):
            if message.stop.call_sid not in ("", self.started.call_sid):
                raise RemoteProtocolError(1008, "stop of another call")
        elif isinstance(message, wire.Dtmf) and not self._has(_dtmf_track(message)):
            return self._malformed("dtmf: track")
        elif isinstance(message, wire.Mark) and len(message.mark.name) > _MAX_NAME_CHARS:
            return self._malformed("mark: name")
        if seq is not None and not self._old.hopeless and not self._window.was_there(seq):
            self._keys.append(seq)
            return self._push(seq, message, now)
        if seq in self._keys and not isinstance(message, wire.Stop):
            return  # sent twice
        if seq is not None:
            self._keys.append(seq)
            self._irregular("sequence number that was there before")
        self._release(now, flush=True)
        if self.state is State.STREAMING:
            self._hand_out(message)

    def _push(self, seq: int, message: InOrder, now: float) -> None:
        lane, media_ms = None, 0
        if isinstance(message, wire.Media):
            timestamp = wire.number(message.media.timestamp)
            lane = None if timestamp is None else message.media.track
            media_ms = _NO_TIME if timestamp is None else timestamp
        track = message.media.track if isinstance(message, wire.Media) else None
        self._judge(self._window.push(seq, message, now, lane, media_ms), track)
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
                self._place(message, held.media_ms, held.arrival)
            else:
                self._hand_out(message)

    def _place(self, message: wire.Media, media_ms: int, arrival: float) -> None:
        media = message.media
        codes = np.frombuffer(media.payload, np.uint8)
        if media_ms == _NO_TIME:
            media_ms = max(self._tracks.clock_ms(media.track), 0)
        audio, plausible = self._tracks.place(media.track, media_ms, codes, arrival, self._window.missing)
        if not plausible:
            self._implausible("timestamp")
        self._events += audio

    def _hand_out(self, message: wire.Dtmf | wire.Mark | wire.Stop) -> None:
        if isinstance(message, wire.Dtmf):
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

    def _irregular(self, detail: str) -> None:
        """Once a message."""
        self.stats.irregular += not self._counted
        self._counted = True
        self._note(detail)

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


def _dtmf_track(message: wire.Dtmf) -> Track:
    return Track(message.dtmf.track.removesuffix("_track"))


_TABLE: dict[tuple[State, type], Callable[[TwilioStream, Any, float], None]] = {
    (State.OPENING, wire.Connected): TwilioStream._connected,
    (State.OPENING, wire.Start): TwilioStream._start,  # servers that copy Twilio's protocol leave `connected` out
    (State.CONNECTED, wire.Start): TwilioStream._start,
    (State.CONNECTED, wire.Connected): TwilioStream._connected_again,
    (State.STREAMING, wire.Connected): TwilioStream._connected_again,
    (State.STREAMING, wire.Start): TwilioStream._start_again,
    (State.STREAMING, wire.Media): TwilioStream._enqueue,
    (State.STREAMING, wire.Dtmf): TwilioStream._enqueue,
    (State.STREAMING, wire.Mark): TwilioStream._enqueue,
    (State.STREAMING, wire.Stop): TwilioStream._enqueue,
}
"""What a message does in a state. A pair that is not here breaks the protocol: close 1002."""
