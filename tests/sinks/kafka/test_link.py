"""The process that delivers, as its server sees it: killed, hanging, and at the end."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest

from sinks.kafka import link as kafka_link
from sinks.kafka.sink import KafkaSink
from sinks.record import AnyRecord, TranscriptRecord
from testing.faults.count import consume
from tests.sinks.kafka.topics import settings
from tests.sinks.records import transcript
from tests.sinks.waiting import until

SPEAKS_OTHERWISE = "import os, sys, time; os.write(int(sys.argv[-1]), b'\\4\\0\\0\\0what'); time.sleep(60)"


def finals(first: int, last: int) -> list[AnyRecord]:
    return [transcript(f"{k}", k, final=True) for k in range(first, last)]


async def arrived(sink: KafkaSink, bootstrap: str, topic: str) -> list[str]:
    """What a consumer that drops doubles has read."""
    await until(lambda: len(sink.spool) == 0)
    await sink.close()
    records = [one.record for one in await asyncio.to_thread(consume, bootstrap, [topic])]
    texts = [record.transcript for record in records if isinstance(record, TranscriptRecord)]
    return list(dict.fromkeys(texts))


def is_there(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize(("fault", "said"), [(signal.SIGKILL, "has ended (status -9)"), (signal.SIGSTOP, "hangs")])
async def test_a_process_that_is_killed_or_hangs_is_replaced_and_nothing_is_missing(
    kafka_bootstrap: str,
    fault: signal.Signals,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if fault == signal.SIGSTOP:
        monkeypatch.setattr(kafka_link, "HANGS_S", 4.0)
    config = settings(kafka_bootstrap)
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([*finals(0, 20), transcript("partial", 99)])
    await until(lambda: sink.delivery().connected and sink.delivery().delivered > 0)
    first = sink.link.pid
    assert first is not None
    os.kill(first, fault)
    await sink.write([*finals(20, 40), transcript("partial later", 99, 1)])
    await until(lambda: sink.link.pid not in (None, first))
    await sink.write(finals(40, 60))
    assert await arrived(sink, kafka_bootstrap, config.transcripts_topic) == [str(k) for k in range(60)]
    delivery = sink.delivery()
    assert delivery.delivered == 60
    partials = delivery.delivered_partials + delivery.dropped_partials + delivery.coalesced_partials
    assert partials == 2
    assert sink.link.deaths == 1
    assert delivery.errors >= 1
    assert f"kafka: the process that delivers {said}; another is started" in caplog.text
    assert not is_there(first)


async def test_the_process_ends_with_its_server(kafka_bootstrap: str) -> None:
    sink = KafkaSink(settings(kafka_bootstrap))
    await sink.start()
    await until(lambda: sink.link.pid is not None)
    pid = sink.link.pid
    assert pid is not None
    await sink.close()
    assert not is_there(pid)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (("/nowhere/python",), "cannot be started"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "has ended (status 3)"),
        ((sys.executable, "-c", SPEAKS_OTHERWISE), "is not understood"),
    ],
)
async def test_one_that_is_of_no_use_is_replaced_and_said(
    program: Sequence[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = KafkaSink(settings("127.0.0.1:9", close_timeout_s=0.1), program=program)
    await sink.start()
    await sink.write(finals(0, 3))
    await until(lambda: sink.link.deaths >= 2)
    assert f"kafka: the process that delivers {said}" in caplog.text
    assert not sink.delivery().connected
    await sink.close()
    assert sink.delivery().spooled == 3
