"""The collector on a real broker: what is in the topics is in the files, once, whatever it was killed in."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sinks.config import KafkaConfig
from tests.examples.analytics.calls import BEGAN, Fields, call
from tests.examples.analytics.topics import fresh_topics, send, stored
from tests.trunkline.command import ENVIRONMENT
from trunkline_analytics.collect import CollectOptions, collect
from trunkline_analytics.compact import compact
from trunkline_analytics.errors import KafkaFailed, StoreFailed
from trunkline_analytics.store import folders

BATCH = 10
TWO_DAYS = (BEGAN, BEGAN + timedelta(hours=11, minutes=59, seconds=58))
"""The second call goes on after midnight."""

# The k-th time that the collector does one thing, the process is killed before or after it.
KILLED = """
import os, signal, sys
from pathlib import Path
from kafka import KafkaConsumer
from sinks.config import KafkaConfig
from trunkline_analytics import collect, store

where, when, number, bootstrap, transcripts, partials, events, root = sys.argv[1:]
owner, name = {
    "write": (store, "make_table"), "rename": (Path, "replace"), "commit": (KafkaConsumer, "commit"),
}[where]
plain, left = getattr(owner, name), int(number)

def killed(*arguments, **named):
    global left
    left -= 1
    if not left and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = plain(*arguments, **named)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, killed)
config = KafkaConfig(
    bootstrap_servers=bootstrap, transcripts_topic=transcripts, partials_topic=partials, events_topic=events
)
options = collect.CollectOptions(group=transcripts, instance="one", batch_records=10, once=True)
collect.collect(config, Path(root), options)
"""


def killed_collector(config: KafkaConfig, root: Path, where: str, when: str, number: int) -> "subprocess.Popen[bytes]":
    topics = [config.transcripts_topic, config.partials_topic, config.events_topic]
    arguments = [where, when, str(number), config.bootstrap_servers, *topics, str(root)]
    return subprocess.Popen([sys.executable, "-c", KILLED, *arguments], env=ENVIRONMENT)


def options(config: KafkaConfig, instance: str | None = "one") -> CollectOptions:
    return CollectOptions(group=config.transcripts_topic, instance=instance, batch_records=BATCH, once=True)


def some_records() -> list[Fields]:
    """Of two days, with doubles near and far."""
    records: list[Fields] = []
    for number in range(8):
        said = [("caller", 2.0 * i, f"word {number} {i}", "en-US") for i in range(4)]
        records += call(said, f"CA{number}", began=TWO_DAYS[number % 2], run="a1b2" if number % 3 else None)
    return [*records[:20], *records[15:], *records[5:10]]


def event_ids(records: Sequence[Fields]) -> set[str]:
    return {record["event_id"] for record in records}


POINTS = [
    ("write", "before", 2),
    ("rename", "before", 1),
    ("rename", "after", 1),
    ("rename", "after", 5),
    ("commit", "before", 2),
    ("commit", "after", 1),
]


def test_killed_at_any_point_and_started_again_it_has_every_record_once(kafka_bootstrap: str, tmp_path: Path) -> None:
    """In turn of what is done: files of a batch are written one by one, then the offsets are committed."""
    records = some_records()
    runs = {}
    for point in POINTS:
        config = fresh_topics(kafka_bootstrap)
        send(config, records)
        root = tmp_path / "-".join(map(str, point))
        runs[point] = config, root, killed_collector(config, root, *point)
    for point, (config, root, process) in runs.items():
        assert process.wait(120) == -signal.SIGKILL, point
        collect(config, root, options(config))
        ids = stored(root)
        assert set(ids) == event_ids(records), point
        assert len(ids) == len(set(ids)), point


def test_what_cannot_be_read_is_kept_with_its_reason(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = fresh_topics(kafka_bootstrap)
    records = call([("caller", 1.0, "hello", "en-US")])
    newer = {"schema": "trunkline/1", "type": "mood", "event_id": "1", "call_id": "CA1", "seq": 0}
    send(config, [*records[:2], newer, b"\xff{", b"[]", records[2] | {"colour": "red"}, *records[3:]])
    told = collect(config, tmp_path, options(config))
    assert told.split(", ") == [
        "7 records written",
        "0 doubles dropped",
        "1 kept unread (unknown type mood)",
        "1 kept unread (not JSON)",
        "1 kept unread (not a JSON object)",
        "1 with unknown field transcript.colour",
    ]
    assert {"not JSON", "not a JSON object", "unknown type mood"} <= set(stored(tmp_path, "reason"))
    assert b"\xff{" in stored(tmp_path, "value")
    assert set(stored(tmp_path)) == event_ids(records)
    assert collect(config, tmp_path, options(config)) == "0 records written, 0 doubles dropped"


def test_files_stand_by_date_and_type(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = fresh_topics(kafka_bootstrap)
    send(config, some_records())
    collect(config, tmp_path, options(config))
    assert [str(folder.relative_to(tmp_path)) for folder in folders(tmp_path)] == [
        f"date={date}/type={kind}" for date in ("2026-11-24", "2026-11-25") for kind in ("call", "transcript")
    ]


def test_members_that_come_and_go_leave_every_record_once(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = fresh_topics(kafka_bootstrap)
    settings = tmp_path / "trunkline.toml"
    fields = ("bootstrap_servers", "transcripts_topic", "partials_topic", "events_topic")
    settings.write_text("[kafka]\n" + "".join(f'{name} = "{getattr(config, name)}"\n' for name in fields))
    root = tmp_path / "records"
    records = some_records()
    arguments = [root, "--config", settings, "--seconds", "1", "--group", config.events_topic]
    with ExitStack() as members:
        for number, part in enumerate((records[:30], records[30:60], records[60:])):
            send(config, part)
            if number < 2:
                log = tmp_path / f"{number}.log"
                members.enter_context(running("analytics", "collect", *map(str, arguments), cwd=tmp_path, log=log))
                wait_until(partial(says, log, "partitions: "))
            wait_until(partial(has_all, root, event_ids(part)))
    assert says(tmp_path / "0.log", " records written, ")
    assert says(tmp_path / "1.log", " records written, ")
    compact(root)
    ids = stored(root)
    assert set(ids) == event_ids(records)
    assert len(ids) == len(set(ids))


def has_all(root: Path, ids: set[str]) -> bool:
    return ids <= set(stored(root))


def says(log: Path, text: str) -> bool:
    return text in log.read_text()


@contextmanager
def running(*arguments: str, cwd: Path, log: Path) -> Iterator[None]:
    """The command, until it is told to stop; then it ends well."""
    line = [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(line, cwd=cwd, env=ENVIRONMENT, stdout=output, stderr=output)
    try:
        yield
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_topics_that_are_not_there_are_named(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = KafkaConfig(
        bootstrap_servers=kafka_bootstrap, transcripts_topic="no", partials_topic="", events_topic="none"
    )
    with pytest.raises(KafkaFailed, match="has none of the topics no, none"):
        collect(config, tmp_path, options(config))


def test_folder_that_cannot_be_written_is_one_line(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = fresh_topics(kafka_bootstrap)
    send(config, some_records()[:5])
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreFailed, match=r"file/date=2026-11-24/type=call cannot be read: Not a directory|cannot be written"
    ):
        collect(config, tmp_path / "file", options(config))
