"""Webhooks, at real receivers: what they get, what their answers do, restarts."""

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.delivery import Delivery
from sinks.errors import SinkMisconfigured
from sinks.fanout import FanOut
from sinks.message import Message
from sinks.record import AnyRecord, CallAction, TurnEvent, as_builtins
from sinks.webhooks import lane as webhook_lane
from sinks.webhooks import order as webhook_order
from sinks.webhooks import sink as webhook_sink
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.sink import WebhookSink
from testing.services.ports import free_ports
from tests.sinks.records import call, dtmf, end, start, transcript, turn
from tests.sinks.waiting import until
from tests.sinks.webhooks.receiver import SECRET, Receiver


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_order, "RETRY_FIRST_S", 0.002)
    monkeypatch.setattr(webhook_order, "RETRY_MAX_S", 0.05)
    monkeypatch.setattr(webhook_lane, "REACH_EVERY_S", 0.02)
    monkeypatch.setattr(webhook_sink, "COUNT_EVERY_S", 0.02)


@contextlib.asynccontextmanager
async def sending(folder: Path, *receivers: Receiver | str, **changed: Any) -> AsyncIterator[WebhookSink]:
    """A sink with an endpoint for each receiver, named a, b, c; `changed`: of the endpoints, or of the section."""
    known = {key: changed.pop(key) for key in ("spool_max_age_h", "spool_max_bytes") if key in changed}
    urls = [one if isinstance(one, str) else one.url for one in receivers]
    endpoints = tuple(WebhookConfig(name="abc"[k], url=url, **changed) for k, url in enumerate(urls))
    sink = WebhookSink(WebhooksConfig(endpoints=endpoints, secret=SECRET, spool=str(folder / "spool"), **known))
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def of_calls(*call_ids: str, finals: int = 5) -> list[AnyRecord]:
    """The records of these calls, interleaved."""
    rows = [
        [start(one), *(transcript(f"f{k}", k, final=True, call_id=one) for k in range(finals)), end(one)]
        for one in call_ids
    ]
    return [record for several in zip(*rows, strict=True) for record in several]


def ids(records: list[AnyRecord], call_id: str | None = None) -> list[str]:
    return [one.event_id for one in records if call_id in (None, one.call_id)]


async def test_records_are_posted_signed_and_in_order(tmp_path: Path) -> None:
    records = [*of_calls("a", "b", "c"), dtmf(call_id="b"), turn(call_id="c")]
    async with Receiver().running() as receiver, sending(tmp_path, receiver, headers={"X-Team": "blue"}) as sink:
        await sink.write([records[0], transcript(), *records[1:]])  # a partial is not sent
        await until(lambda: len(receiver.taken) == len(records))
        await until(lambda: sink.delivery().delivered == len(records))
        for call_id in "abc":
            assert receiver.ids(call_id) == ids(records, call_id)
        assert sorted(receiver.taken, key=str) == sorted(map(as_builtins, records), key=str)
        for record, headers in zip(receiver.seen, receiver.headers, strict=True):
            assert headers["Idempotency-Key"] == headers["webhook-id"] == record["event_id"]
            assert (headers["Content-Type"], headers["X-Team"]) == ("application/json", "blue")
        assert replace(sink.delivery(), endpoints={}) == Delivery(delivered=len(records))
    assert 1 < receiver.most_at_once <= 3


async def test_each_receiver_gets_the_events_that_it_asks_for(tmp_path: Path) -> None:
    records: list[AnyRecord] = [
        start(),
        call(CallAction.HOLD, seq=1),
        transcript(final=True),
        turn(TurnEvent.START_OF_TURN, 0),
        turn(TurnEvent.END_OF_TURN, 1),
        dtmf(),
        end(),
    ]
    wanted = ("call.START", "call.END", "turn.EndOfTurn"), ("transcript", "dtmf")
    async with Receiver().running() as first, Receiver().running() as second:
        endpoints = tuple(
            WebhookConfig(name=name, url=one.url, secret=SECRET, events=events)
            for name, one, events in zip("ab", (first, second), wanted, strict=True)
        )
        sink = WebhookSink(WebhooksConfig(endpoints=endpoints, spool=str(tmp_path / "spool")))
        await sink.start()
        await sink.write(records)
        await sink.close()
    assert set(first.ids()) == set(ids([records[0], records[4], records[6]]))
    assert set(second.ids()) == set(ids([records[2], records[5]]))
    assert sink.delivery().delivered == 5


