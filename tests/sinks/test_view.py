"""What both live views owe their screens, on the in-process one and on a real Redis."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest

from sinks.config import LiveConfig, RedisConfig
from sinks.live import LiveView, View
from sinks.record import AnyRecord, CallAction, TurnEvent, as_builtins
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from sinks.sink import Sink
from sinks.subscription import Subscription
from tests.sinks.records import AT, OTHER_RUN, RUN, STATISTICS, call, dtmf, end, start, transcript, turn
from tests.sinks.waiting import shown, until

QUEUE_RECORDS = 8


class Pair(NamedTuple):
    sink: Sink
    view: View


@pytest.fixture(params=["in-process", "redis"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    if request.param == "in-process":
        live = LiveView(LiveConfig(queue_records=QUEUE_RECORDS))
        yield Pair(live, live)
        await live.close()
        return
    config = RedisConfig(
        url=request.getfixturevalue("redis_url"),
        key_prefix=f"test[{uuid.uuid4()}]:",  # brackets, as they mean something in a channel pattern
        queue_records=QUEUE_RECORDS,
    )
    sink, view = RedisSink(config), RedisView(config)
    await sink.start()
    yield Pair(sink, view)
    await sink.close()
    await view.close()


async def texts(view: View, call_id: str = "CA1") -> list[str]:
    snapshot = await view.snapshot(call_id)
    assert snapshot is not None
    return [segment["transcript"] for segment in snapshot.segments]


async def test_unknown_call_has_no_snapshot(pair: Pair) -> None:
    assert await pair.view.calls() == []
    assert await pair.view.snapshot("CA1") is None


async def test_late_joiner_sees_all_so_far(pair: Pair) -> None:
    finals = [transcript(f"part {i}", segment=i, revision=3, final=True, leg=leg) for i in range(3) for leg in "ab"]
    partial = transcript("and th", segment=3, leg="a")
    await shown(pair.sink, [start(), finals[0]])
    await shown(pair.sink, [*reversed(finals[1:]), partial, dtmf("1", 0), dtmf("2", 1), turn()])
    snapshot = await pair.view.snapshot("CA1")
    assert snapshot is not None
    assert snapshot.call == {
        "call_id": "CA1",
        "connector": "twilio",
        "from": "+15550100",
        "to": "+15550199",
        "metadata": {"queue": "sales"},
        "legs": [
            {"leg": "caller", "speaker_role": "customer", "channel_index": 0},
            {"leg": "agent", "speaker_role": "agent", "channel_index": 1},
        ],
        "run": RUN,
        "started_at": AT,
        "ended_at": None,
        "status": "active",
        "reason": None,
        "statistics": None,
    }
    assert snapshot.segments == [as_builtins(record) for record in [*finals, partial]]
    assert snapshot.dtmf == [as_builtins(dtmf("1", 0)), as_builtins(dtmf("2", 1))]
    assert await pair.view.calls() == [snapshot.call]


@pytest.mark.parametrize("together", [True, False])
async def test_partial_never_overwrites_a_final_and_no_older_revision_a_newer(pair: Pair, together: bool) -> None:
    records: list[tuple[AnyRecord, str]] = [
        (transcript("h", revision=1), "h"),
        (transcript("older", revision=0), "h"),
        (transcript("again", revision=1), "h"),
        (transcript("he", revision=2), "he"),
        (transcript("Hello.", revision=3, final=True), "Hello."),
        (transcript("hell", revision=9), "Hello."),
        (transcript("Hullo.", revision=2, final=True), "Hello."),
        (transcript("Hello!", revision=4, final=True), "Hello!"),
    ]
    await shown(pair.sink, [start()])
    if together:
        await shown(pair.sink, [record for record, _ in records])
        assert await texts(pair.view) == ["Hello!"]
        return
    for record, expected in records:
        await shown(pair.sink, [record])
        assert await texts(pair.view) == [expected]


async def test_text_that_looks_like_a_newer_record_is_only_text(pair: Pair) -> None:
    first = transcript('"is_final":true,"revision":99 \\"revision":98', revision=1)
    await shown(pair.sink, [start(), first])
    await shown(pair.sink, [transcript("next", revision=2)])
    assert await texts(pair.view) == ["next"]


async def test_status_follows_the_call(pair: Pair) -> None:
    steps = [
        (start(), "active"),
        (call(CallAction.HOLD, seq=1), "held"),
        (call(CallAction.UPDATE, seq=2, metadata={"agent": "Ana"}), "held"),
        (call(CallAction.RESUME, seq=3), "active"),
        (call(CallAction.TRANSFER, seq=4, to="+15550111"), "active"),
        (end(seq=5), "ended"),
    ]
    for record, status in steps:
        await shown(pair.sink, [record])
        assert [known["status"] for known in await pair.view.calls()] == [status]
    [known] = await pair.view.calls()
    assert known["metadata"] == {"queue": "sales", "agent": "Ana"}
    assert (known["from"], known["to"]) == ("+15550100", "+15550111")
    assert len(known["legs"]) == 2
    assert known["ended_at"] == "2026-11-24T12:05:00.000Z"
    assert known["reason"] == "hangup"
    assert known["statistics"]["p50_latency_ms"] == STATISTICS.p50_latency_ms


async def test_call_record_delivered_twice_changes_nothing(pair: Pair) -> None:
    await shown(pair.sink, [start(), call(CallAction.HOLD, seq=1)])
    before = await pair.view.snapshot("CA1")
    await shown(pair.sink, [start()])
    await shown(pair.sink, [call(CallAction.HOLD, seq=1)])
    assert await pair.view.snapshot("CA1") == before


async def test_calls_are_listed_newest_first(pair: Pair) -> None:
    for call_id, second in (("b", 2), ("c", 3), ("a", 1)):
        await shown(pair.sink, [start(call_id, at=f"2026-11-24T12:00:0{second}.000Z")])
    assert [known["call_id"] for known in await pair.view.calls()] == ["c", "b", "a"]


async def test_call_id_used_again_begins_anew(pair: Pair) -> None:
    await shown(pair.sink, [start(), transcript("former caller", final=True), dtmf(), end()])
    again = "2026-11-24T13:00:00.000Z"
    await shown(pair.sink, [start(run=OTHER_RUN, at=again)])
    snapshot = await pair.view.snapshot("CA1")
    assert snapshot is not None
    assert (snapshot.segments, snapshot.dtmf) == ([], [])
    assert (snapshot.call["started_at"], snapshot.call["status"]) == (again, "active")
    assert (snapshot.call["ended_at"], snapshot.call["reason"]) == (None, None)
    await shown(pair.sink, [transcript("new", run=OTHER_RUN)])
    assert await texts(pair.view) == ["new"]


async def test_what_comes_late_of_a_former_run_is_ignored(pair: Pair) -> None:
    await shown(pair.sink, [start(), transcript("former caller")])
    # An earlier time, as of a server whose clock is behind.
    await shown(pair.sink, [start(run=OTHER_RUN, at="2026-11-24T11:59:59.000Z"), transcript("new", run=OTHER_RUN)])
    late = (start(), transcript("late", segment=3, final=True), call(CallAction.HOLD, seq=4), dtmf(), end())
    await shown(pair.sink, [*late, transcript("new words", revision=1, run=OTHER_RUN)])
    snapshot = await pair.view.snapshot("CA1")
    assert snapshot is not None
    assert [segment["transcript"] for segment in snapshot.segments] == ["new words"]
    assert (snapshot.dtmf, snapshot.call["run"], snapshot.call["status"]) == ([], OTHER_RUN, "active")


async def test_run_whose_start_was_lost_begins_with_its_first_call_record(pair: Pair) -> None:
    await shown(pair.sink, [start(), transcript("former caller")])
    await shown(pair.sink, [transcript("unknown run", run=OTHER_RUN)])
    assert await texts(pair.view) == ["former caller"]
    await shown(pair.sink, [call(CallAction.UPDATE, run=OTHER_RUN, seq=1), transcript("new", run=OTHER_RUN)])
    assert await texts(pair.view) == ["new"]


async def test_records_of_a_call_that_never_started_are_ignored(pair: Pair) -> None:
    await shown(pair.sink, [transcript(call_id="ghost"), dtmf(call_id="ghost")])
    assert await pair.view.snapshot("ghost") is None
    await shown(pair.sink, [call(CallAction.UPDATE, "ghost", seq=1), transcript("here", call_id="ghost")])
    assert await texts(pair.view, "ghost") == ["here"]


async def test_version_grows_with_every_change(pair: Pair) -> None:
    versions = [0]
    changes: list[AnyRecord] = [start(), transcript(), transcript(revision=1), dtmf(), turn(), end()]
    for record in changes:
        await shown(pair.sink, [record])
        snapshot = await pair.view.snapshot("CA1")
        assert snapshot is not None
        versions.append(snapshot.version)
    assert versions == sorted(set(versions))


async def test_strange_ids_and_texts_come_through(pair: Pair) -> None:
    strange = 'a b:{c}*?[x]\\"\n\x00 é 通話 \U0001f4de'
    async with pair.view.subscribe(strange) as records:
        await shown(pair.sink, [start(strange, metadata={strange: strange}), transcript(strange, call_id=strange)])
        assert (await anext(records))["metadata"] == {strange: strange}
        assert (await anext(records))["transcript"] == strange
    snapshot = await pair.view.snapshot(strange)
    assert snapshot is not None
    assert snapshot.call["metadata"] == {strange: strange}
    assert await texts(pair.view, strange) == [strange]


async def write_each(sink: Sink, records: Sequence[AnyRecord]) -> None:
    for record in records:
        await shown(sink, [record])


async def test_subscriber_gets_what_changes_the_view_in_order(pair: Pair) -> None:
    changes: list[AnyRecord] = [
        start(),
        transcript("so", revision=0),
        transcript("So.", revision=1, final=True),
        dtmf(),
        turn(TurnEvent.START_OF_TURN),
        end(),
    ]
    async with pair.view.subscribe("CA1") as records:
        await write_each(pair.sink, [*changes[:3], transcript("so", revision=0), start("other"), *changes[3:]])
        assert [await anext(records) for _ in changes] == [as_builtins(record) for record in changes]


async def test_subscriber_to_all_gets_every_call(pair: Pair) -> None:
    async with pair.view.subscribe() as records:
        await write_each(pair.sink, [start("a"), start("b"), transcript(call_id="a")])
        assert [(await anext(records))["call_id"] for _ in range(3)] == ["a", "b", "a"]


async def offered(subscription: AsyncIterator[dict[str, Any]], count: int) -> None:
    """Wait until that many records have come for the subscription; from Redis that takes a moment."""
    assert isinstance(subscription, Subscription)
    await until(lambda: subscription.offered == count)


async def test_slow_subscriber_loses_partials_oldest_first(pair: Pair) -> None:
    async with pair.view.subscribe() as slow:
        partials = [transcript(segment=i) for i in range(QUEUE_RECORDS + 4)]
        await write_each(pair.sink, [start(), *partials, end()])
        await offered(slow, len(partials) + 2)
        expected: list[AnyRecord] = [start(), *partials[-QUEUE_RECORDS + 2 :], end()]
        assert [await anext(slow) for _ in expected] == [as_builtins(record) for record in expected]


async def test_subscriber_that_falls_behind_further_is_ended(pair: Pair) -> None:
    async with pair.view.subscribe() as slow, pair.view.subscribe() as reader:
        finals: list[AnyRecord] = [transcript(segment=i, final=True) for i in range(QUEUE_RECORDS)]
        for record in [start(), *finals]:
            await shown(pair.sink, [record])
            await anext(reader)
        await offered(slow, QUEUE_RECORDS + 1)
        assert [record async for record in slow] == []
        await shown(pair.sink, [end()])
        assert (await anext(reader))["action"] == "END"  # nobody else's problem
