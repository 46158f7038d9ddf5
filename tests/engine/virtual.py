"""An engine under a virtual clock: the real scheduler, callers in real time, a device that only takes time."""

import heapq
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engine.sessions.scheduler import Scheduler

FLUSH_CHUNKS = 8


@dataclass(eq=False, slots=True)
class Caller:
    """Speaks from `joins` to `leaves` (seconds) except in `silence`, in chunks of its class; then it is flushed.

    `delay`: how late the n-th chunk's last packet is. `complete`: when the chunks that wait were complete. `lags`:
    from then to the result; `flushed`: from the hang-up to the last result.
    """

    chunk_ms: int
    joins: float
    leaves: float
    silence: tuple[float, float] = (0.0, 0.0)
    delay: Callable[[int], float] = field(default=lambda _chunk: 0.0)
    complete: deque[float] = field(default_factory=deque)
    lags: list[tuple[float, float]] = field(default_factory=list)
    flush_chunks: int = 0
    flushed: float | None = None

    def arrivals(self) -> list[float]:
        """When each chunk is complete. A chunk is never complete before the one before it."""
        times, latest, chunk = list[float](), 0.0, 1
        while (spoken := self.joins + chunk * self.chunk_ms / 1000) <= self.leaves:
            if not self.silence[0] <= spoken < self.silence[1]:
                latest = max(latest, spoken + self.delay(chunk))
                times.append(latest)
            chunk += 1
        return times


@dataclass(frozen=True, slots=True)
class Batch:
    at: float
    chunk_ms: int
    rows: tuple[Caller, ...]


class Door(Protocol):
    """What callers have to pass, where there is one."""

    def admits(self, open_rows: Mapping[int, int], chunk_ms: int, now: float) -> bool:
        """Whether one more caller of the class may join."""
        ...

    def observe(self, chunk_ms: int, rows: int, open_rows: int, step_s: float, lags: list[float], now: float) -> None:
        """A batch was stepped."""
        ...


class World:
    """`step_s(chunk_ms, rows)`: how long a batch takes; `slowness(now)`: times as long, for one that begins then. Time
    passes only in `run`. `refused`: callers that the door did not let in, with the time."""

    def __init__(
        self,
        scheduler: Scheduler[Caller],
        step_s: Callable[[int, int], float],
        slowness: Callable[[float], float] = lambda _now: 1.0,
        door: Door | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.batches: list[Batch] = []
        self.calls = 0
        self.refused: dict[Caller, float] = {}
        self._slowness, self._door = slowness, door
        self._step_s = step_s
        self._open: dict[int, int] = defaultdict(int)
        self._events: list[tuple[float, int, str, Caller]] = []

    def run(self, callers: Iterable[Caller]) -> None:
        """Until every caller has hung up and been flushed."""
        number = 0
        for caller in callers:
            arrivals = caller.arrivals()
            end = max(caller.leaves, arrivals[-1] if arrivals else 0.0)
            for at, kind in [(caller.joins, "join"), *((at, "chunk") for at in arrivals), (end, "leave")]:
                self._events.append((at, number, kind, caller))
                number += 1
        heapq.heapify(self._events)
        now = 0.0
        while self._events or len(self.scheduler):
            self._arrive(now)
            self.calls += 1
            batch = self.scheduler.next(now, self._open)
            if batch is not None:
                now = self._step(now, *batch)
                continue
            wake_at = self.scheduler.wake_at(self._open)
            assert wake_at is None or wake_at > now, "the scheduler wakes the engine for nothing"
            times = [self._events[0][0]] if self._events else []
            now = min(times if wake_at is None else [*times, wake_at])

    def _arrive(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            at, _, kind, caller = heapq.heappop(self._events)
            if kind == "join":
                if self._door is not None and not self._door.admits(self._open, caller.chunk_ms, at):
                    self.refused[caller] = at
                else:
                    self._open[caller.chunk_ms] += 1
            elif caller in self.refused:
                pass
            elif kind == "chunk":
                caller.complete.append(at)
                self.scheduler.add(caller, caller.chunk_ms, at)
            else:
                caller.flush_chunks = FLUSH_CHUNKS
                self.scheduler.add(caller, caller.chunk_ms, at, urgent=True)

    def _step(self, now: float, chunk_ms: int, rows: list[Caller]) -> float:
        self.batches.append(Batch(now, chunk_ms, tuple(rows)))
        end = now + self._step_s(chunk_ms, len(rows)) * self._slowness(now)
        self._arrive(end)
        lags = []
        for caller in rows:
            if caller.complete:
                lags.append(end - caller.complete.popleft())
                caller.lags.append((now, lags[-1]))
            else:
                caller.flush_chunks -= 1
                if caller.flush_chunks == 0:
                    caller.flushed = end - caller.leaves
                    self._open[chunk_ms] -= 1
            if caller.complete or caller.flush_chunks:
                ready_at = caller.complete[0] if caller.complete else end
                self.scheduler.add(caller, chunk_ms, ready_at, urgent=caller.flush_chunks > 0)
        if self._door is not None:
            self._door.observe(chunk_ms, len(rows), self._open[chunk_ms], end - now, lags, end)
        return end


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def lags(callers: Iterable[Caller], after: float = 0.0, before: float = math.inf) -> list[float]:
    """All lags of chunks that were stepped in the given time."""
    return [lag for caller in callers for at, lag in caller.lags if after <= at < before]


def crowd(rng: random.Random, count: int, chunk_ms: int, seconds: float) -> list[Caller]:
    """Callers with phases of their own, all there from about the start to the end."""
    return [Caller(chunk_ms, joins := rng.uniform(0, chunk_ms / 1000), joins + seconds) for _ in range(count)]