async def test_a_record_that_fails_holds_up_its_own_call_alone_and_a_receiver_that_is_away_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = of_calls("bad", "good", "better")
    healed = False

    def answer(record: dict[str, Any]) -> int:
        poison = record["call_id"] == "bad" and record["type"] == "transcript" and record["transcript"] == "f2"
        return 500 if poison and not healed else 204

    (port,) = free_ports(1)
    gone = f"http://localhost:{port}/hook"
    async with Receiver(answer).running() as receiver, sending(tmp_path, receiver, gone) as sink:
        await sink.write(records)
        await until(lambda: receiver.ids("good") == ids(records, "good"))
        await until(lambda: receiver.ids("better") == ids(records, "better"))
        await until(lambda: len(receiver.seen) > len(records))  # it is tried again and again
        await until(lambda: sink.delivery().endpoints["a"].spooled == 4)
        waiting = sink.delivery().endpoints["b"]
        assert (waiting.spooled, waiting.connected, waiting.configured) == (len(records), False, True)
        assert "b is away, 21 records wait, the oldest for 0 s" in sink.delivery().warnings()
        assert receiver.ids("bad") == ids(records, "bad")[:3]
        found = sink.delivery()
        assert (found.connected, found.spooled + found.delivered) == (False, 2 * len(records))
        healed = True
        await until(lambda: receiver.ids("bad") == ids(records, "bad"))
        async with Receiver().running(port=port) as back:
            await until(lambda: len(back.ids()) == len(records))
            await until(lambda: sink.delivery().connected)
        for call_id in ("bad", "good", "better"):
            assert back.ids(call_id) == ids(records, call_id)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len([one for one in said if one.startswith(f"webhooks: b (localhost:{port}): ")]) == 1
    assert any(one.startswith("webhooks: a (") and "HTTP 500; records wait in the spool" in one for one in said)


async def test_what_is_refused_for_good_is_a_dead_letter_and_the_call_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = of_calls("a", finals=3)
    receiver = Receiver(lambda record: 422 if record.get("transcript") == "f1" else 200)
    async with receiver.running(), sending(tmp_path, receiver) as sink:
        await sink.write(records)
        await until(lambda: sink.delivery().spooled == 0)
        found = sink.delivery()
    assert (found.delivered, dict(found.dead_lettered), found.errors, found.lost) == (4, {"refused": 1}, 1, 0)
    (letter,) = map(json.loads, (tmp_path / "spool.dead-letters.jsonl").read_text().splitlines())
    assert (letter["reason"], json.loads(letter["value"])["transcript"]) == ("refused: HTTP 422", "f1")
    assert receiver.ids() == ids([*records[:2], *records[3:]])
    assert f"refuses a record for good: HTTP 422: call a, event {records[2].event_id}" in caplog.text


async def test_what_is_older_than_the_horizon_is_a_dead_letter_and_not_sent_any_more(tmp_path: Path) -> None:
    receiver = Receiver(lambda record: 503 if record["type"] == "call" else 200)
    async with receiver.running(), sending(tmp_path, receiver, spool_max_age_h=1 / 3600) as sink:
        await sink.write([start(), transcript(final=True)])
        await until(lambda: sink.delivery().dead_lettered["old"] == 2)
        tried = len(receiver.seen)
        await sink.write([dtmf(call_id="other")])
        await until(lambda: sink.delivery().delivered == 1)
        assert receiver.ids() == [dtmf(call_id="other").event_id]
        await asyncio.sleep(0.3)  # six times the longest pause
        assert tried <= len(receiver.seen) <= tried + 3  # one may be on its way at that moment


