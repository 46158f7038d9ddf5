"""The engine's side on real sockets: gateways that come, misbehave and die."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from engine.api import Session, SessionOptions, StepEvents
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineFull, EngineUnavailable
from engine.executor import StepExecutor
from engine.remote import RemoteEngine
from engine.remote.server import EngineServer
from engine.remote.wire import VERSION, Greeting, Open, Ping, frame

OPTIONS = SessionOptions(80)
SECOND = np.zeros(16_000, np.float32)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state of another thread
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    checkpoint: Checkpoint, path: Path, max_sessions: int = 4, **options: int
) -> AsyncIterator[EngineServer]:
    with Engine(checkpoint, max_sessions=max_sessions) as engine:
        server = EngineServer(engine, **options)
        task = asyncio.create_task(server.listen(f"unix:{path}"))
        await until(path.exists)
        try:
            yield server
        finally:
            server.stop()
            await task


@asynccontextmanager
async def gateway(path: Path) -> AsyncIterator[RemoteEngine]:
    engine = await asyncio.to_thread(RemoteEngine.at, f"unix:{path}")
    engine.start()
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.stop)


def ends(engine: RemoteEngine) -> list[Session]:
    """Sessions that ended, as they do."""
    closed: list[Session] = []

    def hear(events: StepEvents) -> None:
        closed.extend(events.closed)

    engine.subscribe(hear)
    return closed


async def test_two_gateways_share_an_engine_and_the_death_of_one_frees_its_slots(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "engine"
    async with serving(checkpoint, path) as server, gateway(path) as one:
        closed = ends(one)
        async with gateway(path) as other:
            doomed = [other.open(OPTIONS) for _ in range(3)]
            mine = one.open(OPTIONS)
            for session in doomed:
                other.push(session, SECOND)
            other.flush()
            await until(lambda: server.engine.open_sessions == 4)
            await until(lambda: one.snapshot().sessions == 4)
            with pytest.raises(EngineFull):
                one.open(OPTIONS)
            other._link.connect = broken  # type: ignore[method-assign]
            other._connection.shutdown(socket.SHUT_RDWR)
            await until(lambda: server.engine.open_sessions == 1)
        await until(lambda: one.snapshot().sessions == 1)
        one.push(mine, SECOND)
        one.close(mine)
        one.close(one.open(OPTIONS))
        await until(lambda: len(closed) == 2)


def broken() -> socket.socket:
    raise EngineUnavailable("this gateway is dead")


async def test_bytes_that_are_no_message_end_that_connection_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "engine"
    async with serving(checkpoint, path) as server, gateway(path) as good:
        closed = ends(good)
        session = good.open(OPTIONS)
        early = bytes(frame(Open(1, OPTIONS, again=False)))
        twice = bytes(frame(Greeting(VERSION))) + 2 * early
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n",
            early,
            bytes(frame(Greeting(99))),
            twice,
            b"\xff" * 100,
            b"\x02\0\0\0\xc1\xc1",
        ):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(bad)
            with suppress(ConnectionError):
                async with asyncio.timeout(10):
                    await reader.read()
            writer.close()
        assert server.stats.malformed == 6
        good.push(session, SECOND)
        good.close(session)
        await until(lambda: closed == [session])
        await until(lambda: server.engine.open_sessions == 0)


async def test_a_gateway_that_does_not_read_is_disconnected_and_counted(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "engine"
    async with serving(checkpoint, path, output_limit=10_000) as server:
        _, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(bytes(frame(Greeting(VERSION))) + bytes(frame(Open(1, OPTIONS, again=False))))
        await until(lambda: server.engine.open_sessions == 1)
        with suppress(ConnectionError):
            while not server.stats.slow:
                writer.write(bytes(frame(Ping(1))) * 10_000)
                async with asyncio.timeout(10):
                    await writer.drain()
        assert server.stats.slow == 1
        await until(lambda: server.engine.open_sessions == 0)
        writer.close()


async def test_an_address_in_use_is_said_and_one_left_behind_is_taken(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "engine"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.unlink()
    async with serving(checkpoint, path) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(EngineUnavailable, match="listens there already"):
            await EngineServer(server.engine).listen(f"unix:{path}")
        with pytest.raises(EngineUnavailable, match="cannot listen at tcp:"):
            await EngineServer(server.engine).listen("tcp:203.0.113.1:1")
    assert not path.exists()


async def test_a_tcp_port_serves_as_well(checkpoint: Checkpoint) -> None:
    with Engine(checkpoint, max_sessions=1) as engine, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        server = EngineServer(engine)
        task = asyncio.create_task(server.listen(f"tcp:127.0.0.1:{port}"))
        await until(lambda: server.address is not None)
        remote = await asyncio.to_thread(RemoteEngine.at, f"tcp:127.0.0.1:{port}")
        with remote:
            closed = ends(remote)
            remote.close(remote.open(OPTIONS))
            await until(lambda: len(closed) == 1)
        server.stop()
        await task


async def test_an_engine_that_fails_ends_the_server_and_no_session(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway opens its sessions again with the next engine: that this one ended them is not told."""

    def fail(*_: object) -> None:
        raise RuntimeError("the device is gone")

    path = tmp_path / "engine"
    async with serving(checkpoint, path) as server, gateway(path) as remote:
        closed = ends(remote)
        session = remote.open(OPTIONS)
        monkeypatch.setattr(StepExecutor, "step", fail)
        remote.push(session, SECOND)
        remote.flush()
        await until(lambda: server.failed)
        monkeypatch.undo()
        await until(lambda: not path.exists())
        async with serving(checkpoint, path):
            remote.close(session)
            await until(lambda: closed == [session])
        assert remote.stats.restarts >= 1
