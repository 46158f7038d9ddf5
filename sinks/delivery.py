"""How a sink stands with the records that it was given: the same words for every sink.

Records other than partials are *durable*. Each of them is in exactly one place, which `/metrics` says of every sink:

    given = delivered + dead-lettered + spooled + lost

`lost` is what the promise says does not happen: it counts where no disk takes a record and memory for them is full, and
sinks without a spool (a live view) that were full or away too long.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class EndpointDelivery:
    """How one of several destinations of a sink stands. `spooled`, `oldest_age_s`: of what waits on disk for it, as of
    some seconds ago. `configured`: False where only such records are left of it."""

    connected: bool
    spooled: int = 0
    oldest_age_s: float = 0.0
    configured: bool = True

    def warnings(self, name: str) -> list[str]:
        """As those of the sink."""
        waits = f"{self.spooled} records wait, the oldest for {_age(self.oldest_age_s)}"
        if not self.configured:
            return [f"{name} is not configured any more, {waits}: configure it again, or they become dead letters"]
        return [] if self.connected else [f"{name} is away, {waits}"]


@dataclass(slots=True)
class Delivery:
    """`delivered`: durable records that the destination has acknowledged. `dead_lettered`: given up and kept in a
    dead-letter topic or file, by reason. `spooled`: taken over and neither of both yet, on disk or in memory;
    `oldest_age_s`: how long the oldest of them waits. `lost`: durable records dropped.

    `delivered_partials`, `dropped_partials` and, replaced by a newer one of their segment before they were sent,
    `coalesced_partials`. `errors`: attempts that failed. `connected`: the destination took what it was given last.
    `degraded`: the disk refuses, so that what is spooled is in memory alone. `endpoints`: by name, of a sink that has
    several destinations.
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
    endpoints: dict[str, EndpointDelivery] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """What is not as it should be, a line each. Not of dead letters, which leave their file again."""
        found = [line for name, one in self.endpoints.items() for line in one.warnings(name)]
        if not self.connected and all(one.connected for one in self.endpoints.values() if one.configured):
            found.append(f"away, {self.spooled} records wait, the oldest for {_age(self.oldest_age_s)}")
        if self.degraded:
            found.append("its disk refuses, what waits is in memory alone")
        if self.lost:
            found.append(f"{self.lost} records are lost")
        return found


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.0f} h"


@runtime_checkable
class Accounting(Protocol):
    """A sink whose `write` takes records over, to deliver them later. Of any other sink, what is written is
    delivered."""

    def delivery(self) -> Delivery:
        """Since the start, of what `write` took over; a new object."""
