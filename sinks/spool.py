"""A write-ahead spool: what must not be lost is on disk before it is handed to a broker.

The idea: the event loop appends records; one thread commits what has gathered, with one fsync for all of it; whoever
delivers reads committed entries in the order of their ids and settles them; the same thread deletes what is settled.
So the disk alone is the truth. Whoever delivers may be thrown away at any moment: it begins again at the oldest entry
that is not settled, and what a broker had already comes twice, with the same `event_id`.

The invariant: an entry is in exactly one place, waiting for its commit, on disk, or, where the disk refuses, in
memory; it leaves by `settle` or into the dead-letter file, which is synced before the entry is deleted:

    appended = settled + dead-lettered + lost + `len(spool)`

Durability: SQLite in WAL mode with `synchronous = FULL`, so a commit returns after the log's fsync. Commits are not
timed: the next one takes whatever came while the last one ran, and waits `GATHER_S` for company. A deletion that is
lost with a power failure brings an entry back, which is then delivered twice; it is never the other way round.

Example: entries 1, 2, 3 of topic "a" are committed. A sender reads 1 to 3, and 2 is acknowledged: `settle([2])`. The
process is killed. The next one opens the spool, finds 1 and 3, and sends them before anything newer.

Source: https://www.sqlite.org/wal.html, sections 2.2 and 4.
"""

import json
import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sinks.dead_letters import Letter, write_letters
from sinks.errors import SinkMisconfigured
from sinks.message import Message
from sinks.spool_file import letters_of, locked, opened, reading, shrink
from supervision import Supervisor

log = logging.getLogger(__name__)

GATHER_S = 0.01
"""Between the first entry that waits and the commit."""

IDLE_S = 1.0
"""At least so often the thread looks at ages, and tries a disk that refused again."""

FULL, OLD, REFUSED = "full", "old", "refused"
"""Why entries go to the dead-letter file: the spool's bound of bytes, that of age, or the broker's word for good."""

_SETTLED, _REDIRECTED = "", "redirected"
"""How else entries leave."""

_OVERHEAD = 120
"""Bytes of a row beside its columns, as counted against the bound."""

_SELECT = "SELECT id, topic, key, value, headers, at FROM entries"
_BOUNDS = {FULL: "it is full (spool_max_bytes)", OLD: "records are too old (spool_max_age_h)"}


@dataclass(frozen=True, slots=True)
class Spooled:
    """An entry with its place. `at`: when it was appended, seconds since the epoch."""

    id: int
    entry: Message
    at: float

    @property
    def size(self) -> int:
        """Bytes, as counted against the bound."""
        return len(self.entry.key) + len(self.entry.value) + _OVERHEAD


@dataclass(slots=True)
class SpoolStats:
    """`appended`: entries taken over, those of a former process included. `settled`: delivered, by topic.
    `dead_lettered`: in the file, by reason. `lost`: refused by the disk with the memory for such entries full."""

    appended: int = 0
    lost: int = 0
    disk_errors: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)


