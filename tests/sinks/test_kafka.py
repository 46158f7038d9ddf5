"""The Kafka sink on a real broker, and without one."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer

from sinks import kafka
from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.fanout import FanOut, SinkStats
from sinks.kafka import KafkaSink, KafkaStats
from sinks.live import LiveView
from sinks.record import AnyRecord, decode
from tests.services.ports import free_ports
from tests.sinks.records import dtmf, end, start, transcript, turn
from tests.sinks.waiting import until


def settings(bootstrap: str, **changed: Any) -> KafkaConfig:
    """Topics of this test's own."""
    name = f"test-{uuid.uuid4()}"
    topics = {f"{kind}_topic": f"{name}.{kind}" for kind in ("transcripts", "partials", "events")}
    config = KafkaConfig(bootstrap_servers=bootstrap, create_topics=True)
    return msgspec.structs.replace(config, **(topics | changed))


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


@pytest.fixture
def admin(kafka_bootstrap: str) -> Iterator[Any]:
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    yield admin
    admin.close()


async def test_records_arrive_with_key_and_headers_on_their_topics_in_order_per_call(kafka_bootstrap: str) -> None:
    config = settings(kafka_bootstrap, partitions=3)
    sink = KafkaSink(config)
    await sink.start()
    sent: list[AnyRecord] = []
    for call_id in ("a", "b", "c", "d"):
        sent += start(call_id), turn(call_id=call_id), dtmf(call_id=call_id)
        for i in range(20):
            sent += transcript(f"p{i}", i, call_id=call_id), transcript(f"f{i}", i, 1, final=True, call_id=call_id)
        sent.append(end(call_id))
    for first in range(0, len(sent), 7):
        await sink.write(sent[first : first + 7])
    await sink.close()
    assert sink.stats == KafkaStats(acknowledged=len(sent))

    messages = await read(
        kafka_bootstrap, [config.transcripts_topic, config.partials_topic, config.events_topic], len(sent)
    )
    received = {topic: [m for m in messages if m.topic == topic] for topic in {m.topic for m in messages}}
    expected: dict[str, list[AnyRecord]] = {
        config.transcripts_topic: [record for record in sent if getattr(record, "is_final", None) is True],
        config.partials_topic: [record for record in sent if getattr(record, "is_final", None) is False],
        config.events_topic: [record for record in sent if not hasattr(record, "is_final")],
    }
    for topic, records in expected.items():
        for call_id in "abcd":
            of_call = [decode(m.value) for m in received[topic] if m.key == call_id.encode()]
            assert of_call == [record for record in records if record.call_id == call_id]
    for message in messages:
        record = decode(message.value)
        kind = record.__struct_config__.tag
        assert message.key == record.call_id.encode()
        assert message.headers == [
            ("schema", b"trunkline/1"),
            ("event_id", record.event_id.encode()),
            ("type", str(kind).encode()),
        ]


async def test_topics_are_created_as_configured(kafka_bootstrap: str, admin: Any) -> None:
    config = settings(kafka_bootstrap, partitions=2, replication_factor=1)
    for _ in range(2):  # the second time they are there
        sink = KafkaSink(config)
        await sink.start()
        await until(lambda sink=sink: sink.connected)
        await sink.close()
    topics = [config.transcripts_topic, config.partials_topic, config.events_topic]
    described = admin.describe_topics(topics)
    assert sorted((topic["name"], len(topic["partitions"])) for topic in described) == [(t, 2) for t in sorted(topics)]


async def test_missing_topics_are_not_created_but_waited_for(
    kafka_bootstrap: str, admin: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka, "RETRY_MAX_S", 0.1)
    config = settings(kafka_bootstrap, create_topics=False, partials_topic="")
    topics = [config.transcripts_topic, config.events_topic]
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([start(), transcript("f", final=True)])
    await until(lambda: f"topics to be created first: {', '.join(topics)}" in caplog.text)
    assert not set(topics) & set(admin.list_topics())
    assert not sink.connected
    admin.create_topics(topics, wait_for_metadata=True)
    await until(lambda: sink.stats.acknowledged == 2)
    await sink.close()
    messages = await read(kafka_bootstrap, topics, 2)
    assert {decode(message.value).event_id for message in messages} == {
        start().event_id,
        transcript("f", final=True).event_id,
    }


async def test_partials_are_left_out_where_they_have_no_topic(kafka_bootstrap: str) -> None:
    sink = KafkaSink(settings(kafka_bootstrap, partials_topic=""))
    await sink.start()
    await sink.write([start(), transcript("p"), transcript("f", final=True)])
    await sink.close()
    assert sink.stats == KafkaStats(acknowledged=2)


async def test_record_too_large_is_given_up_and_the_next_goes(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(kafka_bootstrap)
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([transcript("x" * 2_000_000, final=True), transcript("next", segment=1, final=True)])
    await sink.close()
    assert sink.stats == KafkaStats(acknowledged=1, undelivered=1)
    assert "larger than the maximum request size" in caplog.text
    [message] = await read(kafka_bootstrap, [config.transcripts_topic], 1)
    assert decode(message.value) == transcript("next", segment=1, final=True)


def absent() -> KafkaConfig:
    """A broker that is not there; nothing is waited for at the end."""
    return KafkaConfig(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}", outbox_records=4, close_timeout_s=0.1)


async def test_full_outbox_holds_up_this_sink_alone(caplog: pytest.LogCaptureFixture) -> None:
    sink, view = KafkaSink(absent()), LiveView()
    fan = FanOut([sink, view])
    await fan.start()
    async with view.subscribe() as records:
        published: list[AnyRecord] = [start(), *(transcript(f"{i}", i, final=True) for i in range(5))]
        for record in published:
            fan.publish([record])
            await anext(records)
    await until(lambda: fan.stats["kafka"].written == 4)
    assert fan.stats["live"].written == 6
    await fan.close(0.1)
    assert fan.stats["kafka"] == SinkStats(written=4, dropped_finals=2)
    assert sink.stats == KafkaStats(undelivered=4)
    assert "4 records were not delivered" in caplog.text


async def test_close_without_a_start_is_harmless() -> None:
    await KafkaSink(absent()).close()


@pytest.mark.parametrize(
    "changed", [{"bootstrap_servers": " , "}, {"bootstrap_servers": "broker"}, {"transcripts_topic": ""}]
)
def test_settings_that_cannot_work_are_named(changed: dict[str, str]) -> None:
    with pytest.raises(SinkMisconfigured, match=next(iter(changed))):
        KafkaSink(msgspec.structs.replace(absent(), **changed))


def test_short_delivery_timeout_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="delivery_timeout_s"):
        msgspec.convert({"bootstrap_servers": "a:1", "delivery_timeout_s": 5}, KafkaConfig)
