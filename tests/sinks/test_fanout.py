"""Fan-out: no sink holds up another, and nothing is lost without being counted."""

import logging
from collections import Counter
from pathlib import Path

import pytest

from sinks import fanout
from sinks.dead_letters import Letter, taken_letters, write_letters
from sinks.delivery import Delivery, EndpointDelivery
from sinks.errors import SinkError, SinkMisconfigured, SinkRejected, SinkUnavailable
from sinks.fanout import FanOut
from sinks.message import Message
from sinks.record import AnyRecord
from sinks.spool import Spool
from sinks.spool_file import letters_of
from supervision import Supervisor
from tests.sinks.recorder import Recorder
from tests.sinks.records import end, start, transcript
from tests.sinks.waiting import until


class Refuser(Recorder):
    async def start(self) -> None:
        raise SinkMisconfigured("no such folder")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(fanout, "RETRY_MAX_S", 0.002)
    monkeypatch.setattr(fanout, "CLOSE_GRACE_S", 0.01)


async def test_every_sink_gets_every_record_in_order() -> None:
    sinks = [Recorder("a"), Recorder("b")]
    fan = FanOut(sinks)
    await fan.start()
    records: list[AnyRecord] = [start(), *(transcript(revision=i) for i in range(2_000)), end()]
    for record in records:
        fan.publish([record])
    await fan.close(10)
    for sink in sinks:
        assert sink.records == records
        assert (sink.started, sink.closed) == (1, 1)
        assert fan.deliveries[sink.name] == Delivery(delivered=2, delivered_partials=2_000)


async def test_blocked_sink_does_not_delay_another() -> None:
    blocked, free = Recorder("blocked"), Recorder("free")
    blocked.gate.clear()
    fan = FanOut([blocked, free])
    await fan.start()
    fan.publish([start()])
    await blocked.writing.wait()
    for i in range(100):
        fan.publish([transcript(revision=i)])
        await until(lambda i=i: len(free.records) == i + 2)
    assert blocked.records == []
    blocked.gate.set()
    await fan.close(10)
    assert blocked.records == free.records


async def test_overflow_drops_partials_first_and_counts() -> None:
    sink = Recorder()
    sink.gate.clear()
    fan = FanOut([sink], queue_records=4)
    await fan.start()
    fan.publish([start()])
    await sink.writing.wait()  # the START is in hand, the queue is empty
    finals = [transcript(segment=i, final=True) for i in range(5)]
    partials = [transcript(segment=i) for i in range(3)]
    fan.publish([*partials, *finals[:4]])  # one partial too many, then one more for each final
    fan.publish([finals[4], transcript(segment=9)])  # nothing left that may go
    sink.gate.set()
    await fan.close(10)
    assert sink.records == [start(), *finals[:4]]
    assert fan.deliveries["recorder"] == Delivery(delivered=5, dropped_partials=4, lost=1)


