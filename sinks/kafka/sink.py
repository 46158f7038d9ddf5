"""Records to Kafka: finals, partials and events each to their topic, keyed by the call.

Finals and events are durable: they go into a spool on disk (`sinks.spool`). A process of its own (`process`) delivers
them, with a lane for each topic (`lane`); partials it gets as far as it has room for them (`partials`).
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sinks.config import KafkaConfig
from sinks.delivery import Delivery
from sinks.kafka.client import KafkaClient
from sinks.kafka.latest import Latest
from sinks.kafka.link import PROGRAM, DeliveryLink
from sinks.message import Message
from sinks.record import SCHEMA, AnyRecord, TranscriptRecord, encode, is_partial
from sinks.spool import REFUSED, Spool
from supervision import Supervisor


class KafkaSink:
    """Publishes with acks=all and idempotence; the key is the call id, so a call keeps its order within a topic.

    `write` never waits: durable records are appended to the spool, partials take the place of older ones of their
    segment. `program`: what is started to deliver. Raises `SinkMisconfigured` for addresses, topics or a spool that
    cannot be.
    """

    name = "kafka"

    def __init__(self, config: KafkaConfig, *, program: Sequence[str] = PROGRAM) -> None:
        KafkaClient(config)  # raises for what the delivering process could not use
        self._config = config
        self._started = False
        self.supervisor = Supervisor()
        self.spool = Spool(
            Path(config.spool),
            max_bytes=config.spool_max_bytes,
            max_age_s=3600 * config.spool_max_age_h,
            on_committed=self._committed,
            supervisor=self.supervisor,
        )
        self._latest = Latest(config.partials_waiting)
        self.link = DeliveryLink(config, self.spool, self._latest, self._message, program)

    def delivery(self) -> Delivery:
        """What the spool and its delivery count; what a former process left is among it."""
        spool, link, letters_topic = self.spool.stats, self.link, self._config.dead_letters_topic
        dead = spool.dead_lettered.copy()
        if (letters := spool.settled[letters_topic]) > 0:
            dead[REFUSED] += letters
        topics = {self._config.transcripts_topic, self._config.events_topic}
        return Delivery(
            delivered=spool.settled.total() - letters,
            delivered_partials=link.partials_acknowledged,
            spooled=len(self.spool),
            oldest_age_s=self.spool.oldest_age_s,
            dead_lettered=dead,
            lost=spool.lost,
            dropped_partials=self._latest.dropped + link.partials_dropped,
            coalesced_partials=self._latest.coalesced,
            errors=spool.disk_errors + link.errors,
            connected=all(topic in link.lanes and link.lanes[topic].connected for topic in topics),
            degraded=self.spool.degraded,
        )

    async def start(self) -> None:
        """Returns at once; connections are made in the background. What a former process left goes first."""
        self._started = True
        self.spool.start()
        self.link.start(self.supervisor)

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Take them over; they are on disk within a commit's time."""
        partials, durable = [], []
        for record in records:
            if isinstance(record, TranscriptRecord) and not record.is_final:
                partials.append(record)
            else:
                durable.append(self._message(record))
        if partials and self._config.partials_topic:
            self.link.offer(partials)
        if durable:
            self.spool.append(durable)

    async def close(self) -> None:
        """Give what is spooled `close_timeout_s` to be acknowledged; the rest stays for the next start."""
        if self._started:
            await self.link.close(time.monotonic() + self._config.close_timeout_s)
        await asyncio.to_thread(self.spool.stop)

    def _committed(self) -> None:
        """On the spool's thread."""
        self.link.committed()

    def _message(self, record: AnyRecord) -> Message:
        partial = is_partial(record)
        topic = self._config.events_topic
        if isinstance(record, TranscriptRecord):
            topic = self._config.partials_topic if partial else self._config.transcripts_topic
        kind = str(record.__struct_config__.tag)
        headers = (("schema", SCHEMA.encode()), ("event_id", record.event_id.encode()), ("type", kind.encode()))
        return Message(topic, record.call_id.encode(), encode(record), headers)


__all__ = ["KafkaConfig", "KafkaSink"]
