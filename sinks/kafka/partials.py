"""Partials to Kafka: the newest of each segment, as long as they are fresh.

A partial is of use until the next one of its segment comes. So there is no spool for them: what waits is one record a
segment, the newest, and beyond `limit` segments the one that waits longest goes first. They have a producer of their
own: finals never wait for them, nor they for finals. All that is not sent is counted.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sinks.kafka.client import KafkaClient, Producer
from sinks.message import Message
from sinks.record import TranscriptRecord

log = logging.getLogger(__name__)

RETRY_S = 1.0

GATHER_S = 0.01
"""Between two takes at least, so that they are batches."""

SHARE = 0.25
"""Of the time, at most, in which this thread works: where there is no time for more, partials are coalesced, and
neither the event loop nor the finals wait for them."""

IN_FLIGHT = 200
"""Partials that the client library holds at most."""

STALE_S = 5.0
"""Without an acknowledgement for so long the producer is replaced."""


@dataclass(slots=True)
class PartialsStats:
    """`coalesced`: replaced by a newer one of the same segment before they were sent. `dropped`: too many waited, or
    Kafka was away."""

    acknowledged: int = 0
    coalesced: int = 0
    dropped: int = 0


class PartialsLane:
    """Runs on one thread from `run` to `stop`; `offer` may be called from any thread and never blocks.

    `message`: makes what is sent, on the lane's thread, so of those that are sent alone.
    """

    def __init__(
        self, topic: str, client: KafkaClient, limit: int, message: Callable[[TranscriptRecord], Message]
    ) -> None:
        self.topic = topic
        self._message = message
        self.stats = PartialsStats()
        self._client = client
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: OrderedDict[tuple[str, str], TranscriptRecord] = OrderedDict()
        self._in_flight = 0
        self._settled_at = 0.0
        self._problem: Exception | None = None
        self._stopped = False
        self._away = False
        self._stop_at = 0.0
        self.ended = threading.Event()

    def offer(self, records: Iterable[TranscriptRecord]) -> None:
        """Each takes the place of the one of its call and segment that waits."""
        with self._changed:
            for record in records:
                place = record.call_id, record.segment_id
                if self._waiting.pop(place, None) is not None:
                    self.stats.coalesced += 1
                elif len(self._waiting) >= self._limit:
                    self._waiting.popitem(last=False)
                    self.stats.dropped += 1
                self._waiting[place] = record
            self._changed.notify_all()

    def stop(self, by: float) -> None:
        """Send what waits until `by` (monotonic), then end."""
        with self._changed:
            self._stopped, self._stop_at = True, by
            self._changed.notify_all()

    def run(self) -> None:
        """The lane's thread."""
        try:
            self._run()
        finally:
            self.ended.set()

    def _run(self) -> None:
        while not self._is_over():
            producer = None
            try:
                producer = self._client.producer(self.topic, durable=False)
                self._deliver(producer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the calls go on and the operator reads it
                if not self._away:
                    log.warning("kafka: %s: %s; partials are dropped", self.topic, error)
                self._away = True
            finally:
                if producer is not None:
                    self._client.dispose(producer)
            with self._changed:
                self.stats.dropped += self._in_flight
                self._in_flight = 0
                self._changed.wait_for(self._is_over, RETRY_S)

    def _deliver(self, producer: Producer) -> None:
        with self._changed:
            self._problem, self._in_flight, self._settled_at = None, 0, time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, RETRY_S)
                if self._problem is not None:
                    raise self._problem
                if self._is_over():
                    return
                if self._in_flight and time.monotonic() - self._settled_at > STALE_S:
                    raise TimeoutError("no acknowledgement")
                free = IN_FLIGHT - self._in_flight
                records = [self._waiting.popitem(last=False)[1] for _ in range(min(free, len(self._waiting)))]
                if records and not self._in_flight:
                    self._settled_at = time.monotonic()
                self._in_flight += len(records)
            began = time.monotonic()
            for one in map(self._message, records):
                future = producer.send(self.topic, key=one.key, value=one.value, headers=list(one.headers))
                future.add_callback(self._on_acknowledged)
                future.add_errback(self._on_error)
            time.sleep(max(GATHER_S, (time.monotonic() - began) * (1 / SHARE - 1)))

    def _is_over(self) -> bool:
        if not self._stopped:
            return False
        return time.monotonic() >= self._stop_at or not (self._waiting or self._in_flight)

    def _is_due(self) -> bool:
        return bool(self._is_over() or self._problem is not None or (self._waiting and self._in_flight < IN_FLIGHT))

    def _on_acknowledged(self, _: object) -> None:
        """On the client library's thread."""
        with self._changed:
            self.stats.acknowledged += 1
            self._in_flight = max(self._in_flight - 1, 0)
            self._settled_at = time.monotonic()
            if self._away:
                log.info("kafka: %s is delivered again, %d partials were dropped", self.topic, self.stats.dropped)
            self._away = False
            self._changed.notify_all()

    def _on_error(self, error: Exception) -> None:
        """On the client library's thread."""
        with self._changed:
            self._problem = error
            self._changed.notify_all()
