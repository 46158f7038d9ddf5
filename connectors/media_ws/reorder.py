"""Messages in the order of their sequence numbers, held back for a short, bounded time.

Sits between the parser and the timeline of the tracks. A message that is in order passes at once. Behind a gap messages
wait until the gap closes, or until one of the bounds is reached: the time since the first of them came, the media time
they span on one track, or their number. Then the missing ones count as given up and what waits is released.

Overflow policy: the oldest gap is given up; a held message is never dropped.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_HELD = 64
"""Messages that wait behind a gap at most."""

MAX_DROPOUT = 3000
"""A larger step forward is believed only when the next message confirms it (RFC 3550, appendix A.1)."""

_REMEMBERED_GAPS = 64


class WindowVerdict(StrEnum):
    ACCEPTED = "accepted"
    REORDERED = "reordered"
    DUPLICATE = "duplicate"
    LATE = "late"
    IMPLAUSIBLE = "implausible"


@dataclass(slots=True)
class HeldMessage(Generic[T]):
    """A message in the window. `clock`: the track whose media time `media_ms` is, None for a message without one."""

    item: T
    arrival: float
    clock: str | None
    media_ms: int


class SequenceWindow(Generic[T]):
    """`first`: the sequence number that comes next; `window_s`: how long a gap is waited for, in time and in media.

    `missing` counts the sequence numbers given up so far.
    """

    def __init__(self, first: int, window_s: float) -> None:
        self.missing = 0
        self._next = first
        self._highest = first - 1
        self._window_s = window_s
        self._held: dict[int, HeldMessage[T]] = {}
        self._given_up: deque[range] = deque(maxlen=_REMEMBERED_GAPS)
        self._unconfirmed: int | None = None

    @property
    def due(self) -> int | None:
        """The sequence number that may `pass_by`; None while messages wait."""
        return None if self._held else self._next

    @property
    def next_number(self) -> int:
        """Behind all that came, for a message without a number."""
        return self._highest + 1

    def was_there(self, seq: int) -> bool:
        """The number lies before the one that comes next, and was not given up."""
        return seq < self._next and not any(seq in gap for gap in self._given_up)

    def begin_anew(self, first: int) -> None:
        """Messages are numbered from `first` on. Nothing may wait: `pop` with `flush` before."""
        self._next, self._highest = first, first - 1
        self._held.clear()
        self._given_up.clear()
        self._unconfirmed = None

    def pass_by(self, messages: int = 1) -> None:
        """The messages that were due are handed out without the window."""
        if messages:
            self._next += messages
            self._highest = self._next - 1
            self._unconfirmed = None

    def push(self, seq: int, item: T, now: float, clock: str | None = None, media_ms: int = 0) -> WindowVerdict:
        """Take a message in, or not: on DUPLICATE, LATE and IMPLAUSIBLE it is dropped."""
        if seq < self._next:
            return WindowVerdict.LATE if any(seq in gap for gap in self._given_up) else WindowVerdict.DUPLICATE
        if seq in self._held:
            return WindowVerdict.DUPLICATE
        if seq - self._highest > MAX_DROPOUT and seq != self._unconfirmed:
            self._unconfirmed = seq + 1
            return WindowVerdict.IMPLAUSIBLE
        self._unconfirmed = None
        self._held[seq] = HeldMessage(item, now, clock, media_ms)
        if seq < self._highest:
            return WindowVerdict.REORDERED
        self._highest = seq
        return WindowVerdict.ACCEPTED

    def pop(self, now: float, *, flush: bool = False) -> HeldMessage[T] | None:
        """The next message, or None while there is nothing, or only messages behind a fresh gap.

        `flush`: do not wait for gaps any more.
        """
        if not self._held:
            return None
        held = self._held.pop(self._next, None)
        if held is None:
            if not (flush or self._expired(now)):
                return None
            first = min(self._held)
            self._given_up.append(range(self._next, first))
            self.missing += first - self._next
            self._next = first
            held = self._held.pop(first)
        self._next += 1
        return held

    def deadline(self) -> float | None:
        """When waiting ends if nothing more comes; None when nothing waits."""
        if not self._held:
            return None
        return min(held.arrival for held in self._held.values()) + self._window_s

    def _expired(self, now: float) -> bool:
        if len(self._held) > MAX_HELD:
            return True
        deadline = self.deadline()
        if deadline is not None and now >= deadline:
            return True
        oldest: dict[str, int] = {}
        newest: dict[str, int] = {}
        for held in self._held.values():
            if held.clock is not None:
                oldest[held.clock] = min(held.media_ms, oldest.get(held.clock, held.media_ms))
                newest[held.clock] = max(held.media_ms, newest.get(held.clock, held.media_ms))
        return any(newest[clock] - oldest[clock] >= self._window_s * 1000 for clock in newest)
