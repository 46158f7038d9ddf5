"""Topics of a test's own, with records in them."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
from kafka import KafkaAdminClient, KafkaProducer

from sinks.config import KafkaConfig
from trunkline_analytics.store import folders, live_files


def fresh_topics(bootstrap: str) -> KafkaConfig:
    """Made, with three partitions each."""
    name = f"test-{uuid.uuid4()}"
    names = {f"{kind}_topic": f"{name}.{kind}" for kind in ("transcripts", "partials", "events")}
    config = msgspec.convert({"bootstrap_servers": bootstrap, **names}, KafkaConfig)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({topic: {"num_partitions": 3, "replication_factor": 1} for topic in names.values()})
    finally:
        admin.close()
    return config


def topic_of(config: KafkaConfig, record: dict[str, Any]) -> str:
    if record.get("type") != "transcript":
        return config.events_topic
    return config.transcripts_topic if record["is_final"] else config.partials_topic


def send(config: KafkaConfig, records: Sequence[dict[str, Any] | bytes]) -> None:
    """As the sink sends them; bytes as they are, to the events."""
    producer = KafkaProducer(bootstrap_servers=config.bootstrap_servers)
    try:
        for record in records:
            if isinstance(record, bytes):
                producer.send(config.events_topic, key=b"?", value=record)
            else:
                key = record.get("call_id", "").encode()
                producer.send(topic_of(config, record), key=key, value=msgspec.json.encode(record))
        producer.flush()
    finally:
        producer.close()


def stored(root: Path, column: str = "event_id") -> list[Any]:
    """The column of all live files, with what is there twice; None of files without it."""
    values: list[Any] = []
    for folder in folders(root):
        for path in live_files(folder):
            with pq.ParquetFile(path) as file:
                if column in file.schema_arrow.names:
                    values += file.read(columns=[column]).column(0).to_pylist()
    return values
