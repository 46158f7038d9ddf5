"""`trunkline serve` as a process: no signal ends it before the records of its calls are out."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from sinks.record import CallAction, CallRecord, decode
from tests.trunkline.processes import said, serving
from trunkline.demo.script import load_audio
from trunkline.descriptors import raise_descriptor_limit


def records(file: Path) -> list[CallRecord]:
    return [one for one in map(decode, file.read_bytes().splitlines()) if isinstance(one, CallRecord)]


async def test_signals_reload_or_are_ignored_and_two_to_stop_end_running_calls_with_their_records(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (server, url):
        player = TwilioPlayer(url.replace("http", "ws") + "/twilio", load_audio()[0], None, call_sid="CA1")
        playing = asyncio.create_task(player.play())
        await said(server, "call CA1 started")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            server.send_signal(number)
            assert "is ignored" in await said(server, number.name)
        (tmp_path / "trunkline.jsonl").rename(tmp_path / "former.jsonl")
        server.send_signal(signal.SIGHUP)
        assert "trunkline.jsonl is opened anew; log level INFO" in await said(server, "SIGHUP")
        server.send_signal(signal.SIGQUIT)
        await said(server, "waiting up to 600 s")
        server.send_signal(signal.SIGTERM)
        await said(server, "told to stop again")
        with pytest.raises(StreamClosed):
            await playing
        async with asyncio.timeout(60):
            assert await server.wait() == 0
    started, ended = records(tmp_path / "former.jsonl"), records(tmp_path / "trunkline.jsonl")
    assert started[0].action is CallAction.START
    assert (ended[-1].action, ended[-1].reason) == (CallAction.END, "server shutting down")


BROKEN_TICKS = """
import pipeline.calls
async def run(self):
    raise KeyError('boom')
pipeline.calls.Calls.run = run
"""

BROKEN_ENGINE = """
import engine.sessions.streams
def step(self, now=None):
    raise MemoryError('boom')
engine.sessions.streams.Streams.is_due = step
"""


@pytest.mark.parametrize(
    ("before", "why"), [(BROKEN_TICKS, "KeyError"), (BROKEN_ENGINE, "boom")], ids=["ticks", "engine"]
)
async def test_a_server_that_can_hear_no_call_says_why_and_ends_with_status_1(
    before: str, why: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, before=before) as (server, _):
        assert why in await said(server, "not ready")
        assert why in await said(server, "no call can be heard")
        async with asyncio.timeout(60):
            assert await server.wait() == 1


async def test_a_thousand_half_sent_requests_keep_no_call_out_of_1024_descriptors(tmp_path: Path) -> None:
    raise_descriptor_limit()  # of this process, which has the other ends
    before = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))"
    async with serving(tmp_path, before=before) as (server, url):
        host, port = "127.0.0.1", int(url.rpartition(":")[2])
        halves = []
        for _ in range(1_007):
            _, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
            halves.append(writer)
        async with aiohttp.ClientSession() as session:
            async with session.get(url + "/readyz") as response:
                assert response.status == 200
            player = TwilioPlayer(
                url.replace("http", "ws") + "/twilio", load_audio()[0][:8_000], None, call_sid="CA1", pace=0
            )
            assert (await player.play(session)).close_code == 1000
            async with session.get(url + "/metrics") as response:
                metrics = await response.text()
        assert float(metrics.partition("\ntrunkline_http_shed_total ")[2].split()[0]) > 600
        for writer in halves:
            writer.close()
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await server.wait() == 0
