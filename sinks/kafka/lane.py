"""One topic's way from the spool to Kafka: a thread, a producer, and what is in flight between them.

The idea: the spool is the truth, so the producer may be thrown away at any moment. A lane reads its topic's entries in
order, hands them to a producer, and settles each when it is acknowledged. Whenever something is odd (a record that
fails, no acknowledgement for `WATCHDOG_S`, a topic that has vanished), the producer goes, and a new one begins at the
oldest entry that is not settled.

The invariant: the entries in flight are those after the last settled one, without gaps, as far as the cursor. An
idempotent producer writes a partition's records in the order of their sequence numbers or not at all, so what a
consumer reads is a prefix in order, then the same again from an earlier record on: after equal event ids are dropped,
every record once, in order.

Each topic has a lane of its own, so one that is gone holds up no other.

A record that is refused for good takes the records of its batch with it. So after a refusal they are sent again a few
at a time, and those few one by one: what is refused alone goes to the dead letters, and the others are delivered.
"""

import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sinks.kafka.client import BROKEN_RECORD, REFUSED_FOR_GOOD, KafkaClient, Producer
from sinks.kafka.dead_letter import wrapped
from sinks.message import Message
from sinks.spool import REFUSED, Spooled

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.2, 1.0

IN_FLIGHT = 1_000
"""Entries that the client library holds at most."""

NARROW = 32
"""Entries in flight at most where one of very many was refused."""

WATCHDOG_S = 5.0
"""Without an acknowledgement for so long, while one is due, the producer is replaced."""

_POLL_S = 0.5


class Entries(Protocol):
    """A spool, or what another process sees of it: `sinks.spool.Spool`, `sinks.kafka.process.SpoolCopy`."""

    def __len__(self) -> int: ...
    def read(self, topic: str, after: int, limit: int) -> list[Spooled]: ...
    def settle(self, ids: Iterable[int]) -> None: ...
    def reject(self, one: int, reason: str) -> None: ...
    def redirect(self, one: int, entry: Message) -> None: ...


@dataclass(slots=True)
class LaneStats:
    """`errors`: times that there was no producer to be had, or that one was replaced."""

    acknowledged: int = 0
    errors: int = 0


class _Odd(Exception):
    """Something after which this producer is not trusted any more."""


