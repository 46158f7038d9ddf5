"""Reading the live view in Redis: subscriptions that end, and redis-cli as the documentation shows it."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sinks.config import RedisConfig
from sinks.record import decode, encode
from sinks.redis.view import RedisView
from testing.services.redis_server import RedisServer
from tests.sinks.records import dtmf, end, start, transcript
from tests.sinks.redis.stage import Stage, cli, serving
from tests.sinks.waiting import LIMIT_S

DOCUMENTED = Path(__file__).parents[3] / "docs" / "records.md"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own."""
    with serving(RedisServer()) as server:
        yield server


async def test_subscription_whose_connection_broke_is_ended_even_if_redis_is_there(server: RedisServer) -> None:
    view = RedisView(RedisConfig(url=server.url))
    async with Redis.from_url(server.url) as client, view.subscribe() as records:
        await client.client_kill_filter(_type="pubsub")
        assert [record async for record in records] == []  # records may have been missed: read a new snapshot
    await view.close()


async def test_subscription_to_a_server_that_froze_is_ended(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.redis.client.IDLE_S", 0.05)
    view = RedisView(RedisConfig(url=server.url, timeout_s=1.0))
    async with view.subscribe() as records:
        await asyncio.sleep(0.2)  # silence alone ends nothing
        server.freeze()
        async with asyncio.timeout(LIMIT_S):
            assert [record async for record in records] == []
        server.thaw()
    await view.close()


@pytest.mark.parametrize("call_id", ["CA1", "a{b}c%d", "x" * 300])
async def test_redis_cli_reads_the_view_as_documented(server: RedisServer, call_id: str) -> None:
    stage = Stage(RedisConfig(url=server.url))
    await stage.sink.start()
    final = transcript("Hello.", final=True, call_id=call_id)
    await stage.write(start(call_id), final, transcript("so", 1, call_id=call_id), dtmf(call_id=call_id))
    await stage.becomes_true()
    answers = {}
    written = call_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    for line in re.findall(r"^redis-cli (.*?)(?: +#.*)?$", DOCUMENTED.read_text("utf-8"), re.MULTILINE):
        command, *arguments = shlex.split(line.replace("CA1", written))
        if command != "SUBSCRIBE":
            answers[command] = (await cli(server, command, *arguments)).splitlines()
    await stage.sink.close()
    await stage.view.close()
    assert answers["ZREVRANGE"] == [call_id]
    assert answers["HGET"] == ["active"]
    fields = dict(zip(answers["HGETALL"][::2], answers["HGETALL"][1::2], strict=True))
    assert (fields["call_id"], json.loads(fields["metadata"])) == (call_id, {"queue": "sales"})
    assert sorted(answers["HVALS"], key=lambda line: float(json.loads(line)["start"])) == [
        encode(record).decode() for record in (final, transcript("so", 1, call_id=call_id))
    ]
    assert [decode(line) for line in answers["XRANGE"][2::3]] == [start(call_id), final, dtmf(call_id=call_id)]


async def test_a_call_whose_server_was_killed_is_lost_until_its_keys_expire(server: RedisServer) -> None:
    config = RedisConfig(url=server.url, lease_s=4.0, heartbeat_s=0.1)
    stage, view = Stage(config), RedisView(config)
    await stage.sink.start()
    await stage.write(start("CA1"), start("CA2"), end("CA2"))
    await stage.becomes_true()
    await asyncio.sleep(1.5)  # heartbeats keep it
    assert {call["call_id"]: call["status"] for call in await view.calls()} == {"CA1": "active", "CA2": "ended"}
    stage.sink._book.forget("CA1")  # nobody prolongs it from now on
    async with asyncio.timeout(LIMIT_S):
        while (lost := [call for call in await view.calls() if call["status"] == "lost"]) == []:  # noqa: ASYNC110 - time has no event
            await asyncio.sleep(0.1)
        snapshot = await view.snapshot("CA1")
        assert snapshot is not None
        assert [(one["call_id"], one["lost_at"]) for one in lost] == [("CA1", snapshot.call["lost_at"])]
        while await view.snapshot("CA1") is not None:  # noqa: ASYNC110 - time has no event
            await asyncio.sleep(0.1)
    await stage.sink.close()
    await stage.view.close()
    await view.close()


async def test_without_the_right_to_ask_for_ages_no_call_is_lost(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    config = RedisConfig(url=server.url)
    stage = Stage(config)
    await stage.sink.start()
    await stage.write(start("CA1"))
    await stage.becomes_true()
    async with Redis.from_url(server.url) as client:
        await client.acl_setuser(
            "page",
            enabled=True,
            passwords="+secret",
            categories=["+@all"],
            commands=["-pttl"],
            keys=["*"],
            channels=["*"],
        )
    view = RedisView(RedisConfig(url=server.url.replace("redis://", "redis://page:secret@")))
    for _ in range(2):
        assert [call["status"] for call in await view.calls()] == ["active"]
    assert [one.getMessage() for one in caplog.records if "pttl" in one.getMessage()] == [
        "redis live view: calls of a server that is gone are not known: allow the user +pttl"
    ]
    await stage.sink.close()
    await stage.view.close()
    await view.close()
