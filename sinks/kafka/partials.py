"""Partials to Kafka: the newest of each segment, as long as they are fresh.

A partial is of use until the next one of its segment comes. So there is no spool for them: what waits, with the server
(`latest`), is one record a segment, and the lane asks for as many as it has room for. They have a producer of their
own: finals never wait for them, nor they for finals. All that is not sent is counted.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sinks.kafka.client import KafkaClient, Producer
from sinks.message import Message

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
    """`dropped`: Kafka went away with them on their way."""

    acknowledged: int = 0
    dropped: int = 0


class PartialsLane:
    """Runs on one thread from `run` to `stop`; `offer` may be called from any thread and never blocks.

    `ask(count)`: called on the lane's thread; so many partials more may be offered. What the server has meanwhile is
    replaced there by newer ones of the same segments.
    """

    def __init__(self, topic: str, client: KafkaClient, ask: Callable[[int], None]) -> None:
        self.topic = topic
        self.stats = PartialsStats()
        self._client, self._ask = client, ask
        self._changed = threading.Condition()
        self._waiting: list[Message] = []
        self._asked = 0
        self._in_flight = 0
        self._settled_at = 0.0
        self._problem: Exception | None = None
        self._stopped = False
        self._away = False
        self._stop_at = 0.0
        self.ended = threading.Event()

    def offer(self, messages: Iterable[Message]) -> None:
        """As many as were asked for at most, but for the last ones before `stop`."""
        with self._changed:
            before = len(self._waiting)
            self._waiting += messages
            self._asked -= len(self._waiting) - before
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
                self.stats.dropped += self._in_flight + len(self._waiting)
                self._in_flight = 0
                self._waiting.clear()
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
                messages, self._waiting = self._waiting, []
                if messages and not self._in_flight:
                    self._settled_at = time.monotonic()
                self._in_flight += len(messages)
                room = self._room()
                self._asked += room
            if room:
                self._ask(room)
            began = time.monotonic()
            for one in messages:
                future = producer.send(self.topic, key=one.key, value=one.value, headers=list(one.headers))
                future.add_callback(self._on_acknowledged)
                future.add_errback(self._on_error)
            time.sleep(max(GATHER_S, (time.monotonic() - began) * (1 / SHARE - 1)))

    def _is_over(self) -> bool:
        if not self._stopped:
            return False
        return time.monotonic() >= self._stop_at or not (self._waiting or self._in_flight)

    def _room(self) -> int:
        return IN_FLIGHT - self._in_flight - self._asked - len(self._waiting)

    def _is_due(self) -> bool:
        return bool(self._is_over() or self._problem is not None or self._waiting or self._room() >= IN_FLIGHT // 4)

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
