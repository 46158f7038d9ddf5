"""Which stream belongs to which call: one stream SID to one call SID, one running stream to a track of a call.

Twilio opens one WebSocket for `track="both_tracks"`, and one for each `<Stream>` where a call has several. All streams
of a call share the call; it ends with its last stream. A stream of a track that is streamed already, or of another
account, is refused and the running one is not touched.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from connectors.calls import CallHandle, CallRegistry, LegHandle
from connectors.errors import StreamRefused
from connectors.media_ws.bulk import MediaLanes
from connectors.media_ws.config import Roles
from connectors.media_ws.events import AudioReceived, DtmfReceived, MediaEncoding, StreamStarted, StreamStats
from connectors.media_ws.track import Track
from connectors.stats import ConnectorStats
from pipeline.call import CallInfo, LegOptions
from pipeline.errors import CallError, EngineError, UnknownLocale
from pipeline.frames import AudioFrame, Encoding
from pipeline.intake import Intake, PacketIngest
from pipeline.playback import AudioOutlet
from pipeline.records import SpeakerRole
from supervision import Supervisor

logger = logging.getLogger(__name__)

POLICY, TRY_AGAIN_LATER = 1008, 1013

_ENCODINGS = {MediaEncoding.PCMU: Encoding.PCMU}
_CHANNEL = {Track.INBOUND: 0, Track.OUTBOUND: 1}


@dataclass(slots=True)
class _BoundCall:
    call: CallHandle
    account_sid: str
    streams: dict[str, "BoundStream"] = field(default_factory=dict)
    closing: set[asyncio.Future[None]] = field(default_factory=set)


@dataclass(slots=True)
class BoundStream:
    """A running stream and its legs."""

    started: StreamStarted
    bound: _BoundCall
    legs: dict[Track, LegHandle] = field(default_factory=dict)

    @property
    def encoding(self) -> Encoding:
        return _ENCODINGS[self.started.media_format.encoding]

    def push_packet(self, track: Track, pts: int, codes: bytes, arrival: float) -> None:
        """Audio of the fast path, as it came."""
        self.push(AudioReceived(track, pts, np.frombuffer(codes, np.uint8), arrival))

    def intakes(self, tracks: Sequence[Track]) -> list[Intake]:
        """Of the legs of these tracks; empty where one of them has none."""
        intakes = [self.legs[track].intake for track in tracks]
        return [one for one in intakes if one is not None] if None not in intakes else []

    def push(self, audio: AudioReceived) -> None:
        media = self.started.media_format
        frame = AudioFrame(audio.pts, audio.codes, self.encoding, media.sample_rate_hz, audio.arrival)
        self.legs[audio.track].push(frame)

    def connect_outlet(self, outlet: AudioOutlet) -> None:
        """The way back to who is on the inbound track. A stream with the outbound one is a copy of a call between two
        and has none: `<Connect><Stream>` is of the inbound track alone."""
        is_both_ways = list(self.legs) == [Track.INBOUND]
        for leg in self.legs.values():
            leg.connect_outlet(outlet if is_both_ways else None)

    def dtmf(self, event: DtmfReceived) -> None:
        """The wire does not say how long a key was held: duration 0."""
        if not self.bound.call.ended:
            self.bound.call.dtmf(str(event.track), event.digit, event.at_s, 0.0)

    def report(self, stats: StreamStats) -> None:
        """Copy the counters of the tracks to their legs, for the statistics of the call."""
        for track, leg in self.legs.items():
            counted = stats.tracks[track]
            leg.stats.packets, leg.stats.lost, leg.stats.late = counted.packets, counted.lost, counted.late


class CallBindings:
    """The running calls of one connector. `connector`: its name in the records. `account_sid`: the only one
    admitted."""

    def __init__(
        self,
        calls: CallRegistry,
        stats: ConnectorStats,
        connector: str,
        roles: Roles,
        account_sid: str | None = None,
    ) -> None:
        self.stats = stats
        self.supervisor = Supervisor()
        self._calls = calls
        self._connector = connector
        self._roles = {Track.INBOUND: SpeakerRole(roles.inbound), Track.OUTBOUND: SpeakerRole(roles.outbound)}
        self._account_sid = account_sid
        self._bound: dict[str, _BoundCall] = {}
        self._lanes: MediaLanes | None = None

    def lanes(self, ingest: PacketIngest) -> MediaLanes:
        """The lanes of this connector, which feed the pipeline's `ingest`."""
        if self._lanes is None or self._lanes.ingest is not ingest:
            self._lanes = MediaLanes(ingest, supervisor=self.supervisor)
        return self._lanes

    def bind(self, started: StreamStarted) -> BoundStream:
        """Start the stream's call, or join the one that runs. Its legs come with `add_legs`.

        Raises `StreamRefused`; nothing has been changed then.
        """
        if self._account_sid is not None and started.account_sid != self._account_sid:
            raise self._refusal(POLICY, "stream of another account")
        parameters = {name: value for name, value in started.parameters.items() if name not in ("from", "to")}
        bound = self._bound.get(started.call_sid)
        if bound is not None:
            streamed = {track for stream in bound.streams.values() for track in stream.started.tracks}
            if bound.account_sid != started.account_sid:
                raise self._refusal(POLICY, "call of another account")
            if started.stream_sid in bound.streams or streamed & set(started.tracks):
                raise self._refusal(POLICY, "track is already streamed")
            try:
                bound.call.update(parameters)
            except CallError as exc:
                raise self._refusal_for(exc) from exc
        else:
            from_, to = started.parameters.get("from"), started.parameters.get("to")
            info = CallInfo(started.call_sid, self._connector, from_=from_, to=to, metadata=parameters)
            try:
                bound = _BoundCall(self._calls.start(info, announce=False), started.account_sid)
            except CallError as exc:
                raise self._refusal_for(exc) from exc
            self._bound[started.call_sid] = bound
        stream = BoundStream(started, bound)
        bound.streams[started.stream_sid] = stream
        self.stats.started += 1
        self.stats.active += 1
        return stream

    async def add_legs(self, stream: BoundStream) -> None:
        """One leg a track; the call is announced with its first ones, once the engine takes them all. Raises
        `StreamRefused`; the stream is then to be closed."""
        try:
            for track in stream.started.tracks:
                stream.legs[track] = self._add_leg(stream, track)
            for leg in stream.legs.values():
                await leg.admitted()
            stream.bound.call.announce()
        except (CallError, EngineError) as exc:
            raise self._refusal_for(exc) from exc

    async def add_track(self, stream: BoundStream, track: Track) -> None:
        """One more leg of a running stream. Raises `StreamRefused`; the stream is then to be closed."""
        streams = stream.bound.streams.values()
        if any(track in other.started.tracks for other in streams):
            raise self._refusal(POLICY, "track is already streamed")
        stream.started = replace(stream.started, tracks=(*stream.started.tracks, track))
        try:
            leg = stream.legs[track] = self._add_leg(stream, track)
            await leg.admitted()
        except (CallError, EngineError) as exc:
            raise self._refusal_for(exc) from exc

    def _add_leg(self, stream: BoundStream, track: Track) -> LegHandle:
        started, call = stream.started, stream.bound.call
        language = started.parameters.get(f"language_{track}") or started.parameters.get("language") or None
        options = LegOptions(str(track), self._roles[track], _CHANNEL[track], language)
        try:
            return call.add_leg(options)
        except UnknownLocale:
            if language is None:
                raise
            self.stats.unknown_languages += 1
            logger.warning("call %s: the model lacks the language asked for on leg %s", started.call_sid, track)
            return call.add_leg(replace(options, language=None))

    async def settled(self, call_sid: str) -> None:
        """Wait while streams of this call are being ended: Twilio may open the next one before their last words are
        out. Bounded by the time a leg's flush may take."""
        while (bound := self._bound.get(call_sid)) is not None and bound.closing:
            await asyncio.wait(bound.closing)

    async def close(self, stream: BoundStream, reason: str) -> None:
        """End the stream's legs, and with the last stream the call; returns when their last records are out."""
        bound, call_sid = stream.bound, stream.started.call_sid
        del bound.streams[stream.started.stream_sid]
        self.stats.active -= 1
        closed = asyncio.get_running_loop().create_future()
        bound.closing.add(closed)
        try:
            if bound.streams:
                await asyncio.gather(*(leg.close() for leg in stream.legs.values()))
            else:
                try:
                    await bound.call.end(reason)
                finally:
                    self._bound.pop(call_sid)
        finally:
            bound.closing.remove(closed)
            closed.set_result(None)

    def _refusal_for(self, exc: CallError | EngineError) -> StreamRefused:
        if exc.retryable:
            return self._refusal(TRY_AGAIN_LATER, "no room for this call, try again later", retryable=True)
        return self._refusal(POLICY, "call refused")

    def _refusal(self, code: int, reason: str, *, retryable: bool = False) -> StreamRefused:
        if retryable:
            self.stats.turned_away += 1
        else:
            self.stats.refused += 1
        return StreamRefused(code, reason, retryable=retryable)
