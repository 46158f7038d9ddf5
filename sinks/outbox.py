"""What has been accepted for a message broker and not yet settled there."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One record, ready for the wire."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    partial: bool


class Outbox(Protocol):
    """Between the event loop, which offers, and the threads that send. All methods are thread-safe.

    An entry counts against the limit until it is settled, so the limit also bounds what the client library holds.
    """

    def offer(self, entries: Sequence[OutboxEntry]) -> int:
        """Accept as many of the first entries as fit in; returns how many."""

    def take(self, limit: int) -> list[OutboxEntry]:
        """The oldest entries not yet taken; waits until there is one. Empty: stopped, and nothing is left."""

    def settle(self, entry: OutboxEntry, error: BaseException | None) -> None:
        """The entry was acknowledged, or will never be for the reason given."""

    def stop(self) -> None:
        """Let `take` come to its end."""

    def wait_settled(self, timeout_s: float) -> int:
        """Wait until every entry is settled; returns how many are not."""


class MemoryOutbox:
    """An outbox that ends with the process. `on_free` is called, on any thread, when a full one takes more again."""

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        self._limit = limit
        self._on_free = on_free
        self._waiting: deque[OutboxEntry] = deque()
        self._unsettled = 0
        self._stopped = False
        self._full = False
        self._changed = threading.Condition()

    def offer(self, entries: Sequence[OutboxEntry]) -> int:
        with self._changed:
            accepted = min(len(entries), self._limit - self._unsettled)
            self._waiting.extend(entries[:accepted])
            self._unsettled += accepted
            self._full = accepted < len(entries)
            self._changed.notify_all()
            return accepted

    def take(self, limit: int) -> list[OutboxEntry]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def settle(self, entry: OutboxEntry, error: BaseException | None) -> None:  # noqa: ARG002 - a durable one needs them
        with self._changed:
            self._unsettled -= 1
            freed, self._full = self._full, False
            if not self._unsettled:
                self._changed.notify_all()
        if freed:
            self._on_free()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_settled(self, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: not self._unsettled, timeout_s)
            return self._unsettled
