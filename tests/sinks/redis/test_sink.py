"""What the sink writes into a real Redis: its keys, their expiry, and what it says was delivered."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from sinks.calls import MirroredCall, epoch_ms
from sinks.config import RedisConfig
from sinks.delivery import Delivery
from sinks.errors import ViewUnavailable
from sinks.fanout import FanOut
from sinks.live import LiveView
from sinks.record import AnyRecord, CallAction, as_builtins, encode, is_partial
from sinks.redis.keys import to_hash
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from testing.services.redis_server import RedisServer
from tests.sinks.records import AT, call, dtmf, end, start, transcript
from tests.sinks.redis.stage import serving, stream
from tests.sinks.waiting import shown, taken, until


@pytest.fixture
def config(redis_url: str) -> RedisConfig:
    return RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def sink(config: RedisConfig) -> AsyncIterator[RedisSink]:
    sink = RedisSink(config)
    await sink.start()
    yield sink
    await sink.close()


async def test_keys_are_those_documented(sink: RedisSink, config: RedisConfig, client: "Redis") -> None:
    final = transcript("Hello.", final=True)
    partial = transcript("and", segment=1)
    await shown(sink, [start(), final, partial, dtmf("7")])
    prefix = config.key_prefix
    assert await client.zrange(f"{prefix}calls", 0, -1, withscores=True) == [("CA1", epoch_ms(AT))]
    fields: dict[Any, Any] = await client.hgetall(f"{prefix}call:{{CA1}}")
    assert {name: fields[name] for name in ("call_id", "connector", "from", "to", "status", "started_at")} == {
        "call_id": "CA1",
        "connector": "twilio",
        "from": "+15550100",
        "to": "+15550199",
        "status": "active",
        "started_at": AT,
    }
    assert json.loads(fields["metadata"]) == {"queue": "sales"}
    assert [leg["leg"] for leg in json.loads(fields["legs"])] == ["caller", "agent"]
    assert json.loads(fields["dtmf"]) == [as_builtins(dtmf("7"))]
    assert int(fields["version"]) == 4
    assert not fields.keys() & {"ended_at", "reason", "statistics"}
    segments = await client.hgetall(f"{prefix}segments:{{CA1}}")
    assert segments == {record.segment_id: encode(record).decode() for record in (final, partial)}
    assert await stream(client, prefix) == [start(), final, dtmf("7")]


async def test_event_stream_is_bounded(redis_url: str, client: "Redis") -> None:
    config = RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", stream_entries=3)
    sink = RedisSink(config)
    await sink.start()
    finals = [transcript(f"{i}", segment=i, final=True) for i in range(10)]
    await shown(sink, [start(), *finals])
    assert await stream(client, config.key_prefix) == finals[-3:]
    await sink.close()


async def test_every_key_expires_and_an_ended_call_later(redis_url: str, client: "Redis") -> None:
    config = RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", lease_s=50, retain_s=500)
    sink = RedisSink(config)
    await sink.start()
    await shown(sink, [start("ended"), transcript("x", final=True, call_id="ended"), end("ended")])
    await shown(sink, [start("running"), transcript("x", final=True, call_id="running")])
    await sink.close()
    lives = {key: await client.pttl(key) for key in await client.keys(f"{config.key_prefix}*")}
    assert len(lives) == 7
    for key, life_ms in lives.items():
        limits_ms = {"running": (0, 50_000), "ended": (50_000, 500_000)}
        low, high = next((bounds for name, bounds in limits_ms.items() if name in key), (500_000, 550_000))
        assert low < life_ms <= high, key


async def test_keys_vanish_when_their_time_is_over(redis_url: str, client: "Redis") -> None:
    config = RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", lease_s=0.05, retain_s=0.05)
    sink = RedisSink(config)
    await sink.start()
    await shown(sink, [start("ended"), end("ended"), start("abandoned"), transcript(call_id="abandoned")])
    await sink.close()

    async def nothing_left() -> bool:
        return not await client.keys(f"{config.key_prefix}*")

    await until(nothing_left)


async def test_running_call_outlives_its_lease_and_leftovers_go(redis_url: str, client: "Redis") -> None:
    config = RedisConfig(
        url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", lease_s=1.0, retain_s=0.05, heartbeat_s=0.02
    )
    sink, view = RedisSink(config), RedisView(config)
    await sink.start()
    await client.zadd(f"{config.key_prefix}calls", {"leftover": 1})
    await shown(sink, [start("running"), transcript(call_id="running"), start("ended"), end("ended")])
    key = f"{config.key_prefix}segments:{{running}}"
    await client.pexpire(key, 500)

    async def prolonged() -> bool:
        return int(await client.pttl(key)) > 500

    async def only_running() -> bool:
        return list(await client.zrange(f"{config.key_prefix}calls", 0, -1)) == ["running"]

    await until(prolonged)
    await until(only_running)
    assert [known["call_id"] for known in await view.calls()] == ["running"]
    await sink.close()
    await view.close()


async def test_sink_closes_at_whatever_moment(redis_url: str) -> None:
    config = RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", heartbeat_s=0.001)
    async with asyncio.timeout(30):
        for _ in range(30):
            sink = RedisSink(config)
            await sink.start()
            await sink.write([start(), transcript()])
            await asyncio.sleep(0.003)
            await sink.close()
    assert sink.supervisor.failures == {}


async def test_only_the_last_partial_of_a_batch_is_sent(sink: RedisSink, config: RedisConfig) -> None:
    view = RedisView(config)
    async with view.subscribe() as records:
        await shown(sink, [start(), *(transcript(f"{i}", revision=i) for i in range(50)), dtmf()])
        assert [(await anext(records))["type"] for _ in range(3)] == ["call", "transcript", "dtmf"]
    snapshot = await view.snapshot("CA1")
    assert snapshot is not None
    assert snapshot.segments == [as_builtins(transcript("49", revision=49))]
    await view.close()


async def test_server_refuses_what_is_older_whoever_writes_it(
    sink: RedisSink, config: RedisConfig, client: "Redis"
) -> None:
    final = transcript("Final.", segment=0, revision=5, final=True)
    partial = transcript("newer", segment=1, revision=5)
    await shown(sink, [start(), call(CallAction.HOLD, seq=1), final, partial])
    view = RedisView(config)
    before = await view.snapshot("CA1")
    late = RedisSink(config)  # knows nothing of what the other wrote
    await late.start()
    async with view.subscribe() as records:
        await shown(late, [start(), transcript("partial", segment=0, revision=9)])
        await shown(late, [transcript("older", segment=1, revision=4), transcript("Old.", 0, 4, final=True)])
        assert late.current
        assert await view.snapshot("CA1") == before
        await shown(sink, [transcript("Settled.", segment=1, revision=6, final=True)])
        assert (await anext(records))["transcript"] == "Settled."  # nothing refused was published
    assert await stream(client, config.key_prefix) == [
        start(),
        call(CallAction.HOLD, seq=1),
        final,
        transcript("Settled.", segment=1, revision=6, final=True),
    ]
    await late.close()
    await view.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be killed."""
    with serving(RedisServer()) as server:
        yield server


