"""Classes made ready for sessions: their slots allocated, their steps recorded and timed. All of it on the thread that
steps, between two steps: the device is that thread's alone.
"""

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

from engine.admission.capacity import measure
from engine.chunking import DEFAULT_CHUNK_MS
from engine.executor import StepExecutor
from engine.sessions.slots import Slots

_MEASURING_S = 0.4
"""Time that measuring the steps of one class may take, roughly."""

_SPOKEN_CHUNKS = 1000
"""Chunks that the streams of a measurement have had: enough for full caches."""

_COMPLETE = object()


class Preparation:
    """`request`, `request_default` and `finish` are called under the engine's lock, all else on the stepping thread.
    `unmeasured`: classes that are ready and were not timed yet."""

    def __init__(self, executor: StepExecutor, slots: Slots, max_batch: int) -> None:
        self.unmeasured: dict[int, None] = {}
        self._executor = executor
        self._slots = slots
        self._most = min(max_batch, slots.count)
        self._wanted: deque[int] = deque()
        self._work: Iterator[None] | None = None

    @property
    def pending(self) -> bool:
        """Some class is wanted and not ready yet."""
        return bool(self._wanted)

    def request(self, chunk_ms: int) -> None:
        """Sessions of this class are there or will come. Does nothing where it is ready, or will be, or has failed."""
        pool = self._slots.pools[chunk_ms]
        if not pool.allocated and pool.failure is None and chunk_ms not in self._wanted:
            self._wanted.append(chunk_ms)

    def request_default(self) -> None:
        """Where no class is ready, want the one that sessions get by default, or the fastest."""
        pools = self._slots.pools
        if not any(pool.allocated for pool in pools.values()):
            self.request(DEFAULT_CHUNK_MS if DEFAULT_CHUNK_MS in pools else next(iter(pools)))

    @property
    def first(self) -> int:
        """The class that `proceed` is at; there must be one."""
        return self._wanted[0]

    def proceed(self) -> bool:
        """Do a piece of the work for the first class that is wanted; returns whether that is complete, and
        `finish` is due. Raises whatever its allocation does."""
        if self._work is None:
            self._work = self._executor.allocating(self.first, self._slots.count)
        return next(self._work, _COMPLETE) is _COMPLETE

    def finish(self, failure: str | None) -> int:
        """The first class that was wanted is ready, or failed. Under the engine's lock; returns which it is."""
        self._work, chunk_ms = None, self._wanted.popleft()
        pool = self._slots.pools[chunk_ms]
        pool.allocated, pool.failure = failure is None, failure
        if failure is None:
            self.unmeasured[chunk_ms] = None
        return chunk_ms

    def measure(self) -> tuple[int, Mapping[int, float]]:
        """Time the steps of an unmeasured class: rows -> seconds. Before any session of it is stepped, because this
        uses all slots."""
        chunk_ms = next(iter(self.unmeasured))
        times = measure(lambda rows: self._try_step(chunk_ms, rows), self._most, chunk_ms, _MEASURING_S)
        del self.unmeasured[chunk_ms]
        return chunk_ms, times

    def _try_step(self, chunk_ms: int, rows: int) -> None:
        """A step on noise, of streams that have been speaking for a while."""
        audio = self._executor.audio(chunk_ms)[:rows]
        audio[:] = np.random.default_rng(rows).standard_normal(audio.shape[1], np.float32) * 0.05
        self._executor.step(chunk_ms, audio, list(range(rows)), [_SPOKEN_CHUNKS] * rows, [0] * rows)
