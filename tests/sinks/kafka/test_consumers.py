"""Consumers of other makers read what the sink wrote: keys, headers, order."""

import asyncio
from typing import Any

import aiokafka
import confluent_kafka
import pytest

from sinks.config import KafkaConfig
from sinks.kafka.sink import KafkaSink
from sinks.record import AnyRecord, decode, encode
from tests.sinks.kafka.topics import settings
from tests.sinks.records import transcript

Read = tuple[bytes, bytes, list[tuple[str, bytes]]]

FINALS: list[AnyRecord] = [transcript(f"{k}", k, final=True, call_id="abc"[k % 3]) for k in range(30)]


@pytest.fixture(scope="module")
def written(kafka_bootstrap: str) -> KafkaConfig:
    config = settings(kafka_bootstrap, partitions=3, compression="gzip")

    async def write() -> None:
        sink = KafkaSink(config)
        await sink.start()
        await sink.write(FINALS)
        await sink.close()

    asyncio.run(write())
    return config


def check(read: list[Read]) -> None:
    for call_id in "abc":
        of_call = [one for one in read if one[0] == call_id.encode()]
        finals = [record for record in FINALS if record.call_id == call_id]
        assert [value for _, value, _ in of_call] == [encode(record) for record in finals]
        for _, value, headers in of_call:
            event_id = decode(value).event_id.encode()
            assert headers == [("schema", b"trunkline/1"), ("event_id", event_id), ("type", b"transcript")]


def test_confluent_kafka(written: KafkaConfig) -> None:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": written.bootstrap_servers, "group.id": "confluent", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([written.transcripts_topic])
    read: list[Any] = []
    while len(read) < len(FINALS):
        message = consumer.poll(30.0)
        assert message is not None
        assert message.error() is None
        read.append((message.key(), message.value(), message.headers()))
    consumer.close()
    check(read)


async def test_aiokafka(written: KafkaConfig) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        written.transcripts_topic, bootstrap_servers=written.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    async with asyncio.timeout(30):
        read = [(one.key, one.value, list(one.headers)) for one in [await anext(consumer) for _ in FINALS]]
    await consumer.stop()
    check(read)