class Spool:
    """One file, one process, several readers. `append`, `read`, `settle` and `reject` are thread-safe.

    `on_committed` is called on the spool's thread after each commit. `max_bytes`, `max_age_s`: what is beyond them goes
    to the dead-letter file, the oldest first. `memory_entries`: kept while the disk refuses; more are lost, and
    counted. Raises `SinkMisconfigured` where the file cannot be used, or another process has it.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        on_committed: Callable[[], None],
        supervisor: Supervisor,
        memory_entries: int = 10_000,
    ) -> None:
        self.path = path
        self.dead_letters = letters_of(path)
        self.stats = SpoolStats()
        self._max_bytes, self._max_age_s, self._memory_entries = max_bytes, max_age_s, memory_entries
        self._on_committed = on_committed
        self._supervisor = supervisor
        self._changed = threading.Condition()
        self._waiting: list[Spooled] = []
        self._memory: dict[int, Spooled] = {}  # newer than all on disk, older than all that wait
        self._leaving: dict[int, str] = {}  # and how: one of the above, or the reason of a dead letter
        self._generation = 0  # of what is on disk and what in memory
        self._committing = False
        self._unburied = False
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._bound_reached: str | None = None
        self._readers = threading.local()
        self._began = time.time(), time.monotonic()
        self._lock, known = locked(path)
        try:
            self._database = opened(path, known=known)
            count, size, newest, oldest = self._database.execute(
                "SELECT count(*), total(size), coalesce(max(id), 0), min(at) FROM entries"
            ).fetchone()
        except SinkMisconfigured:
            os.close(self._lock)
            raise
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise SinkMisconfigured(f"spool {path}: {error}: make it writable, or move it away") from error
        self._bytes = int(size)
        self._oldest_at: float | None = oldest
        self._next_id = int(newest) + 1
        self.stats.appended = self._unsettled = int(count)

    def __len__(self) -> int:
        """Entries that are neither settled nor dead-lettered nor lost."""
        return self._unsettled

    @property
    def bytes(self) -> int:
        """Of the entries on disk."""
        return self._bytes

    @property
    def degraded(self) -> bool:
        """The disk refuses: entries are in memory alone."""
        return bool(self._memory)

    @property
    def held(self) -> list[Spooled]:
        """The entries in memory alone, in order."""
        with self._changed:
            return list(self._memory.values())

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest entry on disk has waited."""
        return 0.0 if self._oldest_at is None else max(self._now() - self._oldest_at, 0.0)

    def start(self) -> None:
        """Start the thread that commits."""
        self._thread = self._supervisor.thread(self._run, "spool")

    def stop(self) -> None:
        """Commit what waits, then end. Blocks for as long as the disk takes."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._memory:
            self.stats.lost += len(self._memory)
            self._unsettled -= len(self._memory)
            log.error("spool %s: %d records are lost: the disk refuses to the end", self.path, len(self._memory))
            self._memory.clear()
        self._database.close()
        os.close(self._lock)

    def append(self, entries: Iterable[Message]) -> None:
        """Take entries over, to be committed; never blocks."""
        at = self._now()
        with self._changed:
            before = self._next_id
            for entry in entries:
                self._waiting.append(Spooled(self._next_id, entry, at))
                self._next_id += 1
            self.stats.appended += self._next_id - before
            self._unsettled += self._next_id - before
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was appended is committed; False where it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._committing, timeout_s)

    def read(self, topic: str, after: int, limit: int) -> list[Spooled]:
        """The oldest entries of a topic with ids beyond `after` that may be delivered, in order. Raises
        `sqlite3.Error`."""
        with self._changed:
            generation, left = self._generation, set(self._leaving)  # some are forgotten while the file is read
        found = read_entries(self._reader(), topic, after, limit)
        with self._changed:
            if len(found) < limit and generation == self._generation:
                newer = (one for one in self._memory.values() if one.entry.topic == topic and one.id > after)
                found += [one for one, _ in zip(newer, range(limit - len(found)), strict=False)]
            return [one for one in found if one.id not in left and one.id not in self._leaving]

    def topics(self) -> list[str]:
        """Those of which a former process left entries; to be asked before `start`."""
        return [topic for (topic,) in self._database.execute("SELECT DISTINCT topic FROM entries ORDER BY topic")]

    def settle(self, ids: Iterable[int]) -> None:
        """These were delivered. Idempotent."""
        with self._changed:
            for one in ids:
                self._leaving.setdefault(one, _SETTLED)
            self._changed.notify_all()

    def reject(self, one: int, reason: str = REFUSED) -> None:
        """This one never will be delivered: to the dead-letter file. `reason`: a word, and after a colon what is to be
        read beside it. Idempotent."""
        with self._changed:
            self._leaving.setdefault(one, reason)
            self._changed.notify_all()

    def redirect(self, one: int, entry: Message) -> None:
        """This entry takes the place of that one, in one transaction. Idempotent."""
        with self._changed:
            if one not in self._leaving:
                self._leaving[one] = _REDIRECTED
                self._waiting.append(Spooled(self._next_id, entry, self._now()))
                self._next_id += 1
            self._changed.notify_all()

    def _now(self) -> float:
        """Seconds since the epoch by the clock as it was at the start: a step of the clock makes nothing old."""
        wall, monotonic = self._began
        return wall + time.monotonic() - monotonic

    def _reader(self) -> sqlite3.Connection:
        """A connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = reading(self.path)
        return connection

    # On the spool's thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._leaving or self._stopped, IDLE_S)
                stopped, gather = self._stopped, bool(self._waiting)
            if gather and not stopped:
                time.sleep(GATHER_S)
            try:
                self._bound()
            except sqlite3.Error:  # what cannot be read is bounded later; what comes is committed
                self.stats.disk_errors += 1
            self._commit()
            if not gather and not stopped:
                shrink(self._database)
            with self._changed:
                self._committing = False
                self._changed.notify_all()
            self._on_committed()
            if stopped:
                return

    def _commit(self) -> None:
        """What waits is on disk after it, what leaves is not."""
        with self._changed:
            fresh, self._waiting = self._waiting, []
            self._committing = bool(fresh)
            leaving = dict(self._leaving)
            kept = {one.id: one for one in (*self._memory.values(), *fresh)}
        if not kept and not leaving:
            return
        try:
            leaving = self._bury(leaving, kept)
            entering = [one for one in kept.values() if one.id not in leaving]
            with self._database:
                gone = self._delete(leaving, kept)
                self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, entering))
        except (sqlite3.Error, OSError) as error:
            self._keep(fresh, error)
            return
        if self._memory:
            log.warning("spool %s: the disk takes records again, %d of them from memory", self.path, len(self._memory))
        with self._changed:
            self._memory.clear()
            self._generation += 1
            for one in leaving:
                del self._leaving[one]
            self._unsettled -= sum(how != _REDIRECTED for _, _, how in gone)
        self._count(entering, gone)

    def _delete(self, leaving: dict[int, str], kept: dict[int, Spooled]) -> list[tuple[str, int, str]]:
        """Delete, in the present transaction, what leaves: topics, sizes on disk and how, of what was there."""
        gone = [(kept[one].entry.topic, 0, how) for one, how in leaving.items() if one in kept]
        ids = json.dumps([one for one in leaving if one not in kept])
        rows = self._database.execute(
            "DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?)) RETURNING id, topic, size", (ids,)
        )
        return gone + [(topic, size, leaving[one]) for one, topic, size in rows]

    def _count(self, entering: Sequence[Spooled], gone: Sequence[tuple[str, int, str]]) -> None:
        self._bytes += sum(one.size for one in entering) - sum(size for _, size, _ in gone)
        for topic, _, how in gone:
            if how == _SETTLED:
                self.stats.settled[topic] += 1
            elif how != _REDIRECTED:
                self.stats.dead_lettered[how.partition(":")[0]] += 1
        if gone or self._oldest_at is None:
            self._oldest_at = self._found_oldest()

    def _found_oldest(self) -> float | None:
        try:
            row = self._database.execute("SELECT at FROM entries ORDER BY id LIMIT 1").fetchone()
        except sqlite3.Error:
            self.stats.disk_errors += 1
            return self._oldest_at
        return None if row is None else float(row[0])

    def _keep(self, fresh: Sequence[Spooled], error: Exception) -> None:
        """The disk refuses: what is new stays in memory, as far as it may."""
        self.stats.disk_errors += 1
        if not self._memory:
            log.error("spool %s: %s: records are in memory alone until the disk takes them again", self.path, error)
        with self._changed:
            delivered = [one for one, how in self._leaving.items() if how == _SETTLED and one in self._memory]
            for one in delivered:
                self.stats.settled[self._memory[one].entry.topic] += 1
                del self._leaving[one], self._memory[one]
            fits = max(self._memory_entries - len(self._memory), 0)
            self._memory |= {one.id: one for one in fresh[:fits]}
            self._generation += 1
            self._unsettled -= len(delivered) + len(fresh[fits:])
        if fresh[fits:]:
            self.stats.lost += len(fresh[fits:])
            log.error("spool %s: %d records are lost: memory for them is full, too", self.path, len(fresh[fits:]))
        time.sleep(2 * GATHER_S)

    def _bound(self) -> None:
        """What is beyond a bound becomes a dead letter, the oldest first."""
        reached = None
        if self._bytes > self._max_bytes:
            reached = FULL
            excess = self._bytes - self._max_bytes
            for one, size in self._database.execute("SELECT id, size FROM entries ORDER BY id"):
                if excess <= 0:
                    break
                excess -= size
                self.reject(one, FULL)
        if self.oldest_age_s > self._max_age_s:
            reached = OLD
            before = self._now() - self._max_age_s
            for (one,) in self._database.execute("SELECT id FROM entries WHERE at < ? ORDER BY id", (before,)):
                self.reject(one, OLD)
        if reached is not None and self._bound_reached is None:
            log.error("spool %s: %s: its oldest records go to %s", self.path, _BOUNDS[reached], self.dead_letters)
        self._bound_reached = reached

    def _bury(self, leaving: dict[int, str], kept: dict[int, Spooled]) -> dict[int, str]:
        """Write those that leave as dead letters to their file, synced; returns what may leave now."""
        dead = {one: how for one, how in leaving.items() if how not in (_SETTLED, _REDIRECTED)}
        letters = []
        for one, how in dead.items():
            row = self._database.execute(f"{_SELECT} WHERE id = ?", (one,)).fetchone()
            entry = kept.get(one) or (row and _spooled(row))
            letters += [Letter(how, entry.entry, entry.at)] if entry else []
        if not letters:
            return leaving
        try:
            write_letters(self.dead_letters, letters)
        except OSError as error:
            if not self._unburied:
                log.error("spool: %s: %s: dead letters stay in the spool", self.dead_letters, error)  # noqa: TRY400
            self._unburied = True
            return {one: how for one, how in leaving.items() if one not in dead}
        self._unburied = False
        return leaving


def read_entries(connection: sqlite3.Connection, topic: str, after: int, limit: int) -> list[Spooled]:
    """The oldest committed entries of a topic with ids beyond `after`, in order. Raises `sqlite3.Error`."""
    rows = connection.execute(f"{_SELECT} WHERE topic = ? AND id > ? ORDER BY id LIMIT ?", (topic, after, limit))
    return [_spooled(row) for row in rows]


def _row(one: Spooled) -> tuple[int, str, bytes, bytes, str, float, int]:
    headers = json.dumps([[name, value.decode("utf-8", "surrogateescape")] for name, value in one.entry.headers])
    return one.id, one.entry.topic, one.entry.key, one.entry.value, headers, one.at, one.size


def _spooled(row: tuple[int, str, bytes, bytes, str, float]) -> Spooled:
    one, topic, key, value, headers, at = row
    pairs = tuple((name, text.encode("utf-8", "surrogateescape")) for name, text in json.loads(headers))
    return Spooled(one, Message(topic, key, value, pairs), at)