async def test_no_more_is_looked_at_ahead_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_lane, "LOOK_AHEAD", 4)
    records = of_calls("a", "b", "c", "d", "e", finals=6)
    async with Receiver().running() as receiver, sending(tmp_path, receiver) as sink:
        await sink.write(records)
        await until(lambda: len(receiver.taken) == len(records))
    for call_id in "abcde":
        assert receiver.ids(call_id) == ids(records, call_id)
    assert receiver.most_at_once <= 4


async def test_redirects_are_not_followed_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver().running() as other, Receiver().running() as receiver:
        receiver.answer = lambda _: web.Response(status=307, headers={"Location": other.url})
        async with sending(tmp_path, receiver) as sink:
            await sink.write([start()])
            await until(lambda: len(receiver.seen) > 2)
        assert sink.delivery().spooled == 1
        assert other.seen == []
    assert "HTTP 307, a redirect, which is not followed: correct the url" in caplog.text


async def test_no_answer_in_time_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver().running() as receiver:
        receiver.delay_s = 5.0
        async with sending(tmp_path, receiver, timeout_s=0.05) as sink:
            await sink.write([start()])
            await until(lambda: len(receiver.seen) > 1)
            receiver.delay_s = 0.0
            await until(lambda: sink.delivery().delivered == 1)
    assert "no answer within 0.05 s; records wait in the spool" in caplog.text


async def test_an_answer_that_is_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with Receiver().running() as receiver:
        receiver.answer = lambda _: web.Response(body=b"x" * 10_000_000)
        async with sending(tmp_path, receiver) as sink:
            await sink.write(of_calls("a"))
            await until(lambda: sink.delivery().delivered == 7)


async def test_nothing_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    (port,) = free_ports(1)
    address = f"localhost:{port}/services/SECRETPATH?token=SECRETQUERY"
    urls = [f"http://user:SECRETPASSWORD@{address}", f"http://{address}"]
    secrets = (SECRET.removeprefix("whsec_"), "SECRETPATH", "SECRETQUERY", "SECRETPASSWORD", "SECRETHEADER")
    async with sending(tmp_path, *urls, headers={"X-Key": "SECRETHEADER"}) as sink:
        await sink.write([start()])
        await until(lambda: sink.delivery().errors > 3)
        shown = caplog.text + repr(sink._config)
    assert f"webhooks: a (localhost:{port})" in shown
    assert not [secret for secret in secrets if secret in shown]


async def test_what_was_left_by_a_stop_goes_first_at_the_next_start(tmp_path: Path) -> None:
    records = of_calls("a", "b")
    receiver = Receiver(lambda _: 503)
    async with receiver.running():
        async with sending(tmp_path, receiver) as sink:
            await sink.write(records)
            await until(lambda: len(receiver.seen) > 1)
        receiver.answer = lambda _: 200
        receiver.seen.clear()
        async with sending(tmp_path, receiver) as sink:
            assert sink.delivery().spooled == len(records)
            await sink.write(later := [dtmf(call_id="a")])
            await until(lambda: len(receiver.taken) == len(records) + 1)
    assert receiver.ids("a") == ids([*records, *later], "a")


