"""One socket of a media dialect: its messages and timers to the core, the core's events to the call.

The clock is read here and nowhere else. A fault of the peer closes its socket and ends its stream; it is logged once,
and no other call notices.
"""

import logging
import time

from aiohttp import WSCloseCode, WSMsgType, web

from connectors.errors import StreamRefused
from connectors.media_ws.bindings import BoundStream, CallBindings
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import Anomaly, Audio, Dialect, Dtmf, Event, ProtocolError, Stopped, StreamStarted

logger = logging.getLogger(__name__)


class Peer:
    """One socket with its core and stream. `code`, `close_reason`: for the close frame. `reason`: for the END of the
    call."""

    def __init__(self, ws: web.WebSocketResponse, core: Dialect, bindings: CallBindings, limits: MediaLimits) -> None:
        self.code, self.close_reason, self.reason = int(WSCloseCode.OK), "", ""
        self._ws, self._core, self._bindings, self._limits = ws, core, bindings, limits
        self._stream: BoundStream | None = None
        self._call = "-"
        self._warned = False
        self._deadline = time.monotonic() + limits.start_timeout_s
        self._stats = bindings.stats
        self._stats.pending += 1

    async def run(self) -> None:
        """Until the stream is over or its socket is."""
        try:
            while not self.reason:
                await self._next()
        except StreamRefused as exc:
            self._fault(exc.close_code, exc.reason, exc.reason)
        except Exception:
            logger.exception("call %s: media stream failed", self._call)
            self._fault(WSCloseCode.INTERNAL_ERROR, "internal error", "internal error")

    async def _next(self) -> None:
        """One message, or one timer."""
        core, timer = self._core, self._core.next_timer()
        due = self._deadline if timer is None else min(self._deadline, timer)
        try:
            message = await self._ws.receive(max(due - time.monotonic(), 0.001))
        except TimeoutError:
            now = time.monotonic()
            await self._apply(core.handle_timer(now))
            if now >= self._deadline and not self.reason:
                await self._apply(core.connection_lost(now))
                self._fault(WSCloseCode.POLICY_VIOLATION, "no message in time", "timeout")
            return
        now = time.monotonic()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            await self._apply(core.receive(message.data, now))
            if self._stream is not None:
                self._deadline = now + self._limits.idle_timeout_s
                if self._stream.bound.call.ended and not self.reason:
                    self._fault(WSCloseCode.GOING_AWAY, "the call was ended", "ended")
            return
        await self._apply(core.connection_lost(now))
        if message.type is WSMsgType.ERROR:  # the socket refused a frame and has closed itself
            self._fault(self._ws.close_code or WSCloseCode.PROTOCOL_ERROR, str(message.data), "protocol error")
        elif not self.reason:
            self.reason = "shutdown" if message.type is WSMsgType.CLOSING else "disconnected"

    async def _apply(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case StreamStarted():
                    self._call = event.call_sid
                    await self._bindings.settled(event.call_sid)
                    self._stream = self._bindings.bind(event)
                    self._stats.pending -= 1
                    self._bindings.add_legs(self._stream)
                    logger.info("call %s: stream %s started: %s", self._call, event.stream_sid, "+".join(event.tracks))
                case Audio() if self._stream is not None:
                    self._stream.push(event)
                case Dtmf() if self._stream is not None:
                    self._stream.dtmf(event)
                case Anomaly():
                    self._warn(event.detail)
                case Stopped():
                    self.reason = "completed"
                case ProtocolError():
                    self._fault(event.close_code, event.reason, "protocol error")

    def _fault(self, code: int, close_reason: str, reason: str) -> None:
        self.code, self.close_reason, self.reason = int(code), close_reason, reason
        self._stats.closed[self.code] += 1
        self._warn(f"closing with {self.code}: {close_reason}")

    def _warn(self, detail: str) -> None:
        """Once per stream; what follows shows in the counters."""
        if not self._warned:
            self._warned = True
            logger.warning("call %s: %s", self._call, detail)

    async def end(self) -> None:
        """Count the stream, end it and, with its last stream, its call."""
        counted, total = self._core.stats, self._stats
        for track in counted.tracks.values():
            total.packets += track.packets
            total.lost += track.lost
            total.late += track.late
            total.duplicates += track.duplicates
        total.malformed += counted.malformed
        total.unknown_events += counted.unknown_events
        if self._stream is None:
            total.pending -= 1
            return
        total.ended[self.reason] += 1
        self._stream.report(counted)
        await self._bindings.close(self._stream, self.reason)
        logger.info("call %s: stream %s ended: %s", self._call, self._stream.started.stream_sid, self.reason)
