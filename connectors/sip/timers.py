"""Deadlines of a core, without a clock: keys and times go in, the keys that are due come out."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[K]):
    """At most one deadline a key. Memory is bounded by the number of keys: what was moved or cancelled is swept out of
    the heap when it outnumbers what is left."""

    def __init__(self) -> None:
        self._deadlines: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, key: K) -> bool:
        return key in self._deadlines

    def set(self, key: K, deadline: float) -> None:
        """Set or move the deadline of a key."""
        self._count += 1
        self._deadlines[key] = (deadline, self._count)
        heapq.heappush(self._heap, (deadline, self._count, key))
        if len(self._heap) > 2 * len(self._deadlines) + _SLACK:
            self._heap = [(at, count, key) for key, (at, count) in self._deadlines.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Idempotent."""
        self._deadlines.pop(key, None)

    def next(self) -> float | None:
        """The earliest deadline."""
        heap = self._heap
        while heap and not self._holds(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> list[K]:
        """Take out what is due, earliest first."""
        keys = []
        while (at := self.next()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._deadlines[key]
            keys.append(key)
        return keys

    def _holds(self, entry: tuple[float, int, K]) -> bool:
        return self._deadlines.get(entry[2]) == entry[:2]
