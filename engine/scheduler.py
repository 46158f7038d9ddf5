"""Which rows step next. Pure: time is a parameter, rows are whatever the caller hands in.

Only rows with a chunk to step are here. One batch is of one latency class. The class whose oldest row is due first goes
first, so no class starves another: a row is due one chunk after it became ready, an urgent one (the flush of a final)
at once. A class that could still fill its batch waits a bounded moment.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row", bound=Hashable)


@dataclass(slots=True)
class _Class(Generic[Row]):
    urgent: OrderedDict[Row, float] = field(default_factory=OrderedDict)
    waiting: OrderedDict[Row, float] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self.urgent) + len(self.waiting)


class Scheduler(Generic[Row]):
    """Ready rows of every latency class. `gather_s`: the longest a ready row waits for company."""

    def __init__(self, classes: tuple[int, ...], max_batch: int, gather_s: float) -> None:
        self._classes: dict[int, _Class[Row]] = {chunk_ms: _Class() for chunk_ms in classes}
        self._max_batch = max_batch
        self._gather_s = gather_s

    def __len__(self) -> int:
        return sum(map(len, self._classes.values()))

    def add(self, row: Row, chunk_ms: int, now: float, *, urgent: bool = False) -> None:
        """Row has a chunk to step. Does nothing where it stands already; urgency can only grow."""
        rows = self._classes[chunk_ms]
        if row in rows.urgent:
            return
        if urgent:
            rows.urgent[row] = rows.waiting.pop(row, now)
        else:
            rows.waiting.setdefault(row, now)

    def discard(self, row: Row, chunk_ms: int) -> None:
        rows = self._classes[chunk_ms]
        rows.urgent.pop(row, None)
        rows.waiting.pop(row, None)

    def next(self, now: float, open_rows: Mapping[int, int]) -> tuple[int, list[Row]] | None:
        """The batch to step now, urgent rows first, then in order of readiness; None where all may wait.

        `open_rows`: open rows of each class; where all of them are ready, there is nobody to wait for.
        """
        due = [
            (self._due(chunk_ms), chunk_ms)
            for chunk_ms, rows in self._classes.items()
            if len(rows) and self._fires_at(chunk_ms, open_rows.get(chunk_ms, 0)) <= now
        ]
        if not due:
            return None
        chunk_ms = min(due)[1]
        rows = self._classes[chunk_ms]
        batch: list[Row] = []
        for queue in (rows.urgent, rows.waiting):
            while queue and len(batch) < self._max_batch:
                batch.append(queue.popitem(last=False)[0])
        return chunk_ms, batch

    def wake_at(self, open_rows: Mapping[int, int]) -> float | None:
        """When `next` will have something, should nothing else happen; None where nothing is ready."""
        times = [
            self._fires_at(chunk_ms, open_rows.get(chunk_ms, 0))
            for chunk_ms, rows in self._classes.items()
            if len(rows)
        ]
        return min(times, default=None)

    def _fires_at(self, chunk_ms: int, open_rows: int) -> float:
        rows = self._classes[chunk_ms]
        if rows.urgent:
            return next(iter(rows.urgent.values()))
        ready_at = next(iter(rows.waiting.values()))
        full = len(rows.waiting) >= min(self._max_batch, open_rows)
        return ready_at if full else ready_at + self._gather_s

    def _due(self, chunk_ms: int) -> float:
        rows = self._classes[chunk_ms]
        times = list(rows.urgent.values())[:1]
        times += [ready_at + chunk_ms / 1000 for ready_at in list(rows.waiting.values())[:1]]
        return min(times)
