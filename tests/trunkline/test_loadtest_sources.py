"""Where the load test reads records: live API, file, Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from msgspec.structs import replace

from liveview.api import LiveViewConfig, create_app
from sinks.config import KafkaConfig
from sinks.kafka.sink import KafkaSink
from sinks.live import LiveView
from sinks.record import AnyRecord, CallAction, encode
from tests.trunkline.loadtest_records import final, step
from trunkline.demo.script import Line
from trunkline.errors import ConfigError
from trunkline.loadtest.kafka_source import KafkaSource
from trunkline.loadtest.script import CallScript, ScriptTrack
from trunkline.loadtest.sources import FileSource, LiveSource, RecordSource
from trunkline.loadtest.tally import RecordTally

LINE = Line(leg="inbound", role="customer", language="en-US", text="Good morning", start=0.0, end=1.0)
SCRIPT = CallScript((ScriptTrack("inbound", np.zeros(8_000, np.uint8), (LINE,)),))


def call(call_id: str, key: str) -> list[AnyRecord]:
    """The records of a call that was understood; `key` in its metadata."""
    marks = {"X-Loadtest": key}
    records: list[AnyRecord] = [
        step(CallAction.START, call_id, metadata=marks),
        final("Good", 0.1, call_id=call_id, is_final=False),
        final("Good morning", 0.1, call_id=call_id, revision=1),
        step(CallAction.END, call_id, packets=50, metadata=marks),
    ]
    return [replace(record, seq=index, event_id=f"{call_id}/{index}") for index, record in enumerate(records)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a state of another task
            await asyncio.sleep(0.02)


@asynccontextmanager
async def reading(source: RecordSource) -> AsyncIterator[None]:
    try:
        await source.start()
        yield
    finally:
        await source.close()


def figures(tally: RecordTally, key: str) -> tuple[int, int, int, int]:
    tally.judge(key, 50, 1.0)
    totals = tally.totals
    return totals.transcripts, totals.counted, totals.errors.words, totals.errors.errors


@asynccontextmanager
async def live_api(view: LiveView, token: str | None = None) -> AsyncIterator[str]:
    config = LiveViewConfig(token=token, list_interval_ms=50)
    runner = web.AppRunner(create_app(view, config))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def publish(view: LiveView, records: Sequence[AnyRecord], pause_s: float = 0.0) -> None:
    for record in records:
        await view.write([record])
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("call_id", ["key", "server-1"])
async def test_followed_call_is_read_to_its_end_whatever_its_id(call_id: str) -> None:
    tally, view = RecordTally(SCRIPT), LiveView()
    async with live_api(view) as url:
        source = LiveSource(url, tally, token=None, most=5)
        async with reading(source):
            tally.expect("key")
            source.follow("key")
            await publish(view, call(call_id, "key"), 0.3)
            await until(lambda: tally.has_ended("key"))
    _, counted, words, errors = figures(tally, "key")
    assert (counted, words, errors) == (50, 2, 0)


async def test_call_that_is_not_followed_still_tells_what_it_counted() -> None:
    tally, view = RecordTally(SCRIPT), LiveView()
    async with live_api(view) as url:
        source = LiveSource(url, tally, token=None, most=1)
        async with reading(source):
            for key in ("followed", "other"):
                tally.expect(key)
                source.follow(key)
            await publish(view, call("other", "other"))
            await until(lambda: tally.has_ended("other"))
    assert figures(tally, "other") == (0, 50, 0, 0)
    assert tally.totals.ended == 1


async def test_stream_that_was_let_go_makes_room_for_another() -> None:
    tally, view = RecordTally(SCRIPT), LiveView()
    async with live_api(view) as url:
        source = LiveSource(url, tally, token=None, most=1)
        async with reading(source):
            tally.expect("first")
            source.follow("first")
            source.unfollow("first")
            tally.expect("second")
            source.follow("second")
            await publish(view, call("second", "second"), 0.2)
            await until(lambda: tally.has_ended("second"))
    assert figures(tally, "second")[2:] == (2, 0)


async def test_wrong_token_and_absent_api_are_said_at_the_start() -> None:
    async with live_api(LiveView(), token="secret") as url:
        with pytest.raises(ConfigError, match="--token"):
            async with reading(LiveSource(url, RecordTally(SCRIPT), token="wrong", most=1)):
                pass
        async with reading(LiveSource(url, RecordTally(SCRIPT), token="secret", most=1)):
            pass
    source = LiveSource(url, RecordTally(SCRIPT), token=None, most=1)
    with pytest.raises(ConfigError, match="--records"):
        await source.start()
    await source.close()


async def test_file_is_read_from_its_present_end_and_lines_come_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    tally = RecordTally(SCRIPT)
    tally.expect("key")
    path.write_bytes(encode(step(CallAction.END, "key", packets=999)) + b"\n")
    octets = b"".join(encode(record) + b"\n" for record in call("key", "key"))
    async with reading(FileSource(path, tally)):
        with path.open("ab", buffering=0) as file:
            for part in (b"not a record\n", octets[:100], octets[100:-1]):
                file.write(part)
                await asyncio.sleep(0.25)
            assert not tally.has_ended("key")
            file.write(octets[-1:])
        await until(lambda: tally.has_ended("key"))
    assert figures(tally, "key") == (2, 50, 2, 0)


async def test_file_may_appear_after_the_start(tmp_path: Path) -> None:
    tally = RecordTally(SCRIPT)
    tally.expect("key")
    async with reading(FileSource(tmp_path / "records.jsonl", tally)):
        octets = b"".join(encode(record) + b"\n" for record in call("key", "key"))
        (tmp_path / "records.jsonl").write_bytes(octets)
        await until(lambda: tally.has_ended("key"))
    assert figures(tally, "key") == (2, 50, 2, 0)


async def test_topics_are_read_from_their_present_ends(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = ("load.transcripts", "load.partials", "load.events")
    config = KafkaConfig(
        bootstrap_servers=kafka_bootstrap,
        transcripts_topic=topics[0],
        partials_topic=topics[1],
        events_topic=topics[2],
        spool=str(tmp_path / "spool"),
        create_topics=True,
    )
    tally = RecordTally(SCRIPT)
    tally.expect("old")
    tally.expect("key")
    sink = KafkaSink(config)
    await sink.start()
    await sink.write(call("old", "old"))
    await until(lambda: sink.delivery().delivered + sink.delivery().delivered_partials == 4)
    async with reading(KafkaSource(kafka_bootstrap, tally, topics)):
        await sink.write(call("key", "key"))
        await until(lambda: tally.has_ended("key") and tally.totals.transcripts == 2)
    await sink.close()
    assert not tally.has_ended("old")
    assert figures(tally, "key")[1] == 50


async def test_kafka_without_the_topics_is_said_at_the_start(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, RecordTally(SCRIPT), ("no.such.topic",))
    with pytest.raises(ConfigError, match="none of the topics"):
        await source.start()
    await source.close()
