"""Two servers that write one call id to one Redis: two runs of it."""

import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from sinks.config import RedisConfig
from sinks.record import AnyRecord, CallAction
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from tests.sinks.records import OTHER_RUN, call, dtmf, end, start, transcript
from tests.sinks.redis.stage import stream
from tests.sinks.waiting import shown, until


@pytest.fixture
def config(redis_url: str) -> RedisConfig:
    return RedisConfig(url=redis_url, key_prefix=f"test-{uuid.uuid4()}:", heartbeat_s=0.05)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def servers(config: RedisConfig) -> AsyncIterator[tuple[RedisSink, RedisSink]]:
    pair = RedisSink(config), RedisSink(config)
    for sink in pair:
        await sink.start()
    yield pair
    for sink in pair:
        await sink.close()


async def test_the_one_that_began_last_is_shown(
    config: RedisConfig, client: "Redis", servers: tuple[RedisSink, RedisSink]
) -> None:
    first, second = servers
    view = RedisView(config)
    await shown(first, [start(), transcript("of the first", final=True)])
    begun: list[AnyRecord] = [start(run=OTHER_RUN), transcript("of the second", final=True, run=OTHER_RUN)]
    await shown(second, begun)
    async with view.subscribe() as records:
        late: list[AnyRecord] = [transcript("late", segment=1, final=True), call(CallAction.HOLD, seq=1), dtmf(), end()]
        await shown(first, late)
        last = transcript("and more", segment=1, final=True, run=OTHER_RUN)
        await shown(second, [last])
        assert (await anext(records))["event_id"] == last.event_id
    snapshot = await view.snapshot("CA1")
    assert snapshot is not None
    assert [segment["transcript"] for segment in snapshot.segments] == ["of the second", "and more"]
    assert (snapshot.call["run"], snapshot.call["status"], snapshot.dtmf) == (OTHER_RUN, "active", [])
    assert await stream(client, config.key_prefix) == [*begun, last]
    await view.close()


async def test_both_rebuild_the_call_and_do_not_take_it_from_each_other_for_ever(
    config: RedisConfig, client: "Redis", servers: tuple[RedisSink, RedisSink]
) -> None:
    first, second = servers
    view = RedisView(config)
    await shown(first, [start()])
    await shown(second, [start(run=OTHER_RUN)])
    await client.delete(*await client.keys(f"{config.key_prefix}*"))
    for n in range(4):
        await first.write([transcript(f"first {n}", segment=n)])
        await second.write([transcript(f"second {n}", segment=n, run=OTHER_RUN)])
        await until(lambda: first.current and second.current)
    snapshot = await view.snapshot("CA1")
    assert snapshot is not None
    assert {segment["run"] for segment in snapshot.segments} == {snapshot.call["run"]}
    assert len(snapshot.segments) == 4
    await view.close()
