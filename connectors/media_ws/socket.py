"""A server's WebSocket that hands whole text messages over as they are read, before anybody waits for them.

Of the messages of a running stream nearly all are audio in order, which needs no answer and nothing to wait for. What
aiohttp does for each of them, a queue, a future, a turn of the task, costs more than the message itself
(docs/decisions/connectors.md). `Frames.fast_path` is asked first, with the bytes of the message; what it does not
take goes the ordinary way, through `receive`, and so does everything after it until that was handled, so that the order
stays. Frames of any other kind always go that way: aiohttp judges them. A socket in a lane (`bulk`) leaves even the
looking to it.
"""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.writer import WebSocketWriter

from connectors.media_ws.bulk import ALIVE_INTERVAL_S, MediaLanes
from connectors.media_ws.framing import CLOSE, HEAD_16, MASKED_16, TEXT, frame_length, text_frame

FastPath = Callable[[bytearray, float], bool]
"""The bytes of a text message, ASCII, and the monotonic time. False: it is not taken, nothing has
changed."""

_MAX_HELD = 2_048
"""Beginnings of shorter frames wait here for their end; of longer ones, aiohttp gets what there is."""


class Frames(asyncio.Protocol):
    """Finds the frames in what the peer sends (RFC 6455, section 5.2): the protocol of an upgraded connection, before
    aiohttp's, which gets everything else.

    `fast_path`: who is asked first; None: nobody. `handled`: to be called for each text or binary message that
    `receive` returned, when it was dealt with. `max_bytes`: of a message; longer ones are aiohttp's to refuse.
    `peer_alive`: to be called now and then while the peer sends what aiohttp does not see. `lanes`, `lane`: where this
    socket has a lane, and which; None: it has none.
    """

    def __init__(self, protocol: asyncio.Protocol, peer_alive: Callable[[], None], max_bytes: int) -> None:
        self.fast_path: FastPath | None = None
        self.peer_alive = peer_alive
        self.lanes: MediaLanes | None = None
        self.lane = 0
        self._protocol, self._max_size = protocol, max_bytes + HEAD_16
        self._left = 0  # bytes of a frame that aiohttp has the beginning of
        self._head = b""  # beginning of a header, or of a frame
        self._unfinished = False  # aiohttp has the first frames of a message
        self._waiting = 0  # messages aiohttp has that are not dealt with
        self._alive_at = 0.0

    def handled(self) -> None:
        self._waiting -= 1

    def enter(self, lanes: MediaLanes, lane: int) -> None:
        """Everything from here on is for this lane. Only from within `fast_path`, for what comes after its message."""
        self.lanes, self.lane = lanes, lane

    def leave(self) -> None:
        """Out of the lane."""
        self.lanes = None

    def data_received(self, data: bytes) -> None:
        if self.lanes is not None:
            self.lanes.add(self.lane, data)
        elif self._left or self._head or self.fast_path is None or not self._take(self.fast_path, data):
            self._feed(data)

    def eof_received(self) -> bool | None:
        if self.lanes is not None:
            self.lanes.flush()
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lanes is not None:
            self.lanes.flush()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def _take(self, fast_path: FastPath, frame: bytes) -> bool:
        size = len(frame)
        if (
            not HEAD_16 < size <= self._max_size
            or self._waiting
            or self._unfinished
            or frame[0] != TEXT
            or frame[1] != MASKED_16
            or (frame[2] << 8 | frame[3]) + HEAD_16 != size
        ):
            return False
        message = bytearray(frame[HEAD_16:])
        websocket_mask(frame[4:HEAD_16], message)
        now = time.monotonic()
        if not message.isascii() or not fast_path(message, now):
            return False
        if now - self._alive_at > ALIVE_INTERVAL_S:
            self._alive_at = now
            self.peer_alive()
        return True

    def _feed(self, data: bytes) -> None:
        """Any number of frames, the first and the last of which may be in part."""
        if self._head:
            data, self._head = self._head + data, b""
        at, size = 0, len(data)
        while at < size:
            if self.lanes is not None:
                self.lanes.add(self.lane, data[at:])
                break
            if not self._left:
                length = frame_length(data, at)
                if length is None:
                    self._head = data[at:]
                    break
                if self.fast_path is not None:
                    if self._take(self.fast_path, data[at : at + length]):
                        at += length
                        continue
                    if size - at < length <= _MAX_HELD:
                        self._head = data[at:]
                        break
                self._note(data[at])
                self._left = length
            part = data[at : at + self._left]
            self._left -= len(part)
            at += len(part)
            self._protocol.data_received(part)

    def _note(self, first: int) -> None:
        """A frame goes the ordinary way."""
        final, kind = first >= 0x80, first & 0x0F
        if kind == CLOSE:
            self.fast_path = None
        elif kind < CLOSE:
            self._unfinished = not final
            self._waiting += final


class MediaSocket(web.WebSocketResponse):
    """`frames`: None before the upgrade, and for a peer that did not wait for our answer to it."""

    frames: Frames | None = None
    _wire: asyncio.Transport | None = None

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        handler = request.protocol
        early = handler._message_tail
        super()._post_start(request, protocol, writer)
        self._wire = request.transport
        if not early and request.transport is not None:
            self.frames = Frames(handler, self._on_data_received, self._max_msg_size)
            request.transport.set_protocol(self.frames)

    def send_now(self, text: str) -> None:
        """A text message, without waiting for what was sent before; lost once the socket is being closed. Frames of a
        server are not masked (RFC 6455, section 5.1), and one write is never cut by another, such as a pong of
        aiohttp's."""
        wire = self._wire
        if wire is not None and not self.closed and not wire.is_closing():
            wire.write(text_frame(text.encode()))
