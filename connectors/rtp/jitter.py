"""Packets in the order of their sequence numbers, waited for as long as this network has shown to be worth it.

Sits between the source and the leg's media time. A playout buffer delays every packet, so that all come out at an even
pace. Recognition needs the order and not the pace: a packet that is in order passes at once, and the buffer holds only
what stands behind a gap.

A gap is waited for from the first packet beyond it on, `wait_s` long: the longest of these, `MAX_WAIT_S` at most.

- What would have been enough lately: how late a packet came that filled a gap or missed it, and a quarter more. The
  longest such time counts, and half of it after `_HALF_LIFE_S`. It is `FIRST_WAIT_S` before anything is known.
- Three times the interarrival jitter: of an even spread of delays RFC 3550, appendix A.8, shows a third.
- `MIN_WAIT_S`.

Then the missing packets are given up and what waits is released. What `push` makes of a number:

| number | status |
|---|---|
| above `highest` | ACCEPTED; those skipped are a gap |
| in a gap that is waited for | REORDERED |
| in a gap that was given up, or before `first` | LATE |
| any other | DUPLICATE |

Invariants: numbers are released in rising order, each once. Each number from `first` to `highest` is released, held,
`lost`, or in a gap that is waited for.

Overflow policy: with more than `MAX_HELD` packets waiting, the oldest gap is given up; a held packet is never dropped.

Example: 10, 12 and 13 come, 13 at once behind 12. 10 passes, the others wait for 11. If 11 comes 15 ms after 12 it is
REORDERED, and 11, 12, 13 are released. If it has not come after 60 ms, 12 is released with one missing before it, then
13. If 11 comes 70 ms after 12 it is LATE, and the next gap is waited for 87.5 ms.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

MIN_WAIT_S, MAX_WAIT_S = 0.020, 0.120
FIRST_WAIT_S = 0.060
"""Before anything is known of the network."""

MAX_HELD = 64
_MAX_GAPS = 128
_HALF_LIFE_S = 20.0
_MARGIN = 1.25
_JITTERS = 3.0  # of an even spread of delays, A.8 shows a third


class PacketStatus(StrEnum):
    ACCEPTED = "accepted"
    REORDERED = "reordered"
    DUPLICATE = "duplicate"
    LATE = "late"


@dataclass(slots=True)
class _Gap:
    """Missing numbers [first, end); `noticed`: when the first packet beyond them came."""

    first: int
    end: int
    noticed: float


class JitterBuffer(Generic[T]):
    """`following`: the extended number that comes next; `first`, `highest`: those that came. `lost`: numbers given up;
    those of them that come all the same are LATE. `bursts`: runs of them. Every number from the first to the highest is
    thus counted once: released or lost.

    Times are seconds on the monotonic clock, numbers are extended sequence numbers.
    """

    def __init__(self) -> None:
        self.following = 0
        self.lost = 0
        self.bursts = 0
        self.highest = -1
        self.first = 0
        self._held: dict[int, T] = {}
        self._gaps: list[_Gap] = []
        self._peak_s, self._peak_at = FIRST_WAIT_S, 0.0

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, first: int, now: float) -> None:
        """A stream starts with this number; what waits is gone, so `pop` with `flush` comes before."""
        self.following, self.first, self.highest = first, first, first - 1
        self._peak_s, self._peak_at = max(self._peak(now), FIRST_WAIT_S), now
        self._held.clear()
        self._gaps.clear()

    def skip(self, following: int) -> None:
        """Packets up to here passed by the buffer, in order, while it was empty."""
        self.following, self.highest = following, following - 1

    def push(self, number: int, item: T, now: float) -> PacketStatus:
        """Take a packet in, or not: on DUPLICATE and LATE it is to be dropped."""
        if number > self.highest:
            if number > self.highest + 1:
                self._miss(_Gap(self.highest + 1, number, now))
            self.highest = number
            self._held[number] = item
            return PacketStatus.ACCEPTED
        if number < self.first:  # sent before the packet that came first: given up from the start
            self.lost += self.first - number
            self._gaps.insert(0, _Gap(number, self.first, now))
            self.first = number
        noticed = self._found(number)
        if noticed is None:
            return PacketStatus.DUPLICATE
        if (needed := (now - noticed) * _MARGIN) > self._peak(now):
            self._peak_s, self._peak_at = min(needed, MAX_WAIT_S), now
        if number < self.following:
            return PacketStatus.LATE
        self._held[number] = item
        return PacketStatus.REORDERED

    def pop(self, now: float, jitter_s: float = 0.0, *, flush: bool = False) -> tuple[T, int] | None:
        """The next packet, and how many were given up right before it; None while there is none, or a gap is waited
        for. `flush`: do not wait."""
        if not self._held:
            return None
        missing = 0
        if self.following not in self._held:
            if not flush and len(self._held) <= MAX_HELD and now < self._deadline(now, jitter_s):
                return None
            first = min(self._held)
            missing = first - self.following
            self.lost += missing
            self.bursts += 1
            self.following = first
        item = self._held.pop(self.following)
        self.following += 1
        return item, missing

    def next_timer(self, now: float, jitter_s: float = 0.0) -> float | None:
        """When waiting ends if nothing more comes; None when nothing waits."""
        return self._deadline(now, jitter_s) if self._held else None

    def wait_s(self, now: float, jitter_s: float = 0.0) -> float:
        """How long a gap is waited for at present."""
        return min(max(self._peak(now), _JITTERS * jitter_s, MIN_WAIT_S), MAX_WAIT_S)

    def _deadline(self, now: float, jitter_s: float) -> float:
        noticed = next((gap.noticed for gap in self._gaps if gap.first >= self.following), now)
        return noticed + self.wait_s(now, jitter_s)

    def _peak(self, now: float) -> float:
        return self._peak_s * math.exp2(min(self._peak_at - now, 0.0) / _HALF_LIFE_S)

    def _miss(self, gap: _Gap) -> None:
        self._gaps.append(gap)
        del self._gaps[:-_MAX_GAPS]

    def _found(self, number: int) -> float | None:
        """Take a number out of its gap; returns when the gap was noticed, None for a number that is not missing."""
        for index, gap in enumerate(self._gaps):
            if gap.first <= number < gap.end:
                parts = [_Gap(number + 1, gap.end, gap.noticed)] if number + 1 < gap.end else []
                if gap.first < number:
                    parts.insert(0, _Gap(gap.first, number, gap.noticed))
                self._gaps[index : index + 1] = parts
                del self._gaps[:-_MAX_GAPS]
                return gap.noticed
        return None
