"""The host's side of one session: its audio, its position, its words."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ, Session
from engine.chunking import FRAME, FRAME_MS, chunk_begin, chunk_end, flushed_chunks
from engine.sessions.language_lock import LanguageLock, Move, Rewrite, TimedToken
from engine.sessions.transcript import Transcript

_PACE = 0.75
"""Audio that comes up to a third faster than real time counts as live."""


class AudioBuffer:
    """Samples that are still needed, addressed by their index in the stream. Not bounded: its owner discards."""

    def __init__(self) -> None:
        self._data = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)
        self._start = 0
        self._stop = 0
        self._first = 0

    @property
    def end(self) -> int:
        """Index after the last sample."""
        return self._first + self._stop - self._start

    def append(self, pcm: NDArray[np.float32]) -> None:
        needed = self._stop - self._start + len(pcm)
        if self._stop + len(pcm) > len(self._data):
            data = self._data if needed <= len(self._data) // 2 else np.zeros(2 * needed, np.float32)
            data[: self._stop - self._start] = self._data[self._start : self._stop]
            self._data, self._start, self._stop = data, 0, self._stop - self._start
        self._data[self._stop : self._stop + len(pcm)] = pcm
        self._stop += len(pcm)

    def read(self, begin: int, out: NDArray[np.float32]) -> None:
        """Fill `out` from index `begin` on; zeros before the stream's start and after its end."""
        low, high = max(begin, self._first), min(begin + len(out), self.end)
        if high <= low:
            out[:] = 0
            return
        out[: low - begin] = 0
        offset = self._start - self._first
        out[low - begin : high - begin] = self._data[low + offset : high + offset]
        out[high - begin :] = 0

    def discard(self, before: int) -> None:
        """Forget samples before index `before`."""
        count = min(max(0, before - self._first), self._stop - self._start)
        self._start += count
        self._first += count

    def clone(self, end: int) -> "AudioBuffer":
        """An independent copy of the samples before index `end`."""
        clone = AudioBuffer()
        clone._first = self._first
        clone.append(self._data[self._start : self._start + max(0, end - self._first)])
        return clone


