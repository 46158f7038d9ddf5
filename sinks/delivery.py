"""How a sink stands with the records that it was given: the same words for every sink.

Records other than partials are *durable*. Each of them is in exactly one place, which `/metrics` says of every sink:

    given = delivered + dead-lettered + spooled + lost

`lost` is what the promise says does not happen: it counts where no disk takes a record and memory for them is full, and
sinks without a spool (a live view) that were full or away too long.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(slots=True)
class Delivery:
    """`delivered`: durable records that the destination has acknowledged. `dead_lettered`: given up and kept in a
    dead-letter topic or file, by reason. `spooled`: taken over and neither of both yet, on disk or in memory;
    `oldest_age_s`: how long the oldest of them waits. `lost`: durable records dropped.

    `delivered_partials`, `dropped_partials` and, replaced by a newer one of their segment before they were sent,
    `coalesced_partials`. `errors`: attempts that failed. `connected`: the destination took what it was given last.
    `degraded`: the disk refuses, so that what is spooled is in memory alone.
    """

    delivered: int = 0
    delivered_partials: int = 0
    spooled: int = 0
    oldest_age_s: float = 0.0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    dropped_partials: int = 0
    coalesced_partials: int = 0
    errors: int = 0
    connected: bool = True
    degraded: bool = False

    def warnings(self) -> list[str]:
        """What is not as it should be, a line each."""
        found = []
        if not self.connected:
            found.append(f"away, {self.spooled} records wait, the oldest for {self.oldest_age_s:.0f} s")
        if self.degraded:
            found.append("its disk refuses, what waits is in memory alone")
        if self.dead_lettered:
            counts = ", ".join(f"{count} {reason}" for reason, count in self.dead_lettered.items())
            found.append(f"dead letters: {counts}")
        if self.lost:
            found.append(f"{self.lost} records are lost")
        return found


@runtime_checkable
class Accounting(Protocol):
    """A sink whose `write` takes records over, to deliver them later. Of any other sink, what is written is
    delivered."""

    def delivery(self) -> Delivery:
        """Since the start, of what `write` took over; a new object."""