async def test_redis_killed_in_mid_call_calls_go_on_and_the_view_is_rebuilt(
    server: RedisServer,
) -> None:
    config = RedisConfig(url=server.url, heartbeat_s=0.05)
    sink, view, other = RedisSink(config), RedisView(config), LiveView()
    fan = FanOut([sink, other])
    await fan.start()
    records: list[AnyRecord] = [
        start(),
        start("quiet"),
        transcript("Before.", segment=0, revision=1, final=True),
        transcript("in between", segment=1),
    ]
    fan.publish(records)
    await until(lambda: taken(fan, "redis") == len(records))
    async with view.subscribe("CA1") as cut_off:
        server.kill()
        assert [record async for record in cut_off] == []  # ends, so the screen knows
    during: list[AnyRecord] = [
        transcript("In between.", segment=1, revision=1, final=True),
        dtmf(),
        call(CallAction.HOLD, seq=1),
        start("short"),
        end("short"),
        transcript("and now", segment=2),
    ]
    for record in during:
        fan.publish([record])
    await until(lambda: fan.deliveries["redis"].spooled == 5 and not fan.deliveries["redis"].connected)
    assert fan.deliveries["redis"].oldest_age_s > 0
    with pytest.raises(ViewUnavailable):
        await view.calls()
    with pytest.raises(ViewUnavailable):
        await view.snapshot("CA1")
    with pytest.raises(ViewUnavailable):
        async with view.subscribe():
            pass

    await asyncio.to_thread(server.start)
    await until(lambda: sink.current)
    assert await view.calls() == await other.calls()
    for call_id in ("CA1", "quiet", "short"):
        assert await view.snapshot(call_id) == await other.snapshot(call_id)
    async with Redis.from_url(server.url, decode_responses=True) as client:
        history = await stream(client, config.key_prefix)
    assert history == [records[0], records[2], *during[:3]]

    async with view.subscribe("CA1") as after:
        fan.publish([transcript("And now.", segment=2, revision=1, final=True), end()])
        assert (await anext(after))["transcript"] == "And now."
        assert (await anext(after))["action"] == "END"
    assert await view.snapshot("CA1") == await other.snapshot("CA1")
    await fan.close(10)
    await view.close()
    given = [*records, *during]
    partials = sum(map(is_partial, given))
    delivery = Delivery(delivered=len(given) + 2 - partials, delivered_partials=partials)
    assert fan.deliveries["live"] == delivery
    errors = fan.deliveries["redis"].errors
    assert errors > 0
    assert fan.deliveries["redis"] == replace(delivery, errors=errors)


