"""One socket of a media dialect: its messages and timers to the core, the core's events to the call.

The clock is read here and nowhere else. A fault of the peer closes its socket and ends its stream; it is logged once,
and no other call notices.

A message takes one of three ways. Each needs all that stands in its rows, and the rows of the ways above it:

| way | for a message if | checked by |
|---|---|---|
| slow path | - | `_next`, `MediaDialect.receive` |
| fast path | it is one whole masked text frame, of ASCII | `Frames._take` |
| | nothing before it is unfinished or not dealt with | `Frames._take` |
| | the stream runs, and so does its call | `_receive_next` |
| | it is the audio that was due | `MediaDialect.receive_next` |
| lane | the last `ENTER_AFTER` messages took the fast path | `_receive_next` |
| | they say what the next message of each track is | `MediaDialect.foresee` |
| | the leg of each track is in order in the pipeline: it has a ticket | `_enter` |
| | it is as foreseen | `MediaLanes.flush` |

A stream leaves its lane in three ways. In each `leave` has the core count what passed by it:

| way out | when | what waits for the lane |
|---|---|---|
| `MediaLanes.flush` | a frame is not as foreseen: another message, a ping, a close | goes back to `Frames` |
| | the call was ended, or a number got too many digits: no frame fits any more | goes back to `Frames` |
| | the lanes failed to take a batch | goes back to `Frames` |
| `_next` | aiohttp has a message or the end of the socket | is taken first |
| `_tick`, `run`, `end` | no message came in time; the stream is over | is taken first |

After a lane a stream enters another one after four messages on the fast path, two of each track of two.
"""

import asyncio
import logging
import math
import time

from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from connectors.errors import StreamRefused
from connectors.media_ws.bulk import MediaLanes, StreamEntry
from connectors.media_ws.calls import BoundStream, CallBindings
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import (
    Anomaly,
    AudioReceived,
    DtmfReceived,
    MarkReceived,
    MediaDialect,
    MediaEvent,
    ProtocolError,
    StreamStarted,
    StreamStopped,
    TrackAdded,
)
from connectors.media_ws.outlet import MarkedOutlet
from connectors.media_ws.socket import Frames, MediaSocket
from connectors.media_ws.track import Track
from pipeline.narrowband import OFFSETS

logger = logging.getLogger(__name__)

ENTER_AFTER = 8
"""Messages in a row on the fast path before a lane."""


