"""What Kafka refuses for good: to the topic of dead letters, else to the file, and from there again."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from sinks.config import KafkaConfig
from sinks.dead_letters import Replayed
from sinks.kafka.replay import Replay
from sinks.kafka.sink import KafkaSink
from sinks.record import decode
from sinks.spool_file import letters_of
from tests.sinks.kafka.topics import letters, read, settings
from tests.sinks.records import transcript
from tests.sinks.waiting import until

SMALL = 4_000


@pytest.fixture
def small(kafka_bootstrap: str, admin: Any) -> KafkaConfig:
    """A topic for transcripts that takes 4,000 bytes."""
    config = settings(kafka_bootstrap, partitions=1)
    configs = {"max.message.bytes": str(SMALL)}
    admin.create_topics({config.transcripts_topic: {"num_partitions": 1, "configs": configs}}, wait_for_metadata=True)
    return config


async def refused(config: KafkaConfig) -> KafkaSink:
    """Ten records, two of them too large."""
    sink = KafkaSink(config)
    await sink.start()
    finals = [transcript("x" * SMALL if k in (3, 6) else f"{k}", k, final=True) for k in range(10)]
    await sink.write(finals)
    await until(lambda: sink.delivery().delivered == 8 and sink.delivery().dead_lettered == {"refused": 2})
    await sink.close()
    return sink


async def test_only_the_record_that_is_refused_is_a_dead_letter(kafka_bootstrap: str, small: KafkaConfig) -> None:
    sink = await refused(small)
    assert sink.delivery().spooled == 0
    delivered = await read(kafka_bootstrap, [small.transcripts_topic], 8)
    assert list(dict.fromkeys(decode(one.value).event_id for one in delivered)) == [
        transcript(f"{k}", k, final=True).event_id for k in range(10) if k not in (3, 6)
    ]
    dead = await read(kafka_bootstrap, [small.dead_letters_topic], 2)
    for message, k in zip(dead, (3, 6), strict=True):
        record = transcript("x" * SMALL, k, final=True)
        assert decode(message.value) == record
        assert message.key == record.call_id.encode()
        assert message.headers == [
            ("dead-letter-reason", b"refused: MessageSizeTooLargeError"),
            ("dead-letter-topic", small.transcripts_topic.encode()),
            ("schema", b"trunkline/1"),
            ("event_id", record.event_id.encode()),
            ("type", b"transcript"),
        ]


async def test_dead_letters_are_sent_again_from_their_topic(
    kafka_bootstrap: str, small: KafkaConfig, admin: Any
) -> None:
    await refused(small)
    admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, small.transcripts_topic, {"max.message.bytes": 10**6})]
    )
    replay = Replay(small, letters_of(Path(small.spool)))
    assert replay.run() == Replayed(sent=2)
    again = (await read(kafka_bootstrap, [small.transcripts_topic], 10))[8:]
    assert [decode(one.value) for one in again] == [transcript("x" * SMALL, k, final=True) for k in (3, 6)]
    assert dict(again[0].headers).keys() == {"schema", "event_id", "type"}
    assert Replay(small, letters_of(Path(small.spool))).run() == Replayed()


async def test_dead_letters_are_sent_again_from_the_file_and_what_is_refused_stays(
    kafka_bootstrap: str, small: KafkaConfig
) -> None:
    config = msgspec.structs.replace(small, dead_letters_topic="")
    await refused(config)
    assert len(letters(config)) == 2
    file = letters_of(Path(config.spool))
    with file.open("ab") as torn:
        torn.write(b'{"reason": "full", "topic"\n')
    larger = msgspec.structs.replace(config, dead_letters_topic="")
    assert Replay(larger, file).run() == Replayed(refused=2, unreadable=1)
    assert len(letters(config)) == 2
    lines = file.read_text().replace(config.transcripts_topic, config.events_topic)  # which takes more
    file.write_text(lines)
    assert Replay(config, file).run() == Replayed(sent=2)
    assert not file.exists()
    sent = await read(kafka_bootstrap, [config.events_topic], 2)
    assert [decode(one.value) for one in sent] == [transcript("x" * SMALL, k, final=True) for k in (3, 6)]
