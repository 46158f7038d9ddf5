"""Reaching a Redis: URLs, TLS, users of few rights, and what is said where it cannot be."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sinks.config import RedisConfig
from sinks.errors import SinkMisconfigured, ViewUnavailable
from sinks.redis.client import RedisClient
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from testing.services.ports import free_ports
from testing.services.redis_server import RedisServer
from tests.sinks.records import start
from tests.sinks.redis.stage import Stage, certificate, documented_users, serving, stage
from tests.sinks.waiting import until

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://u:hunter2@cache:6380/2", "redis://cache:6380/2"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("rediss+sentinel://:hunter2@s1,s2:26380/calls/1", "rediss+sentinel://s1,s2:26380/calls/1"),
        ("redis+cluster://u:hunter2@n1,[::1]:7000", "redis+cluster://n1,[::1]:7000"),
    ],
)
async def test_where_a_redis_is_holds_no_secret(url: str, where: str) -> None:
    client = RedisClient(RedisConfig(url=url))
    assert client.where == where
    await client.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "rediss://cache", "tls_ca_file": "/nowhere.pem"}, r"/nowhere\.pem"),
        ({"url": "rediss://cache", "tls_cert": "/nowhere.pem", "tls_key": "/nowhere.pem"}, r"/nowhere\.pem"),
    ],
)
def test_tls_files_that_cannot_be_are_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SinkMisconfigured, match=message):
        RedisSink(RedisConfig(**settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path, Path]]:
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    with serving(RedisServer("--tls-auth-clients", "yes", tls=(cert, key))) as server:
        yield server, cert, key


async def test_tls_with_a_certificate_of_our_own(tls: tuple[RedisServer, Path, Path]) -> None:
    server, cert, key = tls
    files = {"tls_ca_file": str(cert), "tls_cert": str(cert), "tls_key": str(key)}
    async with stage(f"rediss://{server.address}/0", **files) as running, running.view.subscribe() as records:
        await running.write(start())
        await running.becomes_true()
        assert (await anext(records))["action"] == "START"


async def first_line(config: RedisConfig, caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of a Redis that cannot be used: once, however often it is tried."""
    sink, view = RedisSink(config), RedisView(config)
    await sink.start()
    await sink.write([start()])
    failures = sink.delivery().errors
    await until(lambda: sink.delivery().errors >= failures + 2)
    with pytest.raises(ViewUnavailable):
        await view.calls()
    lines = list(caplog.messages)
    await sink.close()
    await view.close()
    [line] = lines
    assert SECRET not in caplog.text
    assert "\n" not in line
    assert sink.delivery().spooled == 1
    return line


async def test_an_expired_certificate_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = certificate(tmp_path, expired=True)
    with serving(RedisServer(tls=files)) as server:
        line = await first_line(RedisConfig(url=f"rediss://{server.address}", tls_ca_file=str(files[0])), caplog)
    assert f"rediss://{server.address}: " in line
    assert "certificate has expired" in line


async def test_a_certificate_of_a_stranger_is_said(
    tls: tuple[RedisServer, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    line = await first_line(RedisConfig(url=f"rediss://{tls[0].address}"), caplog)
    assert "certificate verify failed" in line


@pytest.mark.parametrize("kind", ["redis://{}", "redis+sentinel://{}/calls", "redis+cluster://{}"])
async def test_an_address_that_nobody_answers_at_is_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    line = await first_line(RedisConfig(url=kind.format(address)), caplog)
    assert line.startswith(f"redis live view is behind, trying again: {kind.format(address)}: ")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that knows the documented users, and nobody else."""
    file = tmp_path_factory.mktemp("acl") / "users.acl"
    file.write_text("\n".join(["user default off", *documented_users(SECRET), ""]))
    with serving(RedisServer("--aclfile", str(file))) as server:
        yield server


async def test_the_documented_user_may_do_all_that_is_needed(
    guarded: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what is done once a while: loading scripts, a call anew, looking after keys, sweeping leftovers."""
    running = Stage(RedisConfig(url=f"redis://trunkline:{SECRET}@{guarded.address}/0", heartbeat_s=0.01))
    await running.sink.start()
    async with running.view.subscribe():
        await running.a_few_calls()
        await running.becomes_true()
        async with Redis.from_url(f"redis://trunkline:{SECRET}@{guarded.address}/0") as client:
            await client.delete("trunkline:call:{call-1}")
            await client.zadd("trunkline:calls", {"leftover": 1})

            async def swept() -> bool:
                return b"leftover" not in await client.zrange("trunkline:calls", 0, -1)

            await until(swept)
        await running.becomes_true()
    await running.sink.close()
    await running.view.close()
    assert "behind" not in caplog.text


async def test_a_wrong_password_is_said(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    line = await first_line(RedisConfig(url=f"redis://trunkline:{SECRET}x@{guarded.address}/0"), caplog)
    assert f"redis://{guarded.address}/0: user name or password are refused" in line


async def test_a_user_who_may_not_write_is_said(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://trunkline-page:{SECRET}@{guarded.address}/0"
    sink = RedisSink(RedisConfig(url=url))
    await sink.start()
    assert "no permissions to run the 'pexpire' command" in caplog.text
    assert len(caplog.messages) == 1
    await sink.close()


async def test_the_documented_user_of_a_page_may_read(guarded: RedisServer) -> None:
    sink = RedisSink(RedisConfig(url=f"redis://trunkline:{SECRET}@{guarded.address}/0"))
    view = RedisView(RedisConfig(url=f"redis://trunkline-page:{SECRET}@{guarded.address}/0"))
    await sink.start()
    async with view.subscribe("CA1") as one, view.subscribe() as every:
        await sink.write([start()])
        assert await anext(one) == await anext(every)
        await until(lambda: sink.current)
    assert "CA1" in {known["call_id"] for known in await view.calls()}
    assert await view.snapshot("CA1") is not None
    await sink.close()
    await view.close()
