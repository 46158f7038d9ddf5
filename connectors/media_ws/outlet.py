"""Audio to the peer of a media stream that goes both ways: Twilio's `<Connect><Stream>` and what copies it.

The idea
    The peer has a buffer and plays it at its own pace. Audio is sent `LEAD_MS` ahead, so that the network may be late
    by that much, and `clear` empties the buffer when we stop. A mark comes back when all before it was played; on
    `clear` those that are left come back at once and say nothing. So what was heard is known at the marks, and between
    two of them the clock goes on from the first, but not past the second: the error is the way there and back, whatever
    the peer does.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.errors import LocalProtocolError
from pipeline.errors import NotPlayed, PlaybackError
from pipeline.g711 import encode_mulaw

LEAD_MS = 200

MARK_MS = 500
"""So far apart marks are set. Each one takes the stream out of its lane (`connection`) for some messages."""

OVERDUE_S = 5.0
"""A mark that comes so late does not come: the peer plays nothing."""

_PACKET_MS = 20


class PlayingDialect(Protocol):
    """A core whose peer plays what it is sent. Its messages, each of which raises `LocalProtocolError` outside a
    running stream."""

    def play(self, codes: bytes) -> str: ...

    def mark(self, name: str) -> str: ...

    def clear(self) -> str: ...


class _Mark(NamedTuple):
    """`position_ms`: all before it was sent before it. `due`: when it will have been played, monotonic."""

    name: str
    position_ms: int
    due: float


class MarkedOutlet:
    """Fulfils `pipeline.playback.AudioOutlet`. `send`: puts a text message on the socket."""

    sample_rate_hz = 8_000
    packet_ms = _PACKET_MS
    lead_ms = LEAD_MS

    def __init__(
        self, dialect: PlayingDialect, send: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sent_ms = 0
        self._dialect, self._send, self._clock = dialect, send, clock
        self._closed = False
        self._marks: deque[_Mark] = deque()
        self._named = 0
        self._marked_ms = 0
        self._played_ms = 0
        self._known_ms, self._known_at = 0, 0.0  # a place on the line, and when the peer was there

    @property
    def ready(self) -> bool:
        return not self._closed

    @property
    def fault(self) -> PlaybackError | None:
        if self._marks and self._clock() - self._marks[0].due > OVERDUE_S:
            return NotPlayed(
                "the peer plays nothing of what it is sent: <Start><Stream> only listens, use <Connect><Stream>"
            )
        return None

    def send(self, pcm: NDArray[np.int16], at: float, *, starts: bool) -> None:  # noqa: ARG002 - the peer has a clock
        now = self._clock()
        if self.played_ms(now) == self.sent_ms:
            self._known_ms, self._known_at = self.sent_ms, now
        self._post(lambda: self._dialect.play(encode_mulaw(pcm).tobytes()))
        self.sent_ms += _PACKET_MS
        if self.sent_ms - self._marked_ms >= MARK_MS:
            self.confirm()

    def confirm(self) -> None:
        if self._marked_ms < self.sent_ms:
            self._marked_ms = self.sent_ms
            self._named += 1
            now = self._clock()
            mark = _Mark(f"trunkline-{self._named}", self.sent_ms, now + (self.sent_ms - self.played_ms(now)) / 1000)
            self._marks.append(mark)
            self._post(lambda: self._dialect.mark(mark.name))

    def mark_received(self, name: str) -> None:
        """A mark came back. One that is not waited for is of before a `clear`."""
        place = next((index for index, mark in enumerate(self._marks) if mark.name == name), None)
        if place is not None:
            for _ in range(place + 1):
                self._known_ms, self._known_at = self._marks.popleft().position_ms, self._clock()

    def played_ms(self, now: float) -> int:
        by_clock = self._known_ms + round((now - self._known_at) * 1000)
        limit = self._marks[0].position_ms - _PACKET_MS if self._marks else self.sent_ms
        self._played_ms = max(self._played_ms, self._known_ms, min(by_clock, limit))
        return self._played_ms

    def clear(self) -> None:
        self._post(self._dialect.clear)
        self._marks.clear()
        self._marked_ms = self._played_ms = self._known_ms = self.sent_ms

    def close(self) -> None:
        """The stream is over: nothing more is sent."""
        self._closed = True

    def _post(self, message: Callable[[], str]) -> None:
        if self._closed:
            return
        try:
            self._send(message())
        except LocalProtocolError:  # the peer has ended the stream
            self._closed = True
