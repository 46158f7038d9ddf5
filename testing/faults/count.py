"""Counting: the journal against a real consumer, the dead letters and the spool."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from sinks.record import AnyRecord, decode
from testing.faults.journal import Journal

SILENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Consumed:
    topic: str
    partition: int
    record: AnyRecord


@dataclass(frozen=True, slots=True)
class Tally:
    """Of emitted records, each in one place, the first that it is in: `delivered`, `dead_lettered`, `spooled`,
    `destroyed` (acknowledged, then deleted with its topic by the schedule), or nowhere, `lost`.

    `doubled`: after equal event ids are dropped, there is still a second one with the same number, or it is a dead
    letter as well. `out_of_order`: a record before one of lower number of the same call and topic. `strangers`: nobody
    published them. `repeated`: copies that the consumer drops. `uncommitted`: published, not committed when the process
    was killed, so never promised; `uncommitted_arrived` of them arrived all the same.
    """

    emitted: int
    delivered: int
    dead_lettered: int
    spooled: int
    destroyed: int
    lost: tuple[int, ...]
    doubled: tuple[int, ...]
    out_of_order: tuple[int, ...]
    strangers: tuple[int, ...]
    repeated: int
    uncommitted: int
    uncommitted_arrived: int

    @property
    def kept(self) -> bool:
        """The promise, but for liveness."""
        return not (self.lost or self.doubled or self.out_of_order or self.strangers)


def tally(journal: Journal, consumed: Sequence[Consumed], dead: set[int], spool: Path, destroyed: set[int]) -> Tally:
    """`dead`: numbers of the dead letters, of topic and file. `destroyed`: acknowledged on a topic before the schedule
    deleted it."""
    ids: dict[int, set[str]] = defaultdict(set)
    newest: dict[tuple[str, str], int] = {}
    out_of_order, seen = [], set[str]()
    for one in consumed:
        event_id, n = one.record.event_id, one.record.seq
        ids[n].add(event_id)
        if event_id in seen:
            continue
        seen.add(event_id)
        place = one.topic, one.record.call_id
        if n < newest.get(place, -1):
            out_of_order.append(n)
        newest[place] = max(n, newest.get(place, -1))
    waiting = set(spooled(spool))
    rest = set(journal.committed)
    places = []
    for place_of in (ids.keys(), dead, waiting, destroyed):
        places.append(len(rest & place_of))
        rest -= place_of
    delivered, dead_lettered, left, gone = places
    uncommitted = journal.published.keys() - journal.committed
    return Tally(
        emitted=len(journal.committed),
        delivered=delivered,
        dead_lettered=dead_lettered,
        spooled=left,
        destroyed=gone,
        lost=tuple(sorted(rest)),
        doubled=tuple(sorted(n for n, of in ids.items() if len(of) > 1 or n in dead)),
        out_of_order=tuple(out_of_order),
        strangers=tuple(sorted((ids.keys() | dead | waiting) - journal.published.keys())),
        repeated=len(consumed) - len(seen),
        uncommitted=len(uncommitted),
        uncommitted_arrived=len(uncommitted & ids.keys()),
    )


def consume(bootstrap: str, topics: Sequence[str]) -> list[Consumed]:
    """All that is there, in order within each partition. Blocks."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        parts = [TopicPartition(topic, part) for topic in topics for part in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(parts)
        found = []
        while any(consumer.position(part) < end for part, end in ends.items()):
            for part, messages in consumer.poll(timeout_ms=500).items():
                found += [Consumed(part.topic, part.partition, decode(message.value)) for message in messages]
        return found
    finally:
        consumer.close()


def dead_letters(spool: Path) -> Iterator[int]:
    """Numbers of the records in the dead-letter file. Of a line that a power failure cut nothing is expected."""
    path = spool.with_name(spool.name + ".dead-letters.jsonl")
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            letter = json.loads(line)
        except ValueError:
            continue
        yield decode(letter["value"]).seq


def spooled(spool: Path) -> Iterator[int]:
    """Numbers of the records that a stopped sink left. Files moved aside as damaged are not looked at."""
    database = sqlite3.connect(spool)
    for (value,) in database.execute("SELECT value FROM entries"):
        yield decode(value).seq
    database.close()
