"""Topics of a test's own, and what is in them."""

import asyncio
import json
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaConsumer

from sinks.config import KafkaConfig
from sinks.kafka.sink import KafkaSink


def settings(bootstrap: str, **changed: Any) -> KafkaConfig:
    """Topics of this test's own."""
    name = f"test-{uuid.uuid4()}"
    topics = {f"{kind}_topic": f"{name}.{kind}" for kind in ("transcripts", "partials", "events", "dead_letters")}
    spool = str(Path(tempfile.mkdtemp(prefix="trunkline-spool-")) / "kafka.spool")
    config = KafkaConfig(bootstrap_servers=bootstrap, create_topics=True, spool=spool)
    return msgspec.structs.replace(config, **(topics | changed))


def acknowledged(sink: KafkaSink) -> int:
    """Records of whatever kind."""
    delivery = sink.delivery()
    return delivery.delivered + delivery.delivered_partials


async def read(bootstrap: str, topics: Sequence[str], count: int) -> list[Any]:
    """The first messages of the topics, in order within each partition."""

    def consume() -> list[Any]:
        consumer = KafkaConsumer(
            *topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
        )
        try:
            return [message for _, message in zip(range(count), consumer, strict=False)]
        finally:
            consumer.close(autocommit=False)

    return await asyncio.to_thread(consume)


def letters(config: KafkaConfig) -> list[Any]:
    """The dead-letter file."""
    return [json.loads(line) for line in Path(f"{config.spool}.dead-letters.jsonl").read_text().splitlines()]
