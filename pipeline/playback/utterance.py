"""One thing to be said on a leg: its audio as it is given, and what became of it.

The audio waits here at the rate it was given in; `player.LegPlayer` takes it packet by packet. What waits is bounded:
`write` returns when no more than `WAITING_S` of it does.
"""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PlaybackError, PlaybackFull
from pipeline.playback.conversion import Converter, to_int16

WAITING_S = 2.0
"""Audio of an open utterance that may wait before `write` does."""

LONGEST_S = 120.0
"""Audio that may be given at once."""

RATES_HZ = (8_000, 48_000)
"""The lowest and the highest rate of audio that is taken."""

_PIECE_S = 0.2  # converted at a time, so that a long announcement costs nothing at its beginning


@dataclass(frozen=True, slots=True)
class Heard:
    """What the peer was played of an utterance so far. `seconds`: of its audio, from its beginning. `marks`: the names
    that were passed, in order. `finished`: nothing more comes. `interrupted`: it ended before its end, by `stop`, with
    the call, or because it could not be said; `error` says so for the last."""

    seconds: float = 0.0
    marks: tuple[str, ...] = ()
    finished: bool = False
    interrupted: bool = False
    error: PlaybackError | None = None


class UtteranceOwner(Protocol):
    """The player of the leg."""

    def wake(self) -> None:
        """There is something to be played."""

    def settle(self) -> None:
        """Enter what was played meanwhile."""

    def stop(self, utterance: "Utterance") -> None: ...


