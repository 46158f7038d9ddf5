"""A record to a topic for trials: whether it is acknowledged, how fast, and what the broker's clock says."""

import time
from dataclasses import dataclass

from kafka.errors import KafkaError

from sinks.config import KafkaConfig
from sinks.errors import SinkUnavailable
from sinks.kafka.client import KafkaClient

_ACKNOWLEDGED_S = 5.0

_STAMP_BEHIND_MS = 12_345
"""The stamp of the record is so old, so that one by the broker's clock cannot be taken for it."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`took_s`: until all replicas in sync had it. `ahead_s`: of the broker's clock, good to half of `took_s`; None
    where the topic keeps the stamps of producers (`message.timestamp.type=CreateTime`)."""

    took_s: float
    ahead_s: float | None


def probe(config: KafkaConfig) -> Acknowledged:
    """Send to `probe_topic`, as durably as finals are. Raises `SinkError`."""
    try:
        client = KafkaClient(config)
        producer = client.producer(config.probe_topic)
        try:
            for _ in range(2):  # the first one also asks for the producer's id and connects to the leader
                began, wall = time.monotonic(), time.time()
                stamp = round(1000 * wall) - _STAMP_BEHIND_MS
                future = producer.send(config.probe_topic, key=b"doctor", value=b"trunkline doctor", timestamp_ms=stamp)
                stored = future.get(timeout=_ACKNOWLEDGED_S).timestamp
                took = time.monotonic() - began
        finally:
            client.dispose(producer)
    except (OSError, LookupError, KafkaError) as error:
        raise SinkUnavailable(f"kafka: probe_topic {config.probe_topic}: {error}") from error
    return Acknowledged(took, None if stored == stamp else stored / 1000 - (wall + took / 2))
