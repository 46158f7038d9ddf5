"""Records to Kafka: finals, partials and events each to their topic, keyed by the call."""

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.outbox import MemoryOutbox, Outbox, OutboxEntry
from sinks.record import SCHEMA, AnyRecord, TranscriptRecord, encode, is_partial
from supervision import Supervisor

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.5
RETRY_MAX_S = 10.0
CLOSE_MARGIN_S = 1.0
METADATA_WAIT_MS = 3_000
RECONNECT_MAX_MS = 5_000
ENTRIES_PER_TURN = 500


@dataclass(slots=True)
class KafkaStats:
    """`undelivered`: records given up, because the broker refused them, delivery timed out, or the sink closed."""

    acknowledged: int = 0
    undelivered: int = 0


class KafkaSink:
    """Publishes with acks=all and idempotence; the key is the call id, so a call keeps its order within a topic.

    `write` encodes and puts into a bounded outbox; when that is full it waits, and the queue before the sink sheds.
    One thread connects, looks up the topics before the first record (the client blocks for that) and feeds the
    client library; while the broker is away it waits and tries again, and the calls go on. `outbox` is where another
    kind of outbox is put in place of the one in memory; it is made from the limit and the callback for when it can
    accept again.
    """

    name = "kafka"

    def __init__(
        self, config: KafkaConfig, *, outbox: Callable[[int, Callable[[], None]], Outbox] = MemoryOutbox
    ) -> None:
        self._config = config
        self._topics = [config.transcripts_topic, config.events_topic]
        if config.partials_topic:
            self._topics.append(config.partials_topic)
        if not all(self._topics):
            raise SinkMisconfigured("kafka: transcripts_topic and events_topic must not be empty")
        self._client = _client_settings(config)
        self._outbox = outbox(config.outbox_records, self._free_from_thread)
        self._free = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = float("inf")  # time.monotonic(), set when closing
        self._lock = threading.Lock()
        self._reported = False
        self._connected = threading.Event()
        self.supervisor = Supervisor()
        self.stats = KafkaStats()

    @property
    def connected(self) -> bool:
        """Whether the broker answered and has all topics."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Returns at once; the connection is made in the background."""
        self._loop = asyncio.get_running_loop()
        self._thread = self.supervisor.thread(self._drain, "sink kafka")

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Returns when the outbox has taken all; waits while it is full."""
        entries = [entry for record in records if (entry := self._entry(record)) is not None]
        while True:
            self._free.clear()
            entries = entries[self._outbox.offer(entries) :]
            if not entries:
                return
            await self._free.wait()

    async def close(self) -> None:
        """Wait for the acknowledgement of everything accepted, at most `close_timeout_s`; give up the rest."""
        if self._thread is None:
            return
        self._deadline = time.monotonic() + self._config.close_timeout_s
        self._closing.set()
        self._outbox.stop()
        await asyncio.to_thread(self._thread.join, self._config.close_timeout_s + 2 * CLOSE_MARGIN_S)

    def _entry(self, record: AnyRecord) -> OutboxEntry | None:
        partial = is_partial(record)
        if partial:
            topic = self._config.partials_topic
        elif isinstance(record, TranscriptRecord):
            topic = self._config.transcripts_topic
        else:
            topic = self._config.events_topic
        if not topic:
            return None
        kind = str(record.__struct_config__.tag)
        headers = (("schema", SCHEMA.encode()), ("event_id", record.event_id.encode()), ("type", kind.encode()))
        return OutboxEntry(topic, record.call_id.encode(), encode(record), headers, partial)

    def _free_from_thread(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._free.set)

    # The rest runs on the sink's thread, `_settle` on the client library's.

    def _drain(self) -> None:
        producer = self._connect()
        while producer is not None and (entries := self._outbox.take(ENTRIES_PER_TURN)):
            for entry in entries:
                try:
                    self._send(producer, entry)
                except Exception as error:  # noqa: BLE001 - the next record is another one
                    self.supervisor.fault("sink kafka", error, "a record is not delivered")
                    self._settle(entry, error)
        self._finish(producer)

    def _connect(self) -> "KafkaProducer | None":
        """A producer that knows all topics. None: closed before there was one."""
        delay_s = RETRY_FIRST_S
        while not self._closing.is_set():
            producer: KafkaProducer | None = None
            try:
                _reach(self._client["bootstrap_servers"])
                self._look_up_topics()
                producer = KafkaProducer(
                    **self._client,
                    acks="all",
                    enable_idempotence=True,
                    delivery_timeout_ms=round(1000 * self._config.delivery_timeout_s),
                    max_block_ms=METADATA_WAIT_MS,
                )
                for topic in self._topics:
                    producer.partitions_for(topic)
            except Exception as error:  # noqa: BLE001 - whatever it is, the calls go on and the operator reads it
                self._report(error)
                if producer is not None:
                    producer.close(timeout=0)
            else:
                if self._reported:
                    log.info("kafka: connected")
                self._reported = False
                self._connected.set()
                return producer
            self._closing.wait(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)
        return None

    def _look_up_topics(self) -> None:
        """Create what is missing, if so configured. Raises `LookupError` for topics that are not there.

        By the admin client, because a producer that asks for a missing topic makes the broker create it where the
        broker is set to: the client library does not pass on its setting against that.
        """
        settings = {
            "num_partitions": self._config.partitions or -1,
            "replication_factor": self._config.replication_factor or -1,
        }
        admin = KafkaAdminClient(**self._client)
        try:
            missing = _missing(admin, self._topics)
            if missing and self._config.create_topics:
                with suppress(TopicAlreadyExistsError):  # another server was faster
                    admin.create_topics(dict.fromkeys(missing, settings), wait_for_metadata=True)
                log.info("kafka: created %s", ", ".join(missing))
                missing = _missing(admin, self._topics)
        finally:
            admin.close()
        if missing:
            raise LookupError(f"topics to be created first: {', '.join(missing)}")

    def _send(self, producer: "KafkaProducer", entry: OutboxEntry) -> None:
        """Give one entry to the client. Blocks only if its topic has vanished, until that is back or time is up."""
        while True:
            if time.monotonic() >= self._deadline:
                self._settle(entry, TimeoutError("closed before it could be sent"))
                return
            try:
                future = producer.send(entry.topic, key=entry.key, value=entry.value, headers=list(entry.headers))
            except KafkaTimeoutError as error:
                self._report(error)
            except Exception as error:  # noqa: BLE001 - too large, say: this record never goes, the next one may
                self._settle(entry, error)
                return
            else:
                future.add_callback(lambda _: self._settle(entry, None))
                future.add_errback(lambda error: self._settle(entry, error))
                return

    def _settle(self, entry: OutboxEntry, error: BaseException | None) -> None:
        with self._lock:
            if error is None:
                self.stats.acknowledged += 1
                self._reported = False
            else:
                self.stats.undelivered += 1
        if error is not None:
            self._report(error)
        self._outbox.settle(entry, error)

    def _finish(self, producer: "KafkaProducer | None") -> None:
        """Wait for acknowledgements until the deadline, then give up what is left."""
        self._connected.clear()
        if producer is not None:
            if self._outbox.wait_settled(max(self._deadline - time.monotonic(), 0.0)):
                # The public close() raises while records are unacknowledged, and leaves the sender running.
                producer._sender.force_close()
                producer._sender.join(CLOSE_MARGIN_S)
            try:
                producer.close(timeout=CLOSE_MARGIN_S)
            except KafkaError as error:
                self._report(error)
        for entry in self._outbox.take(self._config.outbox_records):
            self._settle(entry, ConnectionError("closed before the broker was there"))
        if self.stats.undelivered:
            log.error("kafka: %d records were not delivered", self.stats.undelivered)

    def _report(self, problem: object) -> None:
        """Log a problem once, until there is success again."""
        if not self._reported:
            log.warning("kafka: %s; trying on", problem)
        self._reported = True


def _missing(admin: "KafkaAdminClient", topics: Sequence[str]) -> list[str]:
    there = {topic["name"] for topic in admin.describe_topics(list(topics)) if not topic["error_code"]}
    return [topic for topic in topics if topic not in there]


def _reach(servers: Sequence[str]) -> None:
    """Raises `OSError` if none of the servers takes a connection.

    The client library leaves a socket open for every attempt that is refused, so it is not tried in vain.
    """
    problem: OSError | None = None
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=METADATA_WAIT_MS / 1000).close()
        except OSError as error:
            problem = OSError(f"{server}: {error.strerror or error}")
        else:
            return
    if problem is not None:
        raise problem


def _client_settings(config: KafkaConfig) -> dict[str, Any]:
    servers = [server.strip() for server in config.bootstrap_servers.split(",") if server.strip()]
    if not servers or not all(re.fullmatch(r".+:\d{1,5}", server) for server in servers):
        raise SinkMisconfigured(f"kafka: bootstrap_servers must be host:port, not {config.bootstrap_servers!r}")
    settings: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": config.client_id,
        "bootstrap_timeout_ms": METADATA_WAIT_MS,
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": config.security_protocol,
    }
    optional = {
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": config.sasl_password,
        "ssl_cafile": config.tls_ca_file,
    }
    return settings | {name: value for name, value in optional.items() if value is not None}


__all__ = ["KafkaConfig", "KafkaSink", "KafkaStats"]