class Utterance:
    """Made by `Call.play` and `Call.speak`. `mute`: legs that are not transcribed while it is played.

    Its methods belong to the event loop's thread. After its end `write` and `mark` do nothing and return False: who
    speaks need not know first that he was interrupted.
    """

    def __init__(self, owner: UtteranceOwner, sample_rate_hz: int, mute: Collection[str] = ()) -> None:
        if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1]:
            raise ValueError(f"audio to be played has {RATES_HZ[0]} to {RATES_HZ[1]} Hz, not {sample_rate_hz}")
        self.mute = tuple(mute)
        self.sample_rate_hz = sample_rate_hz
        self.taken_ms = 0
        self._owner = owner
        self._pieces: deque[NDArray[np.int16]] = deque()
        self._waiting = 0  # samples in `_pieces`
        self._written = 0  # samples so far
        self._marks: deque[tuple[float, str]] = deque()  # place in ms
        self._closed = False
        self._converter: Converter | None = None
        self._flushed = False
        self._ready = np.zeros(0, np.int16)  # converted
        self._heard_ms = 0.0
        self._passed: list[str] = []
        self._over: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._room = asyncio.Event()

    # -- for who speaks

    async def write(self, pcm: NDArray[np.generic]) -> bool:
        """Say this after what was written before; returns when no more than `WAITING_S` of it waits. `pcm`: int16 or
        float32 (T,), at `sample_rate_hz`. False: the utterance is over. Raises `ValueError`, and `PlaybackFull` for
        more than `LONGEST_S`."""
        if not self.put(pcm):
            return False
        while self._waiting > WAITING_S * self.sample_rate_hz and not self._over.done():
            self._room.clear()
            await self._room.wait()
        return not self._over.done()

    def put(self, pcm: NDArray[np.generic]) -> bool:
        """`write` without waiting: `LONGEST_S` may wait. Raises `ValueError`, `PlaybackFull`."""
        samples = to_int16(pcm)
        if self._over.done() or self._closed:
            return False
        if self._waiting + samples.size > LONGEST_S * self.sample_rate_hz:
            raise PlaybackFull(f"more than {LONGEST_S:.0f} s of audio wait to be played: write it in pieces")
        if samples.size:
            self._pieces.append(samples)
            self._waiting += samples.size
            self._written += samples.size
            self._owner.wake()
        return True

    def mark(self, name: str) -> bool:
        """Name the place behind what was written so far: `heard().marks` has it once that was played."""
        if self._over.done() or self._closed:
            return False
        self._marks.append((self.written_ms, name))
        return True

    def close(self) -> None:
        """All of it was written. Idempotent."""
        if not self._closed:
            self._closed = True
            self._owner.wake()

    def stop(self) -> Heard:
        """Interrupt it: not one packet more goes out. Returns what was heard. Idempotent."""
        self._owner.stop(self)
        return self.heard()

    def heard(self) -> Heard:
        """What was heard so far."""
        if not self._over.done():
            self._owner.settle()
        return self._over.result() if self._over.done() else Heard(self._heard_s, tuple(self._passed))

    async def wait(self) -> Heard:
        """Until it was heard to its end, or interrupted."""
        return await asyncio.shield(self._over)

    # -- for the player

    @property
    def written_ms(self) -> float:
        return self._written * 1000 / self.sample_rate_hz

    @property
    def over(self) -> bool:
        return self._over.done()

    @property
    def exhausted(self) -> bool:
        """All of it was taken."""
        return self._flushed and not self._ready.size

    def take(self, rate_hz: int, packet_ms: int) -> NDArray[np.int16] | None:
        """The next packet at this rate, the last one filled up with silence; None: it is not there yet, or there is no
        more."""
        size = rate_hz * packet_ms // 1000
        self._convert(rate_hz, size)
        if self._waiting <= WAITING_S * self.sample_rate_hz:
            self._room.set()
        ready = self._ready
        if ready.size < size:
            if not ready.size or not (self._closed and self._flushed):
                return None
            ready = np.concatenate([ready, np.zeros(size - ready.size, np.int16)])
        self._ready = ready[size:]
        self.taken_ms += packet_ms
        return ready[:size]

    def played(self, until_ms: float) -> None:
        """The peer was played so much of what was taken."""
        self._heard_ms = max(self._heard_ms, min(until_ms, self.written_ms))
        while self._marks and self._marks[0][0] <= self._heard_ms + 1e-6:
            self._passed.append(self._marks.popleft()[1])

    def finish(self, *, interrupted: bool, error: PlaybackError | None = None) -> None:
        """Nothing more of it is played. Idempotent."""
        if not self._over.done():
            self._pieces.clear()
            self._waiting = 0
            self._ready = np.zeros(0, np.int16)
            self._over.set_result(Heard(self._heard_s, tuple(self._passed), True, interrupted, error))
            self._room.set()

    def has_mark(self, after_ms: float, until_ms: float) -> bool:
        """Whether a mark lies in this part of it."""
        return any(after_ms < place <= until_ms for place, _ in self._marks)

    @property
    def _heard_s(self) -> float:
        return round(self._heard_ms / 1000, 4)

    def _convert(self, rate_hz: int, size: int) -> None:
        """Until a packet of `size` samples is there or nothing is left."""
        converter, most = self._at_rate(rate_hz), round(_PIECE_S * self.sample_rate_hz)
        while self._ready.size < size and self._pieces:
            piece = self._pieces.popleft()
            if piece.size > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            self._waiting -= piece.size
            self._ready = np.concatenate([self._ready, converter.process(piece)])
        if self._closed and not self._pieces and not self._flushed:
            self._flushed = True
            self._ready = np.concatenate([self._ready, converter.flush()])

    def _at_rate(self, rate_hz: int) -> Converter:
        """The converter; where the rate has changed, another one, and what was converted at that rate."""
        before = self._converter
        if before is not None and before.to_hz == rate_hz:
            return before
        if before is not None:
            left = self._ready if self._flushed else np.concatenate([self._ready, before.flush()])
            again = Converter(before.to_hz, rate_hz)
            self._ready = np.concatenate([again.process(left), again.flush()])
        self._converter, self._flushed = Converter(self.sample_rate_hz, rate_hz), False
        return self._converter
