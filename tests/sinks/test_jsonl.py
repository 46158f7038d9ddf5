"""The JSON lines sink on real files, a full disk and a blocked pipe."""

import asyncio
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks import jsonl
from sinks.config import JsonlConfig
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import LiveView
from sinks.record import decode, encode
from tests.sinks.records import end, every_kind, start, transcript
from tests.sinks.waiting import taken


async def test_appends_one_line_a_record(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = every_kind()
    for part in (records[:5], records[5:]):  # a restart between them
        sink = JsonlSink(JsonlConfig(path=str(path)))
        await sink.start()
        await sink.write(part)
        assert path.read_bytes().endswith(encode(part[-1]) + b"\n")  # before close: nothing is held back
        await sink.close()
    assert [decode(line) for line in path.read_bytes().splitlines()] == records


async def test_line_cut_short_by_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(encode(start()) + b"\n" + encode(transcript())[:40])
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    await sink.write([end()])
    await sink.close()
    lines = path.read_bytes().splitlines()
    assert (decode(lines[0]), decode(lines[2])) == (start(), end())


async def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "records.jsonl"
    with pytest.raises(SinkMisconfigured, match=f"cannot append to {path}: No such file or directory"):
        await JsonlSink(JsonlConfig(path=str(path))).start()


async def test_full_disk_is_retryable() -> None:
    sink = JsonlSink(JsonlConfig(path="/dev/full"))
    await sink.start()
    with pytest.raises(SinkUnavailable, match="No space left"):
        await sink.write([start()])
    await sink.close()


@pytest.fixture
def small_files() -> Iterator[int]:
    """The size beyond which this process cannot write to any file."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
    yield 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, former)
    signal.signal(signal.SIGXFSZ, handler)


async def test_batch_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, small_files: int) -> None:
    path = tmp_path / "records.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    await sink.write([start()])
    with pytest.raises(SinkUnavailable, match="File too large"):
        await sink.write([transcript("word " * small_files)])
    await sink.write([end()])
    await sink.close()
    assert [decode(line) for line in path.read_bytes().splitlines()] == [start(), end()]


async def test_blocked_disk_delays_neither_the_event_loop_nor_other_sinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "CLOSE_TIMEOUT_S", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        capacity = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        view = LiveView()
        fan = FanOut([JsonlSink(JsonlConfig(path=str(pipe))), view])
        await fan.start()
        async with view.subscribe() as records:
            fan.publish([start(), transcript("x" * 2 * capacity)])
            assert (await anext(records))["type"] == "call"
            assert (await anext(records))["type"] == "transcript"
        assert taken(fan, "jsonl") == 0  # nobody reads the pipe, and the view has both records
        await fan.close(0.05)
        assert fan.deliveries["jsonl"].lost == 1
        assert taken(fan, "live") == 2
    finally:
        os.close(reader)  # the blocked write ends with EPIPE
    await asyncio.sleep(0)