PROGRAM = """
import asyncio, sys
from sinks.record import decode
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.sink import WebhookSink

async def main(url, secret, spool):
    sink = WebhookSink(WebhooksConfig(endpoints=(WebhookConfig(name="a", url=url),), secret=secret, spool=spool))
    await sink.start()
    await sink.write([decode(line) for line in sys.stdin])
    assert sink.spool.flush(60)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    records = of_calls("a", "b", "c", finals=20)
    receiver = Receiver(lambda record: 503 if record.get("transcript") == "f7" else 200)
    async with receiver.running():
        (tmp_path / "records").write_text("".join(json.dumps(as_builtins(one)) + "\n" for one in records))
        with (tmp_path / "records").open() as given_to:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM, receiver.url, SECRET, str(tmp_path / "spool")), stdin=given_to
            )
        await until(lambda: len(receiver.ids()) >= 15)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert len(receiver.ids()) < len(records)
        receiver.answer = lambda _: 200
        async with sending(tmp_path, receiver) as sink:
            await until(lambda: len(receiver.ids()) == len(records))
            await until(lambda: sink.delivery().spooled == 0)
    for call_id in "abc":
        assert receiver.ids(call_id) == ids(records, call_id)


@settings(max_examples=15, deadline=None)
@given(
    answers=st.lists(st.sampled_from([200, 200, 200, 500, 503, 429, 404, 302, None]), max_size=60),
    calls=st.integers(1, 6),
)
async def test_whatever_the_receiver_answers_each_record_comes_in_order_and_once_without_its_repetitions(
    tmp_path_factory: pytest.TempPathFactory, answers: list[int | None], calls: int
) -> None:
    """None: the receiver has the record, and the connection is cut before the answer."""
    records = of_calls(*(f"call-{k}" for k in range(calls)), finals=4)
    rest = iter(answers)
    receiver = Receiver(lambda _: next(rest, 200))
    async with receiver.running(), sending(tmp_path_factory.mktemp("webhooks"), receiver) as sink:
        for first in range(0, len(records), 5):
            await sink.write(records[first : first + 5])
        await until(lambda: sink.delivery().spooled == 0)
        assert sink.delivery().delivered == len(records)
    for k in range(calls):
        assert receiver.ids(f"call-{k}") == ids(records, f"call-{k}")


async def test_the_fan_out_says_how_it_stands(tmp_path: Path) -> None:
    receiver = Receiver(lambda _: 503)
    async with receiver.running():
        config = WebhookConfig(name="a", url=receiver.url, secret=SECRET)
        fan = FanOut([WebhookSink(WebhooksConfig(endpoints=(config,), spool=str(tmp_path / "spool")))])
        await fan.start()
        await until(lambda: fan.deliveries["webhooks"].connected)  # before there is anything to send
        fan.publish(of_calls("a"))
        await until(lambda: not fan.deliveries["webhooks"].connected)
        found = fan.deliveries["webhooks"]
        assert (found.spooled, found.delivered, found.lost) == (7, 0, 0)
        await until(lambda: fan.deliveries["webhooks"].oldest_age_s > 0)
        receiver.answer = lambda _: 200
        await until(lambda: fan.deliveries["webhooks"].delivered == 7)
        assert fan.deliveries["webhooks"].connected
        await until(lambda: fan.warnings() == [])
        await fan.close(5.0)
        assert fan.supervisor.faults == {}


def test_a_spool_that_cannot_be_and_records_of_an_endpoint_that_is_gone_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def made(name: str, spool: Path) -> WebhookSink:
        config = WebhookConfig(name=name, url=f"http://example.com/{uuid.uuid4()}", secret=SECRET)
        return WebhookSink(WebhooksConfig(endpoints=(config,), spool=str(spool)))

    with pytest.raises(SinkMisconfigured, match="No such file or directory: make its folder"):
        made("a", tmp_path / "none" / "spool")
    first = made("a", tmp_path / "spool")
    first.spool.start()
    first.spool.append([Message("a", b"call", b"{}", (("event_id", b"1"),))])
    first.spool.stop()
    caplog.clear()
    second = made("b", tmp_path / "spool")
    said = "a is not configured any more, 1 records wait, the oldest for 0 s: configure it again, or they become dead "
    assert [record.getMessage() for record in caplog.records] == [
        "webhooks: records go to b (example.com) unencrypted: use https",
        f"webhooks: {tmp_path / 'spool'}: {said}letters",
    ]
    assert said + "letters" in second.delivery().warnings()
    assert (second.delivery().endpoints["a"].spooled, second.delivery().endpoints["a"].configured) == (1, False)
    second.spool.stop()
