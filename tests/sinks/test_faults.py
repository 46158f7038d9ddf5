"""A fault of ours in a sink or its background work: other sinks and other calls get their records, and it is told."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from sinks.config import JsonlConfig, KafkaConfig
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.kafka.sink import KafkaSink
from sinks.live import LiveView
from sinks.record import AnyRecord, decode
from sinks.spool import Spool
from tests.sinks.recorder import Recorder
from tests.sinks.records import end, start, transcript
from tests.sinks.waiting import taken, until


def of(call_id: str, record: AnyRecord) -> AnyRecord:
    return msgspec.structs.replace(record, call_id=call_id)


class Poisoned(Recorder):
    """Cannot write anything of the call `bad`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("poisoned")
        self.error = error

    async def write(self, records: Sequence[AnyRecord]) -> None:
        if any(record.call_id == "bad" for record in records):
            raise self.error
        await super().write(records)


@pytest.mark.parametrize("error", [KeyError("boom"), asyncio.CancelledError(), UnicodeError("lone surrogate")])
async def test_what_a_sink_cannot_take_of_one_call_costs_no_other_call_a_record(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    sink, other = Poisoned(error), Recorder("other")
    fan = FanOut([sink, other])
    await fan.start()
    sink.gate.clear()
    records: list[AnyRecord] = []
    for call_id in ("one", "bad", "two"):
        records += [of(call_id, start()), of(call_id, transcript(final=True)), of(call_id, end())]
    records.append(of("one", transcript(final=True, revision=2)))
    fan.publish(records)
    sink.gate.set()
    await until(lambda: len(other.records) == len(records))
    await fan.close(5.0)
    for call_id in ("one", "two"):
        assert [record for record in sink.records if record.call_id == call_id] == [
            record for record in records if record.call_id == call_id
        ]
    assert other.records == records
    assert (fan.deliveries["poisoned"].lost, fan.deliveries["poisoned"].errors) == (3, 2)
    assert fan.supervisor.failures == {}
    assert fan.supervisor.faults == {"sink poisoned": 2}
    assert caplog.text.count("Traceback") == 1


async def test_a_sink_of_which_the_queue_fails_takes_no_other_sinks_records(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Recorder("first"), Recorder("second")
    fan = FanOut([first, second])
    await fan.start()

    def fail(_records: Sequence[AnyRecord]) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(fan._lanes[0], "offer", fail)
    fan.publish([start()])
    await until(lambda: len(second.records) == 1)
    assert fan.supervisor.faults == {"sink first": 1}
    await fan.close(5.0)


async def test_a_task_of_a_sink_that_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fan = FanOut([Recorder("first"), Recorder("second")])

    async def fail() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(fan._lanes[0], "run", fail)
    await fan.start()
    await until(lambda: bool(fan.supervisor.failures))
    assert fan.supervisor.failures == {"sink first": "RuntimeError: boom"}
    await fan.close(0.1)


async def test_a_thread_of_a_sink_that_ends_is_told_by_the_fan_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonlSink(JsonlConfig(path=str(tmp_path / "records.jsonl")))
    fan = FanOut([sink])
    await fan.start()
    work = sink._append

    def fail(lines: bytes) -> None:
        work(lines)
        raise SystemExit

    monkeypatch.setattr(sink, "_append", fail)
    fan.publish([start()])
    await until(lambda: bool(fan.supervisor.failures))
    assert fan.supervisor.failures == {"sink jsonl": "SystemExit"}
    await fan.close(0.1)


async def test_a_new_file_is_there_at_once_after_the_former_was_renamed_and_a_signal(tmp_path: Path) -> None:
    path, former = tmp_path / "records.jsonl", tmp_path / "former.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    await sink.write([start()])
    path.rename(former)
    await sink.reopen()
    assert path.read_bytes() == b""
    await sink.write([end()])
    await sink.close()
    assert decode(former.read_bytes()) == start()
    assert decode(path.read_bytes()) == end()


async def test_where_no_new_file_can_be_had_the_former_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "records.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    await sink.start()
    folder.rename(tmp_path / "moved")
    with pytest.raises(Exception, match="cannot append"):
        await sink.reopen()
    await sink.write([start()])
    await sink.close()
    assert decode((tmp_path / "moved" / "records.jsonl").read_bytes()) == start()


async def test_a_spool_that_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_spool: Spool) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Spool, "_run", fail)
    fan = FanOut([KafkaSink(KafkaConfig(bootstrap_servers="127.0.0.1:9", spool=str(tmp_path / "spool")))])
    await fan.start()
    await until(lambda: fan.supervisor.failures == {"spool": "RuntimeError: boom"})
    await fan.close(0.1)


async def test_the_live_view_keeps_the_other_calls_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    view = LiveView()
    fan = FanOut([view])
    apply = view._book.apply

    def fail(record: AnyRecord) -> object:
        if record.call_id == "bad":
            raise RuntimeError("boom")
        return apply(record)

    monkeypatch.setattr(view._book, "apply", fail)
    await fan.start()
    fan.publish([of(call_id, start()) for call_id in ("one", "bad", "two")])
    await until(lambda: taken(fan, "live") == 2)
    assert {call["call_id"] for call in await view.calls()} == {"one", "two"}
    await fan.close(5.0)
