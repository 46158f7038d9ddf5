"""Whatever becomes of a Redis, writing goes on, and afterwards its view equals the truth again."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from sinks.redis import sink as redis_sink
from testing.services.redis_server import RedisCluster, RedisSentinel, RedisServer
from tests.sinks.records import end, start, transcript
from tests.sinks.redis.stage import Stage, cli, documented_users, serving, stage
from tests.sinks.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving(RedisServer()) as server:
        yield server


@pytest.fixture
async def running(server: RedisServer) -> AsyncIterator[Stage]:
    async with stage(server.url) as running:
        await running.a_few_calls()
        await running.becomes_true()
        yield running


@pytest.mark.parametrize("key", ["call:{call-3}", "segments:{call-3}", "events:{call-3}", "calls"])
async def test_a_single_key_that_was_evicted_is_written_anew(running: Stage, server: RedisServer, key: str) -> None:
    name = running.config.key_prefix + key
    before = await cli(server, "TYPE", name), await cli(server, "DEBUG", "DIGEST-VALUE", name)
    assert await cli(server, "DEL", name) == "1"

    async def there_again() -> bool:
        return (await cli(server, "TYPE", name), await cli(server, "DEBUG", "DIGEST-VALUE", name)) == before

    await until(there_again)
    await running.becomes_true()


async def test_every_call_is_looked_at_however_little_time_there_is(
    running: Stage, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_sink, "TURN_S", 0.0)
    monkeypatch.setattr(redis_sink, "TRIP_CHECKS", 2)
    last = list(running.call_ids)[-1]
    assert await cli(server, "DEL", f"{running.config.key_prefix}call:{{{last}}}") == "1"
    await running.becomes_true()


@pytest.mark.parametrize("key", ["call", "segments", "events"])
async def test_records_that_come_after_an_eviction_do_not_hide_it(
    running: Stage, server: RedisServer, key: str
) -> None:
    """The key is there again at once, with the newest record alone."""
    await cli(server, "DEL", f"{running.config.key_prefix}{key}:{{call-3}}")
    await running.more_of_each(1)
    await running.becomes_true()
    assert await cli(server, "XLEN", f"{running.config.key_prefix}events:{{call-3}}") == "4"


async def test_keys_of_an_ended_call_are_repaired_without_living_longer(running: Stage, server: RedisServer) -> None:
    await running.write(end("call-3"))
    await running.becomes_true()
    for kind in ("call", "segments", "events"):
        await cli(server, "DEL", f"{running.config.key_prefix}{kind}:{{call-3}}")
    await running.becomes_true()
    left_ms = int(await cli(server, "PTTL", f"{running.config.key_prefix}call:{{call-3}}"))
    assert 0 < left_ms <= 1000 * running.config.retain_s


async def test_scripts_that_the_server_forgot_are_loaded_again(running: Stage, server: RedisServer) -> None:
    await cli(server, "SCRIPT", "FLUSH")
    await running.more_of_each(1)
    await running.becomes_true()
    assert running.sink.delivery().errors == 0


async def test_a_restart_with_empty_data_also_brings_back_ended_calls(
    running: Stage, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sinks.redis.sink")
    await running.write(end("call-1"))
    await running.becomes_true()
    server.kill()
    await running.more_of_each(1)
    await running.write(start("late"), transcript(call_id="late"))
    await until(lambda: not running.sink.delivery().connected)
    delivery = running.sink.delivery()
    assert (delivery.spooled, delivery.lost) == (12 + 1, 0)
    await asyncio.to_thread(server.start)
    await running.becomes_true()
    delivery = running.sink.delivery()
    assert (delivery.delivered, delivery.spooled, delivery.lost, delivery.connected) == (12 * 3 + 1 + 13, 0, 0, True)
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("redis live view is behind, trying again: redis://127.0.0.1:")
    assert caplog.messages[1].startswith("redis live view is current again after ")


async def test_a_replica_that_refuses_writes_is_behind_until_it_is_the_primary(
    running: Stage, server: RedisServer
) -> None:
    with serving(RedisServer()) as primary:
        await cli(server, "REPLICAOF", "127.0.0.1", str(primary.port))  # and with that the data are gone
        await running.more_of_each(1)
        await until(lambda: not running.sink.delivery().connected)
        await cli(server, "REPLICAOF", "NO", "ONE")
        await running.becomes_true()
    assert running.sink.delivery().lost == 0


async def test_full_memory_that_evicts_nothing_is_waited_for(
    running: Stage, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await cli(server, "CONFIG", "SET", "maxmemory", "1mb")
    await running.more_of_each(1)
    await until(lambda: not running.sink.delivery().connected)
    await running.more_of_each(2)
    assert running.sink.delivery().spooled == 24
    await cli(server, "CONFIG", "SET", "maxmemory", "0")
    await running.becomes_true()
    assert [line.partition(":")[0] for line in caplog.messages] == ["redis live view is behind, trying again"]
    assert "maxmemory" in caplog.text


async def test_full_memory_that_evicts_whatever_it_likes(running: Stage, server: RedisServer) -> None:
    memory = dict(line.split(":") for line in (await cli(server, "INFO", "memory")).split() if ":" in line)
    await cli(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await cli(server, "CONFIG", "SET", "maxmemory", str(int(memory["used_memory"]) - 20_000))
    await running.more_of_each(1)
    await until(lambda: "evicted_keys:0\n" not in server.cli("INFO", "stats"))
    await running.more_of_each(2)
    await cli(server, "CONFIG", "SET", "maxmemory", "0")
    await cli(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await running.becomes_true()


async def test_a_primary_that_sentinels_replace_takes_the_view_along() -> None:
    with (
        serving(RedisServer()) as primary,
        serving(RedisServer("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")) as replica,
    ):
        await until(lambda: "master_link_status:up" in replica.cli("INFO", "replication"))
        with serving(RedisSentinel(primary)) as sentinel:
            await until(lambda: "slaves=1" in sentinel.cli("INFO", "sentinel"))
            async with stage(sentinel.url) as running:
                await running.a_few_calls()
                await running.becomes_true()
                primary.freeze()
                await running.more_of_each(1)
                await until(lambda: not running.sink.delivery().connected)
                await running.more_of_each(2)
                await running.becomes_true()
                assert "role:master" in await cli(replica, "INFO", "replication")
                await running.more_of_each(3)
                await running.becomes_true()
                assert running.sink.delivery().lost == 0
            primary.thaw()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with serving(RedisCluster()) as cluster:
        yield cluster


async def test_calls_of_a_cluster_are_on_all_its_nodes(cluster: RedisCluster) -> None:
    """As the documented user."""
    [_, *user] = documented_users("secret")[0].split()
    for node in cluster.nodes:
        await cli(node, "ACL", "SETUSER", *user)
    url = cluster.url.replace("://", "://trunkline:secret@")
    async with stage(url, key_prefix="trunkline:") as running, running.view.subscribe() as every:
        async with running.view.subscribe("call-7") as one:
            await running.a_few_calls()
            await running.becomes_true()
            assert [(await anext(one))["call_id"] for _ in range(4)] == ["call-7"] * 4
        assert {(await anext(every))["call_id"] for _ in range(48)} == running.call_ids.keys()
        for node in cluster.nodes[:3]:
            assert "call:{call-" in await cli(node, "KEYS", f"{running.config.key_prefix}call:*")
            await cli(node, "FLUSHALL")  # whatever it held
        await running.becomes_true()


async def test_a_cluster_that_fails_over_takes_the_view_along(cluster: RedisCluster) -> None:
    async with stage(cluster.url) as running:
        await running.a_few_calls()
        await running.becomes_true()
        first, second, _, replica = cluster.nodes
        await cli(replica, "CLUSTER", "FAILOVER")  # in order: redirections, and a node without the scripts
        await until(lambda: "role:master" in replica.cli("INFO", "replication"))
        await running.more_of_each(1)
        await running.becomes_true()
        await until(lambda: "master_link_status:up" in first.cli("INFO", "replication"))
        replica.kill()
        await running.more_of_each(2)
        await until(lambda: "role:master" in first.cli("INFO", "replication"))
        await running.becomes_true()
        second.kill()  # and nobody is there to follow it
        await running.more_of_each(3)
        await until(lambda: not running.sink.delivery().connected)
        await asyncio.to_thread(second.start)
        await running.becomes_true()
        assert running.sink.delivery().lost == 0
        async with running.view.subscribe("call-7") as records:
            await running.write(end("call-7"))
            assert (await anext(records))["action"] == "END"