class MediaConnection:
    """One socket with its core and stream. `code`, `close_reason`: for the close frame. `reason`: for the END of the
    call."""

    def __init__(self, ws: MediaSocket, core: MediaDialect, bindings: CallBindings, limits: MediaLimits) -> None:
        self.code, self.close_reason, self.reason = int(WSCloseCode.OK), "", ""
        self._ws, self._core, self._bindings, self._limits = ws, core, bindings, limits
        self._stream: BoundStream | None = None
        self._call = "-"
        self._outlet = MarkedOutlet(core, ws.send_now)
        self._warned = False
        self._in_order = 0
        self._deadline = time.monotonic() + limits.start_timeout_s
        self._armed_for = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._stats = bindings.stats
        self._stats.pending += 1

    async def run(self) -> None:
        """Until the stream is over or its socket is."""
        self._arm()
        try:
            while not self.reason:
                await self._next()
                self._arm()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this stream and no other
            self._broken(exc)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._leave_lane_at_end()
            if self._ws.frames is not None:
                self._ws.frames.fast_path = None

    async def _next(self) -> None:
        """One message of the socket."""
        message = await self._ws.receive()
        self._leave_lane()
        self._in_order = 0
        now = time.monotonic()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            for event in self._core.receive(message.data, now):
                if isinstance(event, StreamStarted):
                    await self._start(event)
                elif isinstance(event, TrackAdded) and self._stream is not None:
                    await self._bindings.add_track(self._stream, event.track)
                    self._stream.connect_outlet(self._outlet)
                else:
                    self._apply(event)
            if self._stream is not None:
                self._deadline = now + self._limits.idle_timeout_s
                if self._stream.bound.call.ended and not self.reason:
                    self._ended(self._stream.bound.call.fault)
            if self._ws.frames is not None:
                self._ws.frames.handled()
                self._ws.frames.fast_path = None if self.reason else self._receive_next
            return
        for event in self._core.connection_lost(now):
            self._apply(event)
        if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
            # The frame was refused below the dialect, for its size or its coding, and the socket has closed itself.
            self._fault(message.data.code, str(message.data), "protocol error")
        elif not self.reason:
            self.reason = "shutdown" if message.type is WSMsgType.CLOSING else "disconnected"

    def _receive_next(self, data: bytearray, now: float) -> bool:
        """Take a message at once if it is just the audio that was due."""
        stream = self._stream
        if stream is None or self.reason or stream.bound.call.ended:
            return False
        try:
            packet = self._core.receive_next(data, now)
            if packet is None:
                return False
            track, pts, codes = packet
            stream.push_packet(track, pts, codes, now)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this stream and no other
            self.failed(exc)
            return True
        self._deadline = now + self._limits.idle_timeout_s
        self._in_order += 1
        if self._in_order >= ENTER_AFTER and self._ws.frames is not None:
            self._enter(stream, self._ws.frames, now)
        return True

    def _enter(self, stream: BoundStream, frames: Frames, now: float) -> None:
        """Into a lane, past the core, if it can say what the next messages will be like."""
        foreseen, self._in_order = self._core.foresee(), 0
        intakes = stream.intakes([one.track for one in foreseen])
        tickets = [ticket for one in intakes if (ticket := one.ticket) is not None]
        if not foreseen or len(tickets) < len(foreseen):
            return
        lanes = self._bindings.lanes(intakes[0].ingest)
        frames.enter(lanes, lanes.enter(StreamEntry(self, frames, foreseen, tickets, OFFSETS[stream.encoding], now)))

    @property
    def over(self) -> bool:
        return self._stream is None or self._stream.bound.call.ended

    def push_packet(self, track: Track, pts: int, codes: bytes, arrival: float) -> None:
        """A packet of a lane that the pipeline did not take there."""
        if self._stream is not None:
            self._stream.push_packet(track, pts, codes, arrival)

    def leave(self) -> None:
        """Out of the lane: the core counts what passed by it and gets the next messages again."""
        frames = self._ws.frames
        if frames is not None and frames.lanes is not None:
            self._extend_deadline(frames.lanes, frames.lane)
            self._core.passed_by(frames.lanes.leave(frames.lane))
            frames.leave()
            self._in_order = ENTER_AFTER - 2 * len(Track)  # what is needed to foresee the next ones

    def _extend_deadline(self, lanes: MediaLanes, lane: int) -> None:
        self._deadline = max(self._deadline, lanes.received_at(lane) + self._limits.idle_timeout_s)

    def failed(self, exc: Exception) -> None:
        """Close, for a fault that came to light in reading."""
        self._broken(exc)
        self._closing = self._bindings.supervisor.spawn(self.close(), "close of a socket")

    def _leave_lane(self) -> None:
        """Out of the lane once what waits for it is taken; nothing outside a lane."""
        frames = self._ws.frames
        if frames is not None and frames.lanes is not None:
            frames.lanes.flush()
            self.leave()

    def _leave_lane_at_end(self) -> None:
        try:
            self._leave_lane()
        except Exception as exc:  # noqa: BLE001 - the stream ends all the same
            self._bindings.supervisor.fault("media stream", exc, f"call {self._call}: its last audio may be missing")

    async def _start(self, started: StreamStarted) -> None:
        self._call = started.call_sid
        await self._bindings.settled(started.call_sid)
        self._stream = self._bindings.bind(started)
        self._stats.pending -= 1
        self._deadline = time.monotonic() + self._limits.idle_timeout_s
        await self._bindings.add_legs(self._stream)
        self._stream.connect_outlet(self._outlet)
        logger.debug("call %s: stream %s started: %s", self._call, started.stream_sid, "+".join(started.tracks))

    def _apply(self, event: MediaEvent) -> None:
        match event:
            case AudioReceived() if self._stream is not None:
                self._stream.push(event)
            case DtmfReceived() if self._stream is not None:
                self._stream.dtmf(event)
            case MarkReceived():
                self._outlet.mark_received(event.name)
            case Anomaly():
                self._warn(event.detail)
            case StreamStopped():
                self.reason = "completed"
            case ProtocolError():
                self._fault(event.close_code, event.reason, "protocol error")

    def _arm(self) -> None:
        """See that `_tick` comes in time. One timer serves the core and the deadline, which mostly moves on before it
        is reached: a timer for each message would cost as much as the message."""
        timer = self._core.next_timer()
        due = self._deadline if timer is None else min(self._deadline, timer)
        if due < self._armed_for and not self.reason:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for = due
            self._timer = asyncio.get_running_loop().call_later(due - time.monotonic(), self._tick)

    def _tick(self) -> None:
        self._armed_for = math.inf
        now = time.monotonic()
        frames = self._ws.frames
        if frames is not None and frames.lanes is not None:
            self._extend_deadline(frames.lanes, frames.lane)
            if now < self._deadline:
                return self._arm()
        try:
            self._leave_lane()
            for event in self._core.handle_timer(now):
                self._apply(event)
            if now >= self._deadline and not self.reason:
                for event in self._core.connection_lost(now):
                    self._apply(event)
                self._fault(WSCloseCode.POLICY_VIOLATION, "no message in time", "timeout")
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this stream and no other
            self._broken(exc)
        if self.reason:  # `run` waits for a message: closing the socket gives it one
            self._closing = self._bindings.supervisor.spawn(self.close(), "close of a socket")
        self._arm()

    async def close(self) -> None:
        """Close the socket with what was decided."""
        await self._ws.close(code=self.code, message=self.close_reason.encode()[:120])

    def _broken(self, exc: Exception) -> None:
        """A refusal, or a fault of ours, which ends this stream only."""
        if isinstance(exc, StreamRefused):
            self._fault(exc.close_code, exc.reason, exc.reason)
        else:
            what = f"call {self._call}: media stream failed"
            self._bindings.supervisor.fault("media stream", exc, what, always=True)
            self._fault(WSCloseCode.INTERNAL_ERROR, "internal error", "internal error")

    def _ended(self, fault: str | None) -> None:
        """The pipeline has ended the call: for a limit, or for a fault of ours, after which the peer may try again."""
        if fault is None:
            self._close_with(WSCloseCode.GOING_AWAY, "the call was ended", "ended")
        else:
            self._fault(WSCloseCode.TRY_AGAIN_LATER, fault, fault)

    def _fault(self, code: int, close_reason: str, reason: str) -> None:
        self._close_with(code, close_reason, reason)
        self._warn(f"closing with {self.code}: {close_reason}")

    def _close_with(self, code: int, close_reason: str, reason: str) -> None:
        self.code, self.close_reason, self.reason = int(code), close_reason, reason
        self._stats.closed[self.code] += 1

    def _warn(self, detail: str) -> None:
        """Once per stream; what follows shows in the counters."""
        if not self._warned:
            self._warned = True
            logger.warning("call %s: %s", self._call, detail)

    async def end(self) -> None:
        """Count the stream, end it and, with its last stream, its call."""
        self._leave_lane_at_end()
        self._outlet.close()
        counted, total = self._core.stats, self._stats
        for track in counted.tracks.values():
            total.packets += track.packets
            total.lost += track.lost
            total.late += track.late
            total.duplicates += track.duplicates
        total.malformed += counted.malformed
        total.unknown_events += counted.unknown_events
        total.irregular += counted.irregular
        total.implausible += counted.implausible
        total.restarts += counted.restarts
        if self._stream is None:
            total.pending -= 1
            return
        total.ended[self.reason] += 1
        self._stream.report(counted)
        await self._bindings.close(self._stream, self.reason)
        logger.debug("call %s: stream %s ended: %s", self._call, self._stream.started.stream_sid, self.reason)
