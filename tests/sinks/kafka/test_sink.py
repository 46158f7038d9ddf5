"""The Kafka sink on a real broker, and without one."""

import asyncio
from typing import Any

import msgspec
import pytest

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.kafka.sink import KafkaSink
from sinks.record import AnyRecord, decode
from testing.faults.count import consume
from testing.services.kafka_broker import KafkaBroker
from testing.services.ports import free_ports
from tests.sinks.kafka.topics import acknowledged, letters, read, settings
from tests.sinks.records import dtmf, end, start, transcript, turn
from tests.sinks.waiting import until


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
    assert acknowledged(sink) == len(sent)
    assert len(sink.spool) == 0

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
        await until(lambda sink=sink: sink.delivery().connected)
        await sink.close()
    topics = [config.transcripts_topic, config.partials_topic, config.events_topic]
    described = admin.describe_topics(topics)
    assert sorted((topic["name"], len(topic["partitions"])) for topic in described) == [(t, 2) for t in sorted(topics)]


async def test_missing_topics_are_not_created_but_waited_for(
    kafka_bootstrap: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(kafka_bootstrap, create_topics=False, partials_topic="")
    topics = [config.transcripts_topic, config.events_topic]
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([start(), transcript("f", final=True)])
    await until(lambda: all(f"topics to be created first: {topic}" in caplog.text for topic in topics))
    assert not set(topics) & set(admin.list_topics())
    assert not sink.delivery().connected
    admin.create_topics(topics, wait_for_metadata=True)
    await until(lambda: acknowledged(sink) == 2)
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
    assert acknowledged(sink) == 2


async def test_a_record_too_large_is_a_dead_letter_and_the_next_goes(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(kafka_bootstrap)
    sink = KafkaSink(config)
    await sink.start()
    large, small = transcript("x" * 2_000_000, final=True), transcript("next", segment=1, final=True)
    await sink.write([large, small])
    await until(lambda: sink.delivery().dead_lettered.total() == 1)
    await sink.close()
    assert acknowledged(sink) == 1
    assert sink.delivery().dead_lettered == {"refused": 1}
    [message] = await read(kafka_bootstrap, [config.transcripts_topic], 1)
    assert decode(message.value) == small
    (line,) = letters(config)
    assert (line["topic"], line["key"]) == (config.dead_letters_topic, large.call_id)  # which refuses it, too
    assert ["dead-letter-topic", config.transcripts_topic] in line["headers"]
    assert decode(line["value"].encode()) == large
    assert "refused for good" in caplog.text


def absent(**changed: Any) -> KafkaConfig:
    """A broker that is not there; nothing is waited for at the end."""
    return settings(f"127.0.0.1:{free_ports(1)[0]}", close_timeout_s=0.1, **changed)


async def test_a_record_that_the_broker_refuses_takes_no_other_with_it(kafka_bootstrap: str, admin: Any) -> None:
    config = settings(kafka_bootstrap, create_topics=False, partials_topic="", dead_letters_topic="")
    limited = {"num_partitions": 3, "configs": {"max.message.bytes": "50000"}}
    topics = {config.transcripts_topic: limited, config.events_topic: {}}
    admin.create_topics(topics, wait_for_metadata=True)
    sink = KafkaSink(config)
    sizes = [80_000 if k == 100 else 300 for k in range(900)]
    finals = [transcript("x" * size, k, final=True, call_id="abcd"[k % 4]) for k, size in enumerate(sizes)]
    await sink.start()
    await sink.write(finals)
    await until(lambda: len(sink.spool) == 0)
    await sink.close()
    assert [decode(letter["value"]) for letter in letters(config)] == finals[100:101]
    arrived = [one.record for one in await asyncio.to_thread(consume, kafka_bootstrap, [config.transcripts_topic])]
    for call_id in "abcd":
        of_call = {record.event_id: record for record in arrived if record.call_id == call_id}
        assert list(of_call.values()) == [
            final for final in finals if final.call_id == call_id and final is not finals[100]
        ]


async def test_what_a_former_process_left_goes_first_and_in_order(kafka_bootstrap: str) -> None:
    there = settings(kafka_bootstrap, partitions=3)
    away = msgspec.structs.replace(there, bootstrap_servers=absent().bootstrap_servers, close_timeout_s=0.1)
    finals = [transcript(f"{k}", k, final=True, call_id="ab"[k % 2]) for k in range(40)]
    first = KafkaSink(away)
    await first.start()
    await first.write([*finals[:20], transcript("partial", 99)])
    await first.close()
    assert len(first.spool) == 20
    second = KafkaSink(there)
    await second.start()
    await second.write(finals[20:])
    await second.close()
    messages = await read(kafka_bootstrap, [there.transcripts_topic], 40)
    for call_id in "ab":
        of_call = [decode(message.value) for message in messages if message.key == call_id.encode()]
        assert of_call == [final for final in finals if final.call_id == call_id]
    assert len(second.spool) == 0


async def test_all_brokers_are_replaced() -> None:
    broker = KafkaBroker()
    try:
        await asyncio.to_thread(broker.start)
        config = settings(broker.bootstrap)
        sink = KafkaSink(config)
        await sink.start()
        finals = [transcript(f"{k}", k, final=True) for k in range(6)]
        await sink.write(finals[:3])
        await until(lambda: acknowledged(sink) == 3)
        await asyncio.to_thread(broker.replace)
        await sink.write(finals[3:])
        await until(lambda: acknowledged(sink) == 6)
        await sink.close()
        messages = await read(broker.bootstrap, [config.transcripts_topic], 3)
        assert [decode(message.value) for message in messages] == finals[3:]
    finally:
        broker.remove()


async def test_a_topic_that_is_gone_holds_up_no_other(kafka_bootstrap: str, admin: Any) -> None:
    config = settings(kafka_bootstrap, create_topics=False, partials_topic="")
    admin.create_topics([config.events_topic], wait_for_metadata=True)
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([transcript("f", final=True), start()])
    await until(lambda: acknowledged(sink) == 1)
    await until(lambda: len(sink.spool) == 1)
    admin.create_topics([config.transcripts_topic], wait_for_metadata=True)
    await until(lambda: acknowledged(sink) == 2)
    await sink.close()


async def test_partials_are_coalesced_and_bounded_while_kafka_is_away() -> None:
    sink = KafkaSink(absent(partials_waiting=3))
    for number in range(5):
        await sink.write([transcript("a", number), transcript("ab", number, 1)])
    delivery = sink.delivery()
    assert (delivery.coalesced_partials, delivery.dropped_partials) == (5, 2)
    await sink.close()


async def test_close_without_a_start_is_harmless() -> None:
    await KafkaSink(absent()).close()


@pytest.mark.parametrize(
    "changed", [{"bootstrap_servers": " , "}, {"bootstrap_servers": "broker"}, {"transcripts_topic": ""}]
)
def test_settings_that_cannot_work_are_named(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        msgspec.structs.replace(absent(), **changed)


async def test_two_sinks_never_share_a_spool() -> None:
    config = absent()
    sink = KafkaSink(config)
    with pytest.raises(SinkMisconfigured, match=r"in use by process \d+: give each server a spool of its own"):
        KafkaSink(config)
    await sink.close()
