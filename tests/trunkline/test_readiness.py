"""`/readyz` says which part of the server has ended, and why; calls and metrics with it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from sinks.config import KafkaConfig
from sinks.record import CallAction, CallRecord
from testing.services.ports import free_ports
from tests.trunkline.conftest import Running, Serve
from trunkline.config import Config
from trunkline.demo.script import load_audio


async def boom(*_args: object) -> None:
    raise RuntimeError("boom")


def raise_boom(*_args: object) -> None:
    raise RuntimeError("boom")


async def get(running: Running, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(running.url + path) as response:
        return response.status, await response.text()


async def until_unready(running: Running) -> str:
    async with asyncio.timeout(30):
        while (answer := await get(running, "/readyz"))[0] == 200:  # noqa: ASYNC110 - as a probe asks
            await asyncio.sleep(0.02)
    return answer[1]


def ticks(running: Running) -> None:
    """The next tick ends its task, by something that no tick may catch."""

    def end() -> None:
        raise asyncio.CancelledError

    running.server.calls.ingest.tick = end  # type: ignore[method-assign]
    running.server.calls.wake()


def engine(running: Running) -> None:
    running.server.engine._executor.step = raise_boom  # type: ignore[union-attr, method-assign]


def sink(running: Running) -> None:
    (lane,) = (one for one in running.server.fanout._lanes if one.sink.name == "recorder")
    lane._queue.take = raise_boom  # type: ignore[method-assign, assignment]


@asynccontextmanager
async def in_a_call(serve: Serve, config: Config | None = None) -> AsyncIterator[Running]:
    async with serve(config) as running:
        playing = asyncio.create_task(running.play(load_audio()[0][:80_000], call_sid="CA1", pace=2.0))
        async with asyncio.timeout(60):
            while not running.server.calls.ingest.legs:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)
        try:
            yield running
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


@pytest.mark.parametrize(
    ("disturb", "said"),
    [
        (ticks, "not ready: ticks: CancelledError: by something it waited for\n"),
        (engine, "not ready: engine: boom\n"),
        (sink, "not ready: sink recorder: RuntimeError: boom\n"),
    ],
)
async def test_what_has_ended_is_told_by_readiness_and_metrics(
    disturb: Callable[[Running], None], said: str, serve: Serve
) -> None:
    config = msgspec.structs.replace(Config(), pipeline=msgspec.structs.replace(Config().pipeline, flush_timeout_s=0.5))
    async with in_a_call(serve, config) as running:
        assert await get(running, "/readyz") == (200, "ready\n")
        disturb(running)
        assert said in await until_unready(running)
        assert await get(running, "/healthz") == (200, "ok\n")
        _, metrics = await get(running, "/metrics")
        if disturb is not engine:
            assert f'trunkline_failed{{service="{said.split(": ")[1]}"}} 1.0' in metrics


async def test_only_what_no_call_is_heard_without_makes_the_server_of_no_use(serve: Serve) -> None:
    config = msgspec.structs.replace(Config(), pipeline=msgspec.structs.replace(Config().pipeline, flush_timeout_s=0.5))
    async with in_a_call(serve, config) as running:
        sink(running)
        await until_unready(running)
        await asyncio.sleep(1.2)  # longer than the server takes to look
        assert not running.server.broken.is_set()
        ticks(running)
        async with asyncio.timeout(30):
            await running.server.broken.wait()


async def test_calls_of_an_engine_that_fails_end_at_once_and_say_why(serve: Serve) -> None:
    async with in_a_call(serve) as running:
        engine(running)
        async with asyncio.timeout(60):
            while running.server.calls.active:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.02)
    (end,) = (one for one in running.recorder.of("CA1") if isinstance(one, CallRecord) and one.action is CallAction.END)
    assert end.reason == "engine failed"


async def test_faults_that_were_contained_are_counted_by_place_and_leave_the_server_ready(serve: Serve) -> None:
    async with serve() as running:
        running.server.calls.ingest.add_source(raise_boom)
        await running.play(load_audio()[0][:8_000], call_sid="CA1")
        status, _ = await get(running, "/readyz")
        _, metrics = await get(running, "/metrics")
    assert status == 200
    assert 'trunkline_faults_total{place="source"}' in metrics
    assert "trunkline_http_connections " in metrics


async def test_what_waits_for_kafka_is_said_and_the_server_is_ready(serve: Serve, tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_ports(1)[0]}"
    kafka = KafkaConfig(bootstrap_servers=away, spool=str(tmp_path / "spool"), close_timeout_s=0.1)
    async with in_a_call(serve, msgspec.structs.replace(Config(), kafka=kafka)) as running:
        async with asyncio.timeout(30):
            while (answer := await get(running, "/readyz")) and " 0 records" in answer[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert answer[0] == 200
        assert re.fullmatch(r"ready\nwarning: sink kafka: away, \d+ records wait, the oldest for \d+ s\n", answer[1])
        _, metrics = await get(running, "/metrics")
        assert 'trunkline_sink_connected{sink="kafka"} 0.0' in metrics
        assert re.search(r'trunkline_sink_spooled\{sink="kafka"\} [1-9]', metrics)
        (lane,) = (one for one in running.server.fanout._lanes if one.sink.name == "kafka")
        lane.sink.spool.stats.dead_lettered["refused"] += 2  # type: ignore[attr-defined]
        _, said = await get(running, "/readyz")
        assert "\nwarning: sink kafka: 2 refused since the start: see its topic of dead letters\n" in said