async def test_retryable_failure_repeats_the_batch_in_order(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sinks.fanout")
    sink = Recorder(failures=[SinkUnavailable("away")] * 3)
    fan = FanOut([sink])
    await fan.start()
    fan.publish([start()])
    await until(lambda: not sink.failures)
    fan.publish([end()])
    await fan.close(10)
    assert sink.records == [start(), end()]
    assert fan.deliveries["recorder"] == Delivery(delivered=2, errors=3)
    assert [record.getMessage() for record in caplog.records] == [
        "sink recorder cannot write, trying again: away",
        "sink recorder writes again",
    ]


@pytest.mark.parametrize("failure", [SinkRejected("too large"), KeyError("a bug")])
async def test_other_failure_drops_the_batch_and_goes_on(failure: Exception) -> None:
    sink = Recorder(failures=[failure])
    fan = FanOut([sink])
    await fan.start()
    fan.publish([start(), transcript()])
    await until(lambda: not sink.failures)
    fan.publish([end()])
    await fan.close(10)
    assert sink.records == [end()]
    assert fan.deliveries["recorder"] == Delivery(delivered=1, dropped_partials=1, lost=1, errors=1)


async def test_close_gives_up_on_a_sink_that_hangs_and_counts_what_it_held() -> None:
    hung, free = Recorder("hung"), Recorder("free")
    hung.gate.clear()
    fan = FanOut([hung, free])
    await fan.start()
    fan.publish([start()])
    await hung.writing.wait()
    fan.publish([transcript(), end()])
    await fan.close(0.05)
    assert (hung.records, hung.closed) == ([], 1)
    assert fan.deliveries["hung"] == Delivery(dropped_partials=1, lost=2)
    assert fan.deliveries["free"] == Delivery(delivered=2, delivered_partials=1)


async def test_close_gives_up_on_a_sink_that_stays_away() -> None:
    sink = Recorder(failures=[SinkUnavailable("away")] * 1_000_000)
    fan = FanOut([sink])
    await fan.start()
    fan.publish([start()])
    await fan.close(0.05)
    assert fan.deliveries["recorder"].lost == 1
    assert sink.closed == 1


async def test_records_after_close_are_counted_as_dropped() -> None:
    sink = Recorder()
    fan = FanOut([sink])
    await fan.start()
    await fan.close(10)
    fan.publish([transcript(), end()])
    assert sink.records == []
    assert fan.deliveries["recorder"] == Delivery(dropped_partials=1, lost=1)


async def test_start_closes_what_it_started_when_a_sink_cannot_start() -> None:
    first = Recorder("first")
    with pytest.raises(SinkMisconfigured, match="no such folder"):
        await FanOut([first, Refuser("second")]).start()
    assert (first.started, first.closed) == (1, 1)


async def test_sinks_of_one_name_are_refused() -> None:
    with pytest.raises(SinkMisconfigured, match="share a name: same, same"):
        FanOut([Recorder("same"), Recorder("same")])


def test_every_error_says_whether_to_try_again() -> None:
    assert [kind.retryable for kind in (SinkError, SinkUnavailable, SinkRejected)] == [False, True, False]


class Later(Recorder):
    """Takes records over, delivers one, and has one left."""

    def delivery(self) -> Delivery:
        return Delivery(delivered=1, spooled=1, oldest_age_s=7.0, lost=1, connected=False)


async def test_what_waits_in_the_queue_is_spooled_and_ages() -> None:
    sink = Recorder()
    sink.gate.clear()
    fan = FanOut([sink])
    await fan.start()
    fan.publish([transcript(), start()])
    await sink.writing.wait()
    fan.publish([transcript(), end()])
    found = fan.deliveries["recorder"]
    assert (found.spooled, found.delivered, found.connected) == (2, 0, True)
    assert found.oldest_age_s > 0.0
    sink.gate.set()
    await fan.close(10)
    assert fan.deliveries["recorder"] == Delivery(delivered=2, delivered_partials=2)


async def test_a_sink_that_only_takes_over_says_itself_what_is_delivered() -> None:
    sink = Later("later")
    fan = FanOut([sink], queue_records=1)
    await fan.start()
    sink.gate.clear()
    fan.publish([start()])
    await sink.writing.wait()
    fan.publish([start(), end()])
    found = fan.deliveries["later"]
    assert (found.delivered, found.spooled, found.lost, found.connected) == (1, 3, 2, False)
    assert found.oldest_age_s == 7.0
    sink.gate.set()
    await fan.close(10)


async def test_what_is_not_as_it_should_be_is_said_in_words() -> None:
    sink = Later("later")
    fan = FanOut([sink, Recorder("fine")])
    assert fan.warnings() == [
        "sink later: away, 1 records wait, the oldest for 7 s",
        "sink later: 1 records are lost",
    ]
    assert Delivery(degraded=True).warnings() == ["its disk refuses, what waits is in memory alone"]


def test_of_several_destinations_those_that_are_away_are_named() -> None:
    endpoints = {
        "crm": EndpointDelivery(connected=True),
        "billing": EndpointDelivery(False, 12, 5.4),
        "former": EndpointDelivery(False, 3, 7.6 * 3600, configured=False),
    }
    assert Delivery(connected=False, spooled=15, endpoints=endpoints).warnings() == [
        "billing is away, 12 records wait, the oldest for 5 s",
        "former is not configured any more, 3 records wait, the oldest for 8 h: configure it again, or they become "
        "dead letters",
    ]
    endpoints = {"crm": EndpointDelivery(connected=True)}
    assert Delivery(connected=False, spooled=2, oldest_age_s=3.0, endpoints=endpoints).warnings() == [
        "away, 2 records wait, the oldest for 3 s"
    ]


class Burying(Later):
    """A sink with a spool, which has given records up."""

    def __init__(self, folder: Path) -> None:
        super().__init__("burying")
        self.spool = Spool(
            folder / "spool", max_bytes=1, max_age_s=1.0, on_committed=lambda: None, supervisor=Supervisor()
        )

    def delivery(self) -> Delivery:
        return Delivery(dead_lettered=Counter(refused=2))


class Giving(Later):
    """A sink without one."""

    def delivery(self) -> Delivery:
        return Delivery(dead_lettered=Counter(refused=2))


def test_dead_letters_are_those_in_the_file_now_and_without_a_file_those_since_the_start(tmp_path: Path) -> None:
    letter = Letter("full", Message("a", b"call", b"{}", ()), 1_780_000_000.0)
    file = letters_of(tmp_path / "spool")
    write_letters(file, [letter])
    sink = Burying(tmp_path)
    fan = FanOut([sink])
    said = "sink burying: {} dead letters in the file beside its spool, the oldest of 2026-05-28 20:26 UTC"
    assert fan.warnings() == [said.format(1)]
    write_letters(file, [letter, letter])
    assert fan.warnings() == [said.format(3)]
    with taken_letters(file, print):
        write_letters(file, [letter])
        assert fan.warnings() == [said.format(4)]
    assert fan.warnings() == [said.format(1)]
    file.unlink()
    assert fan.warnings() == []
    sink.spool.stop()
    assert FanOut([Giving("giving")]).warnings() == ["sink giving: dead letters since the start: 2 refused"]
