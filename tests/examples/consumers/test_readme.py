"""The lines of `examples/consumers/README.md`, run as they stand there but for broker, topics and group."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from sinks.config import KafkaConfig
from sinks.kafka.sink import KafkaSink
from sinks.record import AnyRecord, TranscriptRecord, encode
from testing.layout import ROOT
from testing.services.kafka_broker import fetch_jars
from testing.services.missing import ServiceMissing
from tests.services.missing import missing
from tests.sinks.records import end, start, transcript

README = ROOT / "examples" / "consumers" / "README.md"
LINES = re.findall(r"^```sh\n(.+?)\n```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
RECORDS: list[AnyRecord] = [start(), transcript("so"), transcript("So far.", revision=1, final=True), end()]
FINALS = [record for record in RECORDS if isinstance(record, TranscriptRecord) and record.is_final]
EVENTS = [record for record in RECORDS if not isinstance(record, TranscriptRecord)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the lines are run: a folder, and the broker in the environment."""

    folder: Path
    broker: str
    prefix: str

    def run(self, line: str) -> list[str]:
        """What a line prints; no group of it is anybody else's."""
        line = line.replace("localhost:9092", self.broker).replace("trunkline.", f"{self.prefix}.")
        line = line.replace("--group watchers", f"--group {self.prefix}")
        path = f"{self.folder}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Records sent by the sink; Kafka's console consumer under the name of its script."""
    folder = tmp_path_factory.mktemp("consumers")
    try:
        jars = fetch_jars()
    except ServiceMissing as error:
        missing(str(error))
    if shutil.which("kcat") is None:
        missing("kcat is not installed: run `python -m tests.services.install`")
    script = folder / "kafka-console-consumer.sh"
    consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    script.write_text(f'#!/bin/sh\nexec java -Xmx256m -cp "{jars}/*" {consumer} "$@"\n')
    script.chmod(0o755)
    prefix = folder.name
    names = {f"{kind}_topic": f"{prefix}.{kind}" for kind in ("transcripts", "partials", "events")}
    settings = {"bootstrap_servers": kafka_bootstrap, "create_topics": True, "partitions": 1, **names}
    settings["spool"] = str(folder / "spool")
    sink = KafkaSink(msgspec.convert(settings, KafkaConfig))
    await sink.start()
    await sink.write(RECORDS)
    await sink.close()
    return Place(folder, kafka_bootstrap, prefix)


def headers(record: AnyRecord, separator: str, sign: str) -> str:
    kind = record.__struct_config__.tag
    values = {"schema": "trunkline/1", "event_id": record.event_id, "type": str(kind)}
    return separator.join(f"{name}{sign}{value}" for name, value in values.items())


def test_there_is_nothing_else_in_the_readme() -> None:
    assert len(LINES) == 5


def test_console_consumer_prints_headers_key_and_record(place: Place) -> None:
    assert place.run(LINES[0]) == [f"{headers(one, ',', ':')}\t{one.call_id}\t{encode(one).decode()}" for one in FINALS]


def test_console_consumer_in_a_group_goes_on_where_it_ended(place: Place) -> None:
    assert place.run(LINES[1]) == [encode(one).decode() for one in EVENTS]
    assert place.run(LINES[1]) == []


def test_kcat_prints_headers_key_and_record(place: Place) -> None:
    assert place.run(LINES[2]) == [f"{headers(one, ',', '=')} {one.call_id} {encode(one).decode()}" for one in FINALS]


def test_kcat_puts_the_record_in_an_envelope(place: Place) -> None:
    messages = [json.loads(line) for line in place.run(LINES[3])]
    assert [message["payload"] for message in messages] == [encode(one).decode() for one in EVENTS]
    assert [message["key"] for message in messages] == [one.call_id for one in EVENTS]


def test_kcat_writes_json_lines(place: Place) -> None:
    assert place.run(LINES[4]) == []
    assert (place.folder / "finals.jsonl").read_bytes().splitlines() == [encode(one) for one in FINALS]
