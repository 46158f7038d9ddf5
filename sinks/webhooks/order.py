"""What may be sent to one receiver next: the records of a call one after the other, calls side by side.

The idea: the records that wait are looked at as far as a bound. Each call has a queue of which only the first record
is ever on its way; one that fails is due again after a pause, and holds up its own call alone. Failures of several
calls without a success between them are the receiver's, not the records': it counts as away then, and is tried with one
record at a time, with pauses that grow, until one is taken. From then on everything is due at once.

The invariant: a call's records are sent in the order of their ids, each after the one before it was taken or given up.

No clock, no socket: times are parameters, in seconds of one monotonic clock.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sinks.spool import Spooled

RETRY_FIRST_S, RETRY_MAX_S = 0.5, 60.0
RETRY_AFTER_MAX_S = 900.0

AWAY_CALLS = 3
"""Calls that fail, with no success between them, before the receiver counts as away."""


def full_jitter(most_s: float) -> float:
    """Anything up to it, so that many that failed together do not come back together."""
    return random.uniform(0.0, most_s)  # noqa: S311 - nothing secret


@dataclass(slots=True)
class _Call:
    waiting: deque[Spooled] = field(default_factory=deque)
    attempts: int = 0
    in_flight: bool = False


class WebhookOrder:
    """`at_once`: records on their way at the same time at most, each of another call. `look_ahead`: records looked at;
    while so many of them wait for their calls, what comes after them waits, too."""

    def __init__(self, *, at_once: int, look_ahead: int, jitter: Callable[[float], float] = full_jitter) -> None:
        self._at_once, self._look_ahead, self._jitter = at_once, look_ahead, jitter
        self._calls: dict[bytes, _Call] = {}
        self._due: list[tuple[float, int, bytes]] = []  # of each call that is not in flight: when, its first id
        self._in_flight = 0
        self._size = 0
        self._failing = set[bytes]()  # calls, since the last success
        self._rounds = 0
        self._not_before = 0.0
        self.cursor = 0
        self.held = 0  # calls of which the first record has failed

    def __len__(self) -> int:
        """Records that were added and are neither taken nor given up."""
        return self._size

    @property
    def room(self) -> int:
        """How many more may be added."""
        return self._look_ahead - self._size

    @property
    def away(self) -> bool:
        return len(self._failing) >= AWAY_CALLS

    def add(self, entries: Sequence[Spooled], now: float) -> None:
        """Records beyond `cursor`, by their ids."""
        for one in entries:
            call = self._calls.get(one.entry.key)
            if call is None:
                call = self._calls[one.entry.key] = _Call()
                heapq.heappush(self._due, (now, one.id, one.entry.key))
            call.waiting.append(one)
            self.cursor = one.id
        self._size += len(entries)

    def next(self, now: float) -> Spooled | None:
        """The record to be sent now, which is on its way from then on; None: there is none at present."""
        if self._is_full() or now < self._not_before or not self._due or self._due[0][0] > now:
            return None
        _, _, key = heapq.heappop(self._due)
        call = self._calls[key]
        call.in_flight = True
        self._in_flight += 1
        return call.waiting[0]

    def next_at(self) -> float | None:
        """When `next` will have one; None: not before something else happens."""
        return None if self._is_full() or not self._due else max(self._due[0][0], self._not_before)

    def taken(self, one: Spooled, now: float) -> None:
        """The receiver has taken it, or has refused it for good."""
        self.gone(one, now)
        if self.away:
            self._not_before = now
            self._due = [(now, call.waiting[0].id, key) for key, call in self._calls.items() if not call.in_flight]
            heapq.heapify(self._due)
        self._failing.clear()
        self._rounds = 0

    def gone(self, one: Spooled, now: float) -> None:
        """It is not to be sent any more; its call goes on."""
        key = one.entry.key
        call = self._land(key)
        call.waiting.popleft()
        self.held -= call.attempts > 0
        call.attempts = 0
        self._size -= 1
        if call.waiting:
            heapq.heappush(self._due, (now, call.waiting[0].id, key))
        else:
            del self._calls[key]
            self._failing.discard(key)

    def failed(self, one: Spooled, now: float, retry_after_s: float = 0.0) -> None:
        """It is to be sent again. `retry_after_s`: what the receiver asks for, of all records."""
        key = one.entry.key
        call = self._land(key)
        pause_s = self._pause(call.attempts)
        self.held += not call.attempts
        call.attempts += 1
        heapq.heappush(self._due, (now + pause_s, one.id, key))
        self._failing.add(key)
        if self.away:
            self._not_before = max(self._not_before, now + self._pause(self._rounds))
            self._rounds += not self._in_flight
        self._not_before = max(self._not_before, now + min(retry_after_s, RETRY_AFTER_MAX_S))

    def _land(self, key: bytes) -> _Call:
        call = self._calls[key]
        call.in_flight = False
        self._in_flight -= 1
        return call

    def _is_full(self) -> bool:
        return self._in_flight >= (1 if self.away else self._at_once)

    def _pause(self, failures: int) -> float:
        return self._jitter(min(RETRY_FIRST_S * 2 ** min(failures, 30), RETRY_MAX_S))
