"""What a session was asked, in order: its audio and the requests between it, kept so that all can be asked again.

After an engine was lost, the log is rewound to an earlier point of the audio and goes out anew: the requests at the
samples they stood at, so that the new engine is asked exactly what the old one was.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ
from engine.chunking import FLUSH_FRAMES, FRAME, FRAME_MS, chunk_end
from engine.remote.takeover.audio_ring import AudioRing

_WINDOW_S = 2.0
"""Audio of a rewound session that may be with the engine and not consumed yet: bounds the memory of many replays at
once."""


@dataclass(slots=True)
class Request:
    """A `finalize` (`language` None) or a change of language, after `at` samples. `answered`: its final was reported.

    `consumed`: samples that the engine had consumed. A language is for the next step, a final for all audio before it.
    """

    at: int
    consumed: int
    language: str | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Samples `begin` up to `end` are due."""

    begin: int
    end: int


class SendClose:
    """Everything was sent, and the session was closed."""


Outgoing = SendAudio | Request | SendClose


class ReplayLog:
    """`audio`: what was pushed. `consumed`: samples that the present engine has consumed. `paced`: the engine is taking
    up what another one had, and gets no more at once than it can consume soon. All positions are samples since the
    session began.

    Kept are the last `capacity` samples and the requests among them: no more than were made in that time.
    """

    def __init__(self, chunk_ms: int, language: str, capacity: int) -> None:
        self.audio = AudioRing(capacity)
        self.closed = False
        self.start = 0
        self.consumed = 0
        self.language = language  # with which the present opening begins
        self._first_language = language  # of the oldest audio kept
        self.close_sent = False
        self._frames = chunk_ms // FRAME_MS
        self._window = max(int(_WINDOW_S * SAMPLE_RATE_HZ), 2 * self._frames * FRAME)
        self._requests: deque[Request] = deque()
        self._next = 0  # index of the first request not sent
        self._sent = 0
        self._audible_from = 0  # before this sample, the present engine gets silence
        self._awaited: deque[Request] = deque()  # finals asked for and not reported by the present engine
        self.paced = False

    @property
    def chunk(self) -> int:
        """Samples a chunk advances."""
        return self._frames * FRAME

    @property
    def overrun(self) -> bool:
        """Audio was written over that had not been sent."""
        return self._sent < self.audio.first

    @property
    def unanswered(self) -> bool:
        """The engine owes something: audio it could step on, a final, the end."""
        ready = self._sent - self.consumed >= 2 * self.chunk
        return ready or bool(self._awaited) or self.close_sent

    @property
    def next_final_is_repeat(self) -> bool:
        """The next final was reported already, by an engine that is gone."""
        return bool(self._awaited) and self._awaited[0].answered

    @property
    def has_repeats(self) -> bool:
        """Some final is still to come that was reported already."""
        to_come = chain(self._awaited, islice(self._requests, self._next, None))
        return any(request.answered for request in to_come)

    def push(self, pcm: NDArray[np.float32]) -> None:
        self.audio.append(pcm)

    def finalize(self) -> None:
        self._drop_old()
        self._requests.append(Request(self.audio.end, self._position))

    def set_language(self, language: str) -> None:
        self._drop_old()
        self._requests.append(Request(self.audio.end, self._position, language))

    def read(self, begin: int, end: int) -> NDArray[np.float32]:
        """Audio as it is to be sent; valid until the next `push`."""
        pcm = self.audio.read(begin, end)
        if begin < self._audible_from:
            pcm = pcm.copy()
            pcm[: self._audible_from - begin] = 0
        return pcm

    def answer_final(self) -> int:
        """The oldest final that the present engine was asked for came. Returns the sample up to which it was asked for,
        and the flush after it."""
        if not self._awaited:
            return self.audio.end
        request = self._awaited.popleft()
        request.answered = True
        return request.at + max(FLUSH_FRAMES * FRAME, self.chunk) + self.chunk

    def rewind(self, start: int, audible_from: int) -> None:
        """Ask a new engine everything from sample `start` on, with silence up to sample `audible_from`."""
        self.start = self.consumed = self._sent = start
        self._audible_from = audible_from
        self.close_sent = False
        self.paced = True
        self._awaited.clear()
        self._next = 0
        self.language = self._first_language
        for request in self._requests:
            if request.at >= start:
                break
            if request.language is not None:
                self.language = request.language
            elif not request.answered:
                request.at = start  # its audio is gone: the final is of what is left
                break
            self._next += 1

    def due_audio(self) -> tuple[int, int] | None:
        """`due` for the common case: the audio, taken as sent, where nothing but audio is due; else None."""
        if self.paced or self.closed or self._next < len(self._requests):
            return None
        begin, self._sent = self._sent, self.audio.end
        return begin, self._sent

    def due(self) -> Iterator[Outgoing]:
        """What to send now, in order; taken as sent when it was yielded."""
        end = self.audio.end
        while True:
            request = self._requests[self._next] if self._next < len(self._requests) else None
            stop = self._stop(request)
            if stop > self._sent:
                begin, self._sent = self._sent, stop
                yield SendAudio(begin, stop)
            if request is None or not self._is_due(request):
                break
            self._next += 1
            if request.language is None:
                self._awaited.append(request)
            yield request
        if self._sent == end and self._next == len(self._requests):
            self.paced = False
            if self.closed and not self.close_sent:
                self.close_sent = True
                yield SendClose()

    def _stop(self, request: Request | None) -> int:
        """Where the audio to be sent before `request` ends."""
        stop = self.audio.end if request is None else min(self.audio.end, request.at)
        if not self.paced:
            return stop
        if request is not None and request.language is not None:
            stop = min(stop, max(self._next_end(request.consumed) - 1, self._sent))
        return min(stop, self.consumed + self._window)

    def _is_due(self, request: Request) -> bool:
        if not self.paced or request.language is None:
            return self._sent >= request.at
        # The step after which the language was changed has been done, or cannot be done with the audio there is.
        sent_for_it = self._sent >= min(request.at, self._next_end(request.consumed) - 1)
        return self.consumed >= request.consumed or (sent_for_it and self._sent < self._next_end(self.consumed))

    def _next_end(self, consumed: int) -> int:
        """Samples that the engine needs to step when it has consumed `consumed`."""
        return self.start + chunk_end(0, self._frames) if consumed <= self.start else consumed + self.chunk

    @property
    def _position(self) -> int:
        """Samples that an engine that is there and keeps up has consumed."""
        return max(self.audio.end - 2 * self.chunk, self.consumed)

    def _drop_old(self) -> None:
        """Drop requests that can never be asked again."""
        while self._next and self._requests[0].at < self.audio.first:
            oldest = self._requests[0]
            if oldest.language is None and not oldest.answered:
                return
            if oldest.language is not None:
                self._first_language = oldest.language
            self._requests.popleft()
            self._next -= 1
