"""Legs whose audio comes in unbroken packets of 20 ms at 8 kHz, as nearly all does: what a packet changes of them lies
in arrays, so that the packets of many legs are checked and counted together.

A row belongs to one leg. Whoever is not steady, or no longer, is served frame by frame (`ingest.Intake.push`).
"""

import numpy as np
from numpy.typing import NDArray

NEVER = -1
"""No pts: the leg is not steady."""

MAX_PENDING = 512
"""Arrival times kept until they are settled: ten seconds. The oldest are forgotten first."""

_ROW_BITS = 32


class SteadyRows:
    """`due`: pts of the packet that comes next, `NEVER` for a leg that is not steady. `pending`: packets since they
    were last settled. A ticket names a row together with the leg that has it, so that one of a former leg is told from
    that of the present one.
    """

    def __init__(self, rows: int = 16) -> None:
        self.due = np.full(rows, NEVER, np.int64)
        self.pending = np.zeros(rows, np.int64)
        self._arrivals = np.zeros((rows, MAX_PENDING))
        self._owners = np.zeros(rows, np.int64)

    def __len__(self) -> int:
        return len(self.due)

    def grow(self) -> None:
        """Twice as many rows."""
        rows = len(self)
        self.due = np.concatenate([self.due, np.full(rows, NEVER, np.int64)])
        self.pending = np.concatenate([self.pending, np.zeros_like(self.pending)])
        self._arrivals = np.concatenate([self._arrivals, np.zeros_like(self._arrivals)])
        self._owners = np.concatenate([self._owners, np.zeros_like(self._owners)])

    def ticket(self, row: int) -> int:
        """Of the row's present leg."""
        return int(self._owners[row]) << _ROW_BITS | row

    def rows_of(self, tickets: NDArray[np.int64]) -> NDArray[np.int64]:
        return tickets & ((1 << _ROW_BITS) - 1)

    def begin(self, row: int) -> None:
        """The row is another leg's from here on."""
        self._owners[row] += 1
        self.due[row], self.pending[row] = NEVER, 0

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


def turns(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices into `rows`: first those where each row comes for the first time, then those of the second, and so on."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(first) == len(rows):
        return [np.arange(len(rows))]
    counts = np.diff(np.append(first, len(rows)))
    turn = np.arange(len(rows)) - np.repeat(first, counts)
    ends = np.cumsum(np.bincount(turn))
    return np.split(order[np.argsort(turn, kind="stable")], ends[:-1])
