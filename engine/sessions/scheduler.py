"""Which rows step next. Pure: time is a parameter, rows are whatever the caller hands in.

Only rows with a chunk to step are here, and an operation costs by the rows that it moves, not by those that are here.
One batch is of one latency class. A row is due half a chunk after it became ready, an urgent one (the flush of a final)
at once. The class whose first row is due first goes first, and inside a class the rows that are due first: so flushes
go ahead of live audio unless that has waited long already, and neither a class nor a flood of flushes starves anybody.
A class that could still fill its batch waits a bounded moment.
"""

import heapq
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row", bound=Hashable)


class _Queue(Generic[Row]):
    """Rows in order of the time they became ready, each once. Entries of discarded rows go when they come up."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Row]] = []
        self._current: dict[Row, int] = {}
        self._added = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, row: Row) -> bool:
        return row in self._current

    @property
    def first_at(self) -> float:
        """When its first row became ready; infinite where there is none."""
        entries, current = self._entries, self._current
        while entries and current.get(entries[0][2]) != entries[0][1]:
            heapq.heappop(entries)
        return entries[0][0] if entries else math.inf

    def add(self, row: Row, ready_at: float) -> None:
        self._added += 1
        self._current[row] = self._added
        heapq.heappush(self._entries, (ready_at, self._added, row))

    def discard(self, row: Row) -> None:
        self._current.pop(row, None)

    def pop(self) -> Row:
        """Take the first row; there must be one."""
        assert self.first_at < math.inf
        row = heapq.heappop(self._entries)[2]
        del self._current[row]
        return row


@dataclass(slots=True)
class _Class(Generic[Row]):
    """`slack_s`: from ready to due, for rows that are not urgent. `limit`: rows a batch may have. `held`: none of them
    is stepped for the time being."""

    slack_s: float
    limit: int
    held: bool = False
    urgent: _Queue[Row] = field(default_factory=_Queue)
    waiting: _Queue[Row] = field(default_factory=_Queue)

    def __len__(self) -> int:
        return len(self.urgent) + len(self.waiting)

    @property
    def due(self) -> float:
        """When the first of its rows is due."""
        return min(self.urgent.first_at, self.waiting.first_at + self.slack_s)

    def pop(self) -> Row:
        """Take the row that is due first."""
        first = self.urgent if self.urgent.first_at <= self.waiting.first_at + self.slack_s else self.waiting
        return first.pop()


class Scheduler(Generic[Row]):
    """Ready rows of every latency class. `gather_s`: the longest a ready row waits for company."""

    def __init__(self, classes: tuple[int, ...], max_batch: int, gather_s: float) -> None:
        self._classes: dict[int, _Class[Row]] = {
            chunk_ms: _Class(slack_s=chunk_ms / 2000, limit=max_batch) for chunk_ms in classes
        }
        self._max_batch = max_batch
        self._gather_s = gather_s

    def __len__(self) -> int:
        return sum(map(len, self._classes.values()))

    def limit(self, chunk_ms: int, rows: int) -> None:
        """Step at most so many rows of the class at once from now on, and never more than `max_batch`."""
        self._classes[chunk_ms].limit = max(1, min(rows, self._max_batch))

    def hold(self, chunk_ms: int, held: bool) -> None:
        """Keep the rows of a class waiting, or do so no longer."""
        self._classes[chunk_ms].held = held

    def clear(self, chunk_ms: int) -> None:
        """Nobody of the class waits any more."""
        rows = self._classes[chunk_ms]
        rows.urgent, rows.waiting = _Queue(), _Queue()

    def add(self, row: Row, chunk_ms: int, now: float, *, urgent: bool = False) -> None:
        """Row has a chunk to step, since `now`. Does nothing where it stands already; urgency can only grow."""
        rows = self._classes[chunk_ms]
        if row in rows.urgent:
            return
        if urgent:
            rows.waiting.discard(row)
            rows.urgent.add(row, now)
        elif row not in rows.waiting:
            rows.waiting.add(row, now)

    def discard(self, row: Row, chunk_ms: int) -> None:
        rows = self._classes[chunk_ms]
        rows.urgent.discard(row)
        rows.waiting.discard(row)

    def next(self, now: float, open_rows: Mapping[int, int]) -> tuple[int, list[Row]] | None:
        """The batch to step now, in order of due times; None where all may wait.

        `open_rows`: open rows of each class; where all of them are ready, there is nobody to wait for.
        """
        due = [
            (rows.due, chunk_ms)
            for chunk_ms, rows in self._classes.items()
            if len(rows) and not rows.held and self._fires_at(rows, open_rows.get(chunk_ms, 0)) <= now
        ]
        if not due:
            return None
        chunk_ms = min(due)[1]
        rows = self._classes[chunk_ms]
        return chunk_ms, [rows.pop() for _ in range(min(len(rows), rows.limit))]

    def wake_at(self, open_rows: Mapping[int, int]) -> float | None:
        """When `next` will have something, should nothing else happen; None where nothing is ready."""
        times = [
            self._fires_at(rows, open_rows.get(chunk_ms, 0))
            for chunk_ms, rows in self._classes.items()
            if len(rows) and not rows.held
        ]
        return min(times, default=None)

    def _fires_at(self, rows: _Class[Row], open_rows: int) -> float:
        if rows.urgent:
            return rows.urgent.first_at
        full = len(rows.waiting) >= min(rows.limit, open_rows)
        return rows.waiting.first_at + (0.0 if full else self._gather_s)
