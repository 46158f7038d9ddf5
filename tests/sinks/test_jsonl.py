"""The JSON lines sink on real files, a full disk and a blocked pipe."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from sinks import fanout, jsonl
from sinks.config import JsonlConfig
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import LiveView
from sinks.record import AnyRecord, decode, encode
from tests.sinks.records import dtmf, end, every_kind, start, transcript
from tests.sinks.waiting import taken, until


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


async def test_start_waits_for_no_reader_of_a_pipe_and_records_wait_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "RETRY_FIRST_S", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    fan = FanOut([JsonlSink(JsonlConfig(path=str(pipe)))])
    await fan.start()
    assert [record.getMessage() for record in caplog.records] == [
        f"jsonl: cannot append to {pipe}: nobody reads this pipe: records wait for it"
    ]
    assert not fan.deliveries["jsonl"].connected
    fan.publish([start(), transcript(), end()])
    await until(lambda: fan.deliveries["jsonl"].errors > 1)
    assert (fan.deliveries["jsonl"].spooled, fan.deliveries["jsonl"].delivered) == (2, 0)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    await until(lambda: taken(fan, "jsonl") == 3)
    assert [decode(line) for line in os.read(reader, 65536).splitlines()] == [start(), transcript(), end()]
    assert fan.deliveries["jsonl"].connected
    os.close(reader)
    fan.publish([dtmf()])
    await until(lambda: not fan.deliveries["jsonl"].connected)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    await until(lambda: taken(fan, "jsonl") == 4)
    assert decode(os.read(reader, 65536)) == dtmf()
    os.close(reader)
    await fan.close(1.0)


async def test_a_reader_that_is_slow_gets_every_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "HUNG_S", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    capacity = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
    fan = FanOut([JsonlSink(JsonlConfig(path=str(pipe)))])
    await fan.start()
    records: list[AnyRecord] = [start(), transcript("x" * 2 * capacity, final=True), end()]
    fan.publish(records)
    await until(lambda: not fan.deliveries["jsonl"].connected)  # the write takes long
    found = b""
    while found.count(b"\n") < 3:
        with contextlib.suppress(BlockingIOError):
            found += os.read(reader, 1024)
        await asyncio.sleep(0)
    await until(lambda: taken(fan, "jsonl") == 3)
    assert [decode(line) for line in found.splitlines()] == records
    assert (fan.deliveries["jsonl"].errors, fan.deliveries["jsonl"].connected) == (0, True)
    await fan.close(1.0)
    os.close(reader)


async def test_start_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk cannot be made to hang, so the call that opens the file is."""
    monkeypatch.setattr(jsonl, "START_TIMEOUT_S", 0.05)
    monkeypatch.setattr(jsonl, "HUNG_S", 0.0)
    answers = threading.Event()
    opened = os.open

    def hang(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("records.jsonl"):
            answers.wait()
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", hang)
    path = tmp_path / "records.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    fan = FanOut([sink])
    await fan.start()
    fan.publish([start()])
    with pytest.raises(SinkUnavailable, match="is not opened after"):
        await sink.reopen()
    found = fan.deliveries["jsonl"]
    assert (found.connected, found.spooled, found.delivered) == (False, 1, 0)
    assert "records.jsonl is not opened after 0.05 s: records wait for it" in caplog.text
    answers.set()
    await until(lambda: taken(fan, "jsonl") == 1)
    await fan.close(1.0)
    assert decode(path.read_bytes()) == start()


async def test_records_go_where_the_name_is_after_a_move_and_after_a_deletion(tmp_path: Path) -> None:
    path, former = tmp_path / "records.jsonl", tmp_path / "former.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    await sink.write([start()])
    path.rename(former)
    await sink.write([transcript()])
    assert decode(former.read_bytes()) == start()
    assert decode(path.read_bytes()) == transcript()
    path.unlink()
    await sink.write([end()])
    assert decode(path.read_bytes()) == end()
    await sink.close()


async def test_records_that_would_go_to_a_deleted_file_wait(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "records.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    shutil.rmtree(folder)
    with pytest.raises(SinkUnavailable, match=f"cannot write to {path}: No such file or directory"):
        await sink.write([start()])
    folder.mkdir()
    await sink.write([start()])
    await sink.close()
    assert decode(path.read_bytes()) == start()


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