class Stream:
    """One session, or the clone of one that is being flushed for `finalize`.

    A `finalize` sets a mark at the end of the audio so far. When the next chunk would go past it the stream stands
    still, and a clone in a slot of its own is flushed with silence; its words are the final. Then the stream goes on
    from where it was. `reported_ahead`: what a clone brought, tokens at their frames and rewrites, in order.

    `chunks` counts steps taken. `skipped_frames`: encoder frames of audio thrown away because the engine was too slow
    to step it; later frames keep their true time. `marks`: sample counts at which finals were asked for. `dropped`: its
    owner is gone, and it ends without a flush. `fault`: what of ours ended it, in a line. `completed_at`: when the
    audio of the chunk read last was complete; None for flushing silence. `locks_language`: the session asked for a
    language lock; `lock`: the one it has, None where its language is given.
    """

    def __init__(self, session: Session, slot: int, prompt: int, transcript: Transcript) -> None:
        self.session = session
        self.slot = slot
        self.prompt = prompt
        self.transcript = transcript
        self.audio = AudioBuffer()
        self.chunks = 0
        self.skipped_frames = 0
        self.closing = False
        self.dropped = False
        self.fault: str | None = None
        self.marks: deque[int] = deque()
        self.parent: Stream | None = None
        self.has_clone = False
        self.reported_ahead: list[tuple[int, int] | Rewrite] = []
        self.locks_language = False
        self.lock: LanguageLock | None = None
        self.completed_at: float | None = None
        self._completions: deque[float] = deque()
        self._paced_to = float("-inf")
        self._frames = session.chunk_ms // FRAME_MS

    def clone(self, slot: int) -> "Stream":
        """A copy that will be flushed for the oldest mark: it steps what was pushed before, and no more comes."""
        clone = Stream(self.session, slot, self.prompt, self.transcript.clone())
        clone.audio = self.audio.clone(self.marks[0])
        clone.chunks, clone.skipped_frames = self.chunks, self.skipped_frames
        clone.closing, clone.parent = True, self
        clone.lock = self.lock.clone() if self.lock is not None else None
        self.has_clone = True
        return clone

    def push(self, pcm: NDArray[np.float32], now: float) -> None:
        """Append audio and note which chunks it completes.

        Speech comes no faster than in real time, give or take a network's jitter: of a recording that comes at once the
        chunks count as complete one after the other.
        """
        self.audio.append(pcm)
        waiting = self.chunks + len(self._completions)
        while chunk_end(waiting, self._frames) + self._skipped <= self.audio.end:
            self._paced_to = max(now, self._paced_to + _PACE * self.session.chunk_ms / 1000)
            self._completions.append(self._paced_to)
            waiting += 1

    def ready_since(self, now: float) -> float:
        """When the next chunk became complete; now for flushing silence."""
        return min(now, self._completions[0]) if self._completions else now

    @property
    def _skipped(self) -> int:
        return self.skipped_frames * FRAME

    @property
    def consumed_s(self) -> float:
        """Seconds of media that the steps so far have consumed."""
        if not self.chunks:
            return 0.0
        return min(chunk_end(self.chunks - 1, self._frames) + self._skipped, self.audio.end) / SAMPLE_RATE_HZ

    @property
    def _next_end(self) -> int:
        return chunk_end(self.chunks, self._frames) + self._skipped

    @property
    def backlog(self) -> int:
        """Samples beyond the next chunk that wait."""
        return self.audio.end - self._next_end

    @property
    def at_mark(self) -> bool:
        """The next chunk would go past the oldest mark: a clone is due."""
        return bool(self.marks) and not self.has_clone and not self.dropped and self._next_end > self.marks[0]

    @property
    def ready(self) -> bool:
        """There is a chunk to step."""
        if self.has_clone or self.at_mark or self.dropped:
            return False
        return self._next_end <= self.audio.end or (self.closing and not self.done)

    @property
    def done(self) -> bool:
        """Closing, and flushed to the last word, or dropped."""
        if self.dropped:
            return not self.has_clone
        if not self.closing or self.marks or self.has_clone:
            return False
        return self.chunks >= flushed_chunks(self.audio.end - self._skipped, self._frames)

    def read(self, out: NDArray[np.float32]) -> None:
        """Copy the next chunk's samples into `out` and count the chunk as stepped."""
        self.audio.read(chunk_begin(self.chunks, self._frames) + self._skipped, out)
        self.chunks += 1
        self.completed_at = self._completions.popleft() if self._completions else None
        self.audio.discard(chunk_begin(self.chunks, self._frames) + self._skipped)

    def skip_chunk(self) -> None:
        """Throw the next chunk's audio away instead of stepping it."""
        self.skipped_frames += self._frames
        if self._completions:
            self._completions.popleft()
        self.audio.discard(chunk_begin(self.chunks, self._frames) + self._skipped)

    def add_token(self, token: int, frame: int, probability: float) -> None:
        """Take a token of the chunk stepped last, `frame` counted from its start."""
        at = (self.chunks - 1) * self._frames + frame + self.skipped_frames
        if self.parent is not None:
            self.reported_ahead.append((token, at))
        if self.lock is not None and not self.lock.is_locked:
            self.lock.add(TimedToken(token, at, probability))
        self.transcript.add(token, at, probability)

    def add_watcher_token(self, lock: LanguageLock, token: int, frame: int, probability: float) -> None:
        """Take a token of the watcher of `lock`, `frame` counted from the start of the chunk stepped last. Ignored
        where the stream has another lock by now."""
        if self.lock is lock:
            at = (self.chunks - 1) * self._frames + frame + self.skipped_frames
            lock.add(TimedToken(token, at, probability))

    def update_lock(self) -> Move | None:
        """After the tokens of a step: lock, or move the lock and its words. Returns what decoder states have to do."""
        if self.lock is None:
            return None
        move, rewrite = self.lock.decide()
        if rewrite is not None:
            if self.parent is not None:
                self.reported_ahead.append(rewrite)
            self.transcript.rewrite(rewrite)
        if self.lock.prompt is not None:
            self.prompt = self.lock.prompt
            self.transcript.unsettled_after = self.lock.since
        return move