class Lane:
    """Runs on one thread from `run` to `stop`. `committed` may be called from any thread."""

    def __init__(
        self, topic: str, spool: Entries, client: KafkaClient, *, dead_letters: str = "", lazy: bool = False
    ) -> None:
        """`dead_letters`: the topic for what is refused for good; empty: it goes to the spool's file. `lazy`: it
        connects when there is something to deliver."""
        self.topic = topic
        self._lazy = lazy
        self._dead_letters = dead_letters
        self.stats = LaneStats()
        self.connected = False
        self.ended = threading.Event()
        self._producer: Producer | None = None
        self._spool, self._client = spool, client
        self._changed = threading.Condition()
        self._committed = True
        self._backlog = False
        self._stop_at: float | None = None
        self._flight: OrderedDict[int, float] = OrderedDict()  # id -> when it was sent
        self._cursor = 0
        self._window = IN_FLIGHT
        self._narrow_until = 0  # the window is narrow for entries up to this one
        self._acknowledged: list[int] = []
        self._problem: Exception | None = None
        self._away_since: float | None = None

    def committed(self) -> None:
        """There may be entries to read."""
        with self._changed:
            self._committed = True
            self._changed.notify_all()

    def stop(self, by: float) -> None:
        """Deliver what is there until `by` (monotonic), then end."""
        with self._changed:
            self._stop_at = by
            self._changed.notify_all()

    def run(self) -> None:
        """The lane's thread."""
        try:
            self._run()
        finally:
            self.ended.set()

    def _run(self) -> None:
        delay_s = RETRY_FIRST_S
        while not self._is_over():
            if self._lazy and not self._has_work():
                self._wait(_POLL_S)
                continue
            producer = None
            before = self.stats.acknowledged
            try:
                producer = self._client.producer(self.topic)
                self._deliver(producer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the calls go on and the operator reads it
                self.stats.errors += 1
                if not isinstance(error, REFUSED_FOR_GOOD):  # a refusal is no outage
                    self._away(error)
            finally:
                self.connected = False
                self._settle()
                if producer is not None:
                    self._client.dispose(producer)
            if self.stats.acknowledged != before:
                delay_s = RETRY_FIRST_S
            self._wait(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)

    def _wait(self, delay_s: float) -> None:
        """The end cuts it short."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop_at is not None, delay_s)

    def _is_over(self) -> bool:
        return self._stop_at is not None and (time.monotonic() >= self._stop_at or not self._has_work())

    def _has_work(self) -> bool:
        try:
            return bool(self._flight) or bool(self._spool.read(self.topic, 0, 1))
        except sqlite3.Error:
            return False

    def _deliver(self, producer: Producer) -> None:
        """Until the lane is to stop, or something is odd: then it raises."""
        with self._changed:
            self._flight.clear()
            self._acknowledged.clear()
            self._problem, self._cursor, self._producer, self._committed = None, 0, producer, True
        self.connected = True
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, _POLL_S)
                self._committed = False
            self._settle()
            free = self._free()
            self._check()
            entries = self._spool.read(self.topic, self._cursor, free) if free > 0 else []
            for one in entries:
                self._send(producer, one)
            self._backlog = len(entries) == free
            if not entries and not self._flight and self._stop_at is not None:
                return

    def _is_due(self) -> bool:
        """Whether there is something to do. Of a backlog, half of what may be in flight is read at once."""
        free = self._free()
        return bool(
            self._problem is not None
            or len(self._acknowledged) >= IN_FLIGHT // 2
            or (not self._flight and (self._acknowledged or self._stop_at is not None))
            or (self._committed and free > 0)
            or (self._backlog and (free >= IN_FLIGHT // 2 or not self._flight))
        )

    def _free(self) -> int:
        """How many entries may be sent now."""
        return (self._window if self._cursor < self._narrow_until else IN_FLIGHT) - len(self._flight)

    def _check(self) -> None:
        """Raises where the producer is to be replaced, or the time is up."""
        if self._problem is not None:
            raise self._problem
        now = time.monotonic()
        if self._stop_at is not None and now >= self._stop_at:
            raise _Odd("closed before everything was acknowledged: the rest is in the spool")
        with self._changed:
            oldest = next(iter(self._flight.values()), now)
        if now - oldest > WATCHDOG_S:
            raise _Odd(f"no acknowledgement for {WATCHDOG_S:g} s")

    def _send(self, producer: Producer, one: Spooled) -> None:
        entry = one.entry
        with self._changed:
            self._flight[one.id] = time.monotonic()
            self._cursor = one.id
        try:
            future = producer.send(self.topic, key=entry.key, value=entry.value, headers=list(entry.headers))
        except BROKEN_RECORD as error:
            with self._changed:
                del self._flight[one.id]
            self._reject(one, error)
            return
        future.add_callback(lambda _: self._on_acknowledged(one.id, producer))
        future.add_errback(lambda error: self._on_error(one, error, producer))

    def _on_acknowledged(self, one: int, producer: Producer) -> None:
        """On the client library's thread. An acknowledgement counts whoever got it."""
        with self._changed:
            self._acknowledged.append(one)
            if producer is self._producer:
                self._flight.pop(one, None)
            self._changed.notify_all()

    def _on_error(self, one: Spooled, error: Exception, producer: Producer) -> None:
        """On the client library's thread, before it sends anything more. What follows a record that failed must not
        overtake it: all begin anew."""
        self._client.halt(producer)
        with self._changed:
            if producer is self._producer and self._problem is None:
                self._problem = error
                if isinstance(error, REFUSED_FOR_GOOD):
                    if len(self._flight) == 1:
                        self._reject(one, error)
                    else:
                        self._window = NARROW if len(self._flight) > NARROW else 1
                        self._narrow_until = self._cursor
            self._changed.notify_all()

    def _settle(self) -> None:
        with self._changed:
            done, self._acknowledged = self._acknowledged, []
        if done:
            self.stats.acknowledged += len(done)
            self._spool.settle(done)
            if self._away_since is not None:
                away_s = time.monotonic() - self._away_since
                log.info("kafka: %s is delivered again after %.1f s, %d waited", self.topic, away_s, len(self._spool))
                self._away_since = None

    def _reject(self, one: Spooled, error: Exception) -> None:
        """To the topic of dead letters, with the reason beside what it had; what that refuses, too, to the file."""
        why = f"{REFUSED}: {type(error).__name__}"
        log.error("kafka: a record of %s is refused for good: %s: %s", self.topic, error, one.entry.named)
        if not self._dead_letters:
            self._spool.reject(one.id, why)
            return
        self._spool.redirect(one.id, wrapped(one.entry, why, self._dead_letters))

    def _away(self, error: Exception) -> None:
        """Said once, until something is delivered again."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("kafka: %s: %s; records wait in the spool", self.topic, error)
