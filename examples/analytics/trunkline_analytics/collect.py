"""Topics to Parquet, by a consumer group that may be killed at any moment.

Records are held in memory until a batch is full or old enough, then written, one file a folder and partition, and
only when all files are on disk the offsets are committed. Whatever a kill leaves uncommitted is read again, and what of
it is in files already is left out (`trunkline_analytics.store`). So after any kill and a new start the files have
every record of the topics once.

Where the group shares its partitions out anew, what is held and not yet written is let go and read again, by whoever
has the partition then.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from sinks.config import KafkaConfig
from trunkline_analytics.errors import KafkaFailed
from trunkline_analytics.records import UNREAD, Row, Tally, read
from trunkline_analytics.store import Partition, Store, folder_of
from trunkline_analytics.topics import consumer, known_partitions, topics

logger = logging.getLogger("trunkline.analytics")

POLL_MS = 500
POLL_RECORDS = 5_000
COMMIT_MS = 30_000


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """`group`: the consumer group. `instance`: a name that stays the same over restarts, so that the group gives the
    partitions to the new process at once and not after the old one's session has run out. A batch is written when it
    has `batch_records` or is `batch_s` old. `once`: end where the topics ended at the start."""

    group: str = "trunkline-analytics"
    instance: str | None = None
    batch_records: int = 50_000
    batch_s: float = 60.0
    once: bool = False


@dataclass(slots=True)
class _Batch:
    """What is held of a partition: offsets from `first` on, `next` not among them."""

    first: int
    next: int
    rows: dict[Path, tuple[str, list[dict[str, Any]]]] = field(default_factory=dict)


class _Changes(ConsumerRebalanceListener):  # type: ignore[misc]
    """The client calls it on its own thread, in the middle of whatever `Collector` does; so it only leaves word."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.joined = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        del revoked
        self.came.set()

    def on_partitions_assigned(self, assigned: Any) -> None:
        logger.info("partitions: %s", ", ".join(f"{one.topic}-{one.partition}" for one in sorted(assigned)) or "none")
        self.joined = True
        self.came.set()


class Collector:
    """Subscribed to `names` from the start on; `run` on one thread.

    Invariant: what is held of a partition begins at its committed offset, less what `_uncommitted` has on disk, and
    has everything up to the last message. So to commit behind it loses nothing, whoever owns the partition by then."""

    def __init__(self, client: Any, names: Sequence[str], store: Store, options: CollectOptions) -> None:
        self.tally = Tally()
        self.written = 0
        self._client, self._store, self._options = client, store, options
        self._batches: dict[TopicPartition, _Batch] = {}
        self._uncommitted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._held = 0
        self._since = time.monotonic()
        self._ends: dict[TopicPartition, int] = {}
        self._changes = _Changes()
        client.subscribe(topics=names, listener=self._changes)

    def run(self, stop: threading.Event) -> None:
        """Returns once `stop` is set or, with `once`, at the ends. Raises `StoreFailed`, `KafkaError`."""
        while not stop.is_set():
            polled = self._client.poll(timeout_ms=POLL_MS)
            if self._changes.came.is_set():  # what was polled may be from before it
                self._begin_anew()
                continue
            for partition, messages in polled.items():
                for message in messages:
                    self._add(partition, message)
            over = self._options.once and self._at_the_ends()
            if over or self._is_due():
                self._flush()
            if over:
                return
        self._flush()

    def _is_due(self) -> bool:
        return self._held >= self._options.batch_records or time.monotonic() - self._since >= self._options.batch_s

    def _at_the_ends(self) -> bool:
        if not self._changes.joined:
            return False
        mine = self._client.assignment()
        if new := [partition for partition in mine if partition not in self._ends]:
            self._ends |= self._client.end_offsets(new)
        return all((self._client.position(partition) or 0) >= self._ends[partition] for partition in mine)

    def _begin_anew(self) -> None:
        """The partitions that there are now, each from where the group is."""
        self._changes.came.clear()
        self._batches.clear()
        self._uncommitted.clear()
        self._held = 0
        self._store.forget()
        try:
            for partition in self._client.assignment():
                committed = self._client.committed(partition)
                if committed is None:
                    self._client.seek_to_beginning(partition)
                else:
                    self._client.seek(partition, committed)
        except (KafkaError, AssertionError):  # taken away meanwhile, or the broker is
            self._changes.came.set()

    def _add(self, partition: TopicPartition, message: Any) -> None:
        batch = self._batches.get(partition)
        if batch is None:
            batch = self._batches[partition] = _Batch(message.offset, message.offset)
        batch.next = message.offset + 1
        outcome = read(message.value)
        self.tally.add(outcome)
        position = {"topic": partition.topic, "partition": partition.partition, "offset": message.offset}
        if isinstance(outcome, Row):
            folder, kind, row = folder_of(self._store.root, outcome.kind, outcome.at), outcome.kind, outcome.fields
        else:
            arrived = datetime.fromtimestamp(max(message.timestamp, 0) / 1000, UTC)
            folder, kind = folder_of(self._store.root, UNREAD, arrived), UNREAD
            row = {"reason": outcome.reason, "value": message.value}
        batch.rows.setdefault(folder, (kind, []))[1].append(row | position)
        self._held += 1

    def _flush(self) -> None:
        self._since = time.monotonic()
        written = 0
        for partition, batch in self._batches.items():
            name = Partition(partition.topic, partition.partition)
            written += self._store.write(name, batch.first, batch.next - 1, batch.rows)
            self._uncommitted[partition] = OffsetAndMetadata(batch.next, "", -1)
        self._batches.clear()
        self._held = 0
        self.written += written
        if not self._uncommitted:
            return
        places = ", ".join(f"{one.topic}-{one.partition}:{at.offset}" for one, at in sorted(self._uncommitted.items()))
        try:
            self._client.commit(self._uncommitted, timeout_ms=COMMIT_MS)
        except KafkaError as error:
            logger.warning("%d records written; not committed, which is tried again: %s", written, type(error).__name__)
            return
        self._uncommitted.clear()
        logger.info("%d records written; committed %s", written, places)


def collect(config: KafkaConfig, root: Path, options: CollectOptions) -> str:
    """Runs until it is told to stop (SIGTERM, SIGINT). Returns what was done, for people. Raises `AnalyticsError`."""
    store = Store(root)
    settings = {
        "group_id": options.group,
        "group_instance_id": options.instance,
        "max_poll_records": min(POLL_RECORDS, options.batch_records),
    }
    with _stopped_by_signals() as stop, consumer(config, **settings) as client:
        names = topics(config)
        there = {partition.topic for partition in known_partitions(client, names)}
        missing = ", ".join(name for name in names if name not in there)
        if missing and (options.once and not there):
            raise KafkaFailed(f"kafka at {config.bootstrap_servers} has none of the topics {missing}")
        if missing:
            logger.warning("not there yet, and waited for: %s", missing)
        collector = Collector(client, names, store, options)
        collector.run(stop)
    return summary(collector.written, store.doubles, collector.tally)


def summary(written: int, doubles: int, tally: Tally) -> str:
    """One line; reasons are the records' own words, so they are to be escaped."""
    parts = [f"{written} records written", f"{doubles} doubles dropped"]
    parts += [f"{count} kept unread ({reason})" for reason, count in tally.unread.most_common()]
    parts += [f"{count} with unknown field {name}" for name, count in tally.unknown_fields.most_common()]
    return ", ".join(parts)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