async def test_redis_that_froze_gets_each_record_once(server: RedisServer) -> None:
    config = RedisConfig(url=server.url, heartbeat_s=0.05, timeout_s=0.2)
    sink, view = RedisSink(config), RedisView(msgspec.structs.replace(config, timeout_s=30.0))
    await sink.start()
    await shown(sink, [start()])
    missed = [transcript(f"{i}", segment=i, final=True) for i in range(3)]
    async with view.subscribe() as records:
        server.freeze()
        await sink.write(missed[:1])  # sent, never answered, and carried out in the end
        await until(lambda: not sink.delivery().connected)
        await sink.write(missed[1:])
        server.thaw()
        await until(lambda: sink.current)
        await sink.write([end()])
        expected: list[AnyRecord] = [*missed, end()]
        assert [await anext(records) for _ in expected] == [as_builtins(record) for record in expected]
    async with Redis.from_url(server.url, decode_responses=True) as client:
        assert await stream(client, config.key_prefix) == [start(), *missed, end()]
    await sink.close()
    await view.close()


async def test_redis_that_comes_after_the_calls_is_filled(server: RedisServer) -> None:
    server.kill()
    config = RedisConfig(url=server.url, heartbeat_s=0.05)
    sink, view = RedisSink(config), RedisView(config)
    await sink.start()
    await sink.write([start(), transcript("Early.", final=True)])
    await asyncio.to_thread(server.start)
    await until(lambda: sink.current)
    snapshot = await view.snapshot("CA1")
    assert snapshot is not None
    assert snapshot.segments == [as_builtins(transcript("Early.", final=True))]
    await sink.close()
    await view.close()


async def test_what_redis_missed_is_written_at_the_end(server: RedisServer) -> None:
    server.kill()
    config = RedisConfig(url=server.url, heartbeat_s=3_600)  # no attempt of its own in this test
    sink, view = RedisSink(config), RedisView(config)
    await sink.start()
    await sink.write([start(), end()])
    await asyncio.to_thread(server.start)
    await sink.close()
    [known] = await view.calls()
    assert known["status"] == "ended"
    await view.close()


async def test_records_of_the_same_call_are_in_one_place_each(config: RedisConfig, server: RedisServer) -> None:
    server.kill()
    sink = RedisSink(msgspec.structs.replace(config, url=server.url, max_calls=2))
    await sink.start()
    await sink.write([start("a"), transcript(call_id="a"), transcript("b", revision=1, call_id="a")])
    await sink.write([transcript("c", final=True, call_id="a"), start("a"), transcript(call_id="a")])
    await sink.write([start("b"), end("b"), start("c", at="2026-11-24T12:00:01.000Z"), transcript(call_id="stranger")])
    delivery = sink.delivery()
    assert (delivery.delivered, delivery.spooled, delivery.lost) == (1, 5, 0)  # a START that is known already
    assert (delivery.coalesced_partials, delivery.dropped_partials) == (3, 1)
    await asyncio.to_thread(server.start)
    await until(lambda: sink.current)
    delivery = sink.delivery()
    assert (delivery.delivered, delivery.spooled, delivery.lost) == (
        1 + 3,
        0,
        2,
    )  # of the ended call, as there was one too many
    await sink.close()


async def test_what_cannot_be_encoded_is_refused_alone(sink: RedisSink, config: RedisConfig) -> None:
    bad = transcript("lone surrogate \udc80", final=True, call_id="bad")
    with pytest.raises(UnicodeEncodeError):
        await sink.write([start("good"), bad])
    await shown(sink, [start("good")])
    view = RedisView(config)
    assert [known["call_id"] for known in await view.calls()] == ["good"]
    await view.close()


async def test_a_call_that_cannot_be_written_costs_no_other_one_the_view(
    sink: RedisSink, config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = to_hash

    def fail(state: MirroredCall) -> Iterator[str]:
        if state.call_id == "bad":
            raise RuntimeError("boom")
        return as_it_is(state)

    monkeypatch.setattr("sinks.redis.sink.to_hash", fail)
    await shown(sink, [start("one"), start("bad"), start("two")])
    view = RedisView(config)
    assert {known["call_id"] for known in await view.calls()} == {"one", "two"}
    assert sink.supervisor.faults == {"redis view": 1}
    delivery = sink.delivery()
    assert (delivery.delivered, delivery.spooled, delivery.lost) == (2, 0, 1)
    await view.close()
