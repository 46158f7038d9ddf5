"""The in-order fast path of many legs: what a packet that was due changes of its leg lies in arrays, so that the
packets of many legs are checked and counted together.

The idea: nearly all audio comes as unbroken packets of 20 ms at 8 kHz. Of such a leg only two things change with a
packet: the pts that is due next, and the number of packets taken so far, with their arrival times. Both are columns
here, a row a leg. Whoever needs a leg's counters first settles its row, which empties the count into them.

The invariant: `due[row]` is the leg's next pts while nothing waits in its queue or in the batch, else `NEVER`. No pts
is `NEVER`, so a packet of a leg that is not in order is never taken, whatever it says.

A row is given to another leg when its leg ends, and packets may still be on their way to it. So a ticket names the row
together with the number of legs that had it: row 3 of its second leg is `2 << 32 | 3`, and a packet with the ticket
`1 << 32 | 3` of its first leg fits no longer.
"""

import numpy as np
from numpy.typing import NDArray

NEVER = -1
"""No pts: the leg's next packet is not for the fast path."""

MAX_PENDING = 512
"""Arrival times kept until they are settled: ten seconds. The oldest are forgotten first."""

_ROW_BITS = 32


class InOrderRows:
    """`due`: pts of the packet that comes next, or `NEVER`. `pending`: packets since they were last settled."""

    def __init__(self, rows: int = 16) -> None:
        self.due = np.full(rows, NEVER, np.int64)
        self.pending = np.zeros(rows, np.int64)
        self._arrivals = np.zeros((rows, MAX_PENDING))
        self._owners = np.zeros(rows, np.int64)
        self._opened = 0
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.due)

    @property
    def used(self) -> int:
        """Rows that belong to a leg."""
        return self._opened - len(self._free)

    def allocate(self) -> int:
        """A row for a leg: one that was released, else the first that was never used."""
        if self._free:
            row = self._free.pop()
        else:
            row = self._opened
            self._opened += 1
            if self._opened > len(self):
                self._grow()
        self._owners[row] += 1
        self.due[row], self.pending[row] = NEVER, 0
        return row

    def release(self, row: int) -> None:
        """The row's leg has ended."""
        self.due[row] = NEVER
        self._free.append(row)

    def ticket(self, row: int) -> int:
        """Of the row's present leg."""
        return int(self._owners[row]) << _ROW_BITS | row

    def rows_of(self, tickets: NDArray[np.int64]) -> NDArray[np.int64]:
        return tickets & ((1 << _ROW_BITS) - 1)

    def take(
        self, tickets: NDArray[np.int64], pts: NDArray[np.int64], arrivals: NDArray[np.float64], samples: int
    ) -> NDArray[np.bool_]:
        """Count a packet of `samples` samples for each ticket; a row must not be among them twice. Returns which were
        due; of the others nothing has changed."""
        rows = self.rows_of(tickets)
        fit: NDArray[np.bool_] = (self.due[rows] == pts) & (self._owners[rows] == tickets >> _ROW_BITS)
        if not fit.all():
            rows, arrivals = rows[fit], arrivals[fit]
        count = self.pending[rows]
        self._arrivals[rows, count % MAX_PENDING] = arrivals
        self.pending[rows] = count + 1
        self.due[rows] += samples
        return fit

    def settle(self, row: int) -> tuple[int, list[float]]:
        """How many packets were taken since the last time, and when the newest of them arrived, oldest first."""
        count = int(self.pending[row])
        if not count:
            return 0, []
        self.pending[row] = 0
        order = np.arange(max(count - MAX_PENDING, 0), count) % MAX_PENDING
        return count, self._arrivals[row, order].tolist()

    def _grow(self) -> None:
        rows = len(self)
        self.due = np.concatenate([self.due, np.full(rows, NEVER, np.int64)])
        self.pending = np.concatenate([self.pending, np.zeros_like(self.pending)])
        self._arrivals = np.concatenate([self._arrivals, np.zeros_like(self._arrivals)])
        self._owners = np.concatenate([self._owners, np.zeros_like(self._owners)])


def by_occurrence(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices into `rows`: first those where each row comes for the first time, then those of the second, and so on."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(first) == len(rows):
        return [np.arange(len(rows))]
    counts = np.diff(np.append(first, len(rows)))
    occurrence = np.arange(len(rows)) - np.repeat(first, counts)
    ends = np.cumsum(np.bincount(occurrence))
    return np.split(order[np.argsort(occurrence, kind="stable")], ends[:-1])
