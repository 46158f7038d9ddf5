"""Records to Kafka: finals, partials and events each to their topic, keyed by the call.

Finals and events are durable: they go into a spool on disk (`sinks.spool`), from which a lane for each topic delivers
them (`lane`). Partials have a bounded lane of their own in memory (`partials`).
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sinks.config import KafkaConfig
from sinks.delivery import Delivery
from sinks.kafka.client import KafkaClient
from sinks.kafka.lane import Lane
from sinks.kafka.partials import PartialsLane
from sinks.kafka.topics import check_names
from sinks.message import Message
from sinks.record import SCHEMA, AnyRecord, TranscriptRecord, encode, is_partial
from sinks.spool import REFUSED, Spool
from supervision import Supervisor

GRACE_S = 2.0
"""For a lane to end after its time is up."""


class KafkaSink:
    """Publishes with acks=all and idempotence; the key is the call id, so a call keeps its order within a topic.

    `write` never waits: durable records are appended to the spool, partials take the place of older ones of their
    segment. Raises `SinkMisconfigured` for addresses, topics or a spool that cannot be.
    """

    name = "kafka"

    def __init__(self, config: KafkaConfig) -> None:
        check_names(config)
        self._config = config
        self._started = False
        self.supervisor = Supervisor()
        client = KafkaClient(config)
        self.spool = Spool(
            Path(config.spool),
            max_bytes=config.spool_max_bytes,
            max_age_s=3600 * config.spool_max_age_h,
            on_committed=self._committed,
            supervisor=self.supervisor,
        )
        topics = dict.fromkeys((config.transcripts_topic, config.events_topic))
        self._letters = config.dead_letters_topic
        self.lanes = [Lane(topic, self.spool, client, dead_letters=self._letters) for topic in topics]
        self._all_lanes = [
            *self.lanes,
            *([Lane(self._letters, self.spool, client, lazy=True)] if self._letters else []),
        ]
        self.partials: PartialsLane | None = None
        if config.partials_topic:
            self.partials = PartialsLane(config.partials_topic, client, config.partials_waiting, self._message)

    def delivery(self) -> Delivery:
        """What the spool and the lanes count; what a former process left is among it."""
        spool = self.spool.stats
        dead = spool.dead_lettered.copy()
        if (letters := spool.settled[self._letters]) > 0:
            dead[REFUSED] += letters
        found = Delivery(
            delivered=spool.settled.total() - letters,
            spooled=len(self.spool),
            oldest_age_s=self.spool.oldest_age_s,
            dead_lettered=dead,
            lost=spool.lost,
            errors=spool.disk_errors + sum(lane.stats.errors for lane in self._all_lanes),
            connected=all(lane.connected for lane in self.lanes),
            degraded=self.spool.degraded,
        )
        if self.partials is not None:
            partials = self.partials.stats
            found.delivered_partials = partials.acknowledged
            found.dropped_partials, found.coalesced_partials = partials.dropped, partials.coalesced
        return found

    async def start(self) -> None:
        """Returns at once; connections are made in the background. What a former process left goes first."""
        self._started = True
        self.spool.start()
        for lane in self._all_lanes:
            self.supervisor.thread(lane.run, f"kafka {lane.topic}")
        if self.partials is not None:
            self.supervisor.thread(self.partials.run, f"kafka {self.partials.topic}")

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Take them over; they are on disk within a commit's time."""
        partials, durable = [], []
        for record in records:
            if isinstance(record, TranscriptRecord) and not record.is_final:
                partials.append(record)
            else:
                durable.append(self._message(record))
        if partials and self.partials is not None:
            self.partials.offer(partials)
        if durable:
            self.spool.append(durable)

    async def close(self) -> None:
        """Give what is spooled `close_timeout_s` to be acknowledged; the rest stays for the next start."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        deadline = time.monotonic() + self._config.close_timeout_s
        if self.partials is not None:
            self.partials.stop(deadline)
        self.spool.flush(self._config.close_timeout_s)
        for lane in self._all_lanes:  # that of the dead letters at last
            lane.stop(deadline)
            if self._started:
                lane.ended.wait(max(deadline - time.monotonic(), 0.0) + GRACE_S)
        if self.partials is not None and self._started:
            self.partials.ended.wait(max(deadline - time.monotonic(), 0.0) + GRACE_S)
        self.spool.stop()

    def _message(self, record: AnyRecord) -> Message:
        partial = is_partial(record)
        topic = self._config.events_topic
        if isinstance(record, TranscriptRecord):
            topic = self._config.partials_topic if partial else self._config.transcripts_topic
        kind = str(record.__struct_config__.tag)
        headers = (("schema", SCHEMA.encode()), ("event_id", record.event_id.encode()), ("type", kind.encode()))
        return Message(topic, record.call_id.encode(), encode(record), headers)

    def _committed(self) -> None:
        """On the spool's thread."""
        for lane in self._all_lanes:
            lane.committed()


__all__ = ["KafkaConfig", "KafkaSink"]
