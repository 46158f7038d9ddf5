"""How long requests may take to arrive and how many connections there may be, on real sockets."""

import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvloop
from aiohttp import web

from trunkline.connections import Connections, HttpSite, mark_requests
from trunkline.descriptors import descriptor_limit

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "
WHOLE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Site:
    connections: Connections
    port: int
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    peers: list[Peer] = field(default_factory=list)

    async def connect(self, data: bytes = b"") -> Peer:
        peer = await asyncio.open_connection("127.0.0.1", self.port)
        peer[1].write(data)
        self.peers.append(peer)
        return peer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - counters have no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def site(*, head_s: float = 60.0, most: int = 100, most_per_address: int = 100) -> AsyncIterator[Site]:
    connections = Connections(head_s=head_s, most=most, most_per_address=most_per_address)
    listener = socket.create_server(("127.0.0.1", 0))
    made = Site(connections, listener.getsockname()[1])

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def wait(_request: web.Request) -> web.Response:
        await made.gate.wait()
        return web.Response(text="at last")

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    application = web.Application(middlewares=[mark_requests])
    application.add_routes([web.get("/", answer), web.get("/wait", wait), web.get("/ws", echo), web.post("/", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await HttpSite(runner, listener, connections, access_log=None).start()
    try:
        yield made
    finally:
        for _, writer in made.peers:
            writer.close()
        made.gate.set()
        await runner.cleanup()
        listener.close()


async def ended(peer: Peer) -> bytes:
    """What the server still said."""
    async with asyncio.timeout(10):
        try:
            return await peer[0].read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("sent", [b"", b"G", HALF, UPGRADE, b"\r\n"])
async def test_a_request_whose_head_does_not_come_in_time_is_ended_and_counted(sent: bytes) -> None:
    async with site(head_s=0.05) as made:
        peer = await made.connect(sent)
        assert await ended(peer) == b""
        assert made.connections.stats.late == 1
        await made.until(lambda: made.connections.stats.connections == 0)


async def test_a_head_that_trickles_in_gets_no_more_time() -> None:
    async with site(head_s=0.2) as made:
        _, writer = peer = await made.connect(HALF)

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(trickle())
        assert await ended(peer) == b""
        task.cancel()
        assert made.connections.stats.late == 1


async def test_the_head_of_a_later_request_on_a_connection_has_the_same_time() -> None:
    async with site(head_s=0.2) as made:
        reader, writer = peer = await made.connect(WHOLE)
        assert b"here" in await reader.readuntil(b"here")
        writer.write(HALF)
        assert await ended(peer) == b""
        assert made.connections.stats.late == 1


async def test_what_takes_long_after_its_head_is_left_alone() -> None:
    async with site(head_s=0.05) as made, aiohttp.ClientSession() as session:
        slow = asyncio.create_task(session.get(f"http://127.0.0.1:{made.port}/wait"))
        async with session.ws_connect(f"ws://127.0.0.1:{made.port}/ws") as ws:
            await asyncio.sleep(0.15)
            await ws.send_str("still there?")
            assert await ws.receive_str(timeout=10) == "still there?"
            made.gate.set()
            assert await (await slow).text() == "at last"
        assert made.connections.stats.late == 0


async def test_half_sent_requests_of_one_address_keep_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    async with site(most_per_address=5) as made:
        halves = [await made.connect(HALF) for _ in range(5)]
        await made.until(lambda: made.connections.stats.connections == 5)
        reader, _ = await made.connect(WHOLE)
        assert b"200 OK" in await reader.readuntil(b"here")
        assert await ended(halves[0]) == b""  # the oldest made room
        assert made.connections.stats.shed == 1
        assert made.connections.stats.connections == 5
    assert caplog.text.count("max_connections_per_address") == 1


async def test_connections_in_all_are_bounded_and_one_without_a_request_makes_room() -> None:
    async with site(most=3) as made, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"ws://127.0.0.1:{made.port}/ws") for _ in range(2)]
        idle = await made.connect(WHOLE)
        assert b"here" in await idle[0].readuntil(b"here")
        reader, _ = await made.connect(WHOLE)
        assert b"200 OK" in await reader.readuntil(b"here")
        assert await ended(idle) == b""
        for ws in sockets:
            await ws.send_str("still there?")
            assert await ws.receive_str(timeout=10) == "still there?"
            await ws.close()


async def test_where_all_have_a_request_under_way_a_new_connection_is_refused_and_counted() -> None:
    async with site(most_per_address=2) as made:
        running = [await made.connect(WHOLE.replace(b"/ ", b"/wait ")) for _ in range(2)]
        await made.until(lambda: not made.connections._waiting)
        refused = await made.connect(WHOLE)
        assert await ended(refused) == b""
        assert made.connections.stats.crowded == 1
        made.gate.set()
        for reader, _ in running:
            assert b"at last" in await reader.readuntil(b"at last")


async def test_a_body_that_does_not_come_holds_no_connection_for_ever() -> None:
    async with site(head_s=0.1) as made:
        peer = await made.connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        reader, writer = peer
        assert b"here" in await reader.readuntil(b"here")
        writer.write(b"y")
        await ended(peer)
        await made.until(lambda: made.connections.stats.connections == 0)


def test_the_same_on_the_loop_that_serves() -> None:
    async def run() -> None:
        await test_half_sent_requests_of_one_address_keep_nobody_out_quietly()
        await test_where_all_have_a_request_under_way_a_new_connection_is_refused_and_counted()

    uvloop.run(run())


async def test_half_sent_requests_of_one_address_keep_nobody_out_quietly() -> None:
    async with site(most_per_address=5) as made:
        for _ in range(20):
            await made.connect(HALF)
        await made.until(lambda: made.connections.stats.shed == 15)
        reader, _ = await made.connect(WHOLE)
        assert b"200 OK" in await reader.readuntil(b"here")


def limited(soft: int, hard: int, program: str) -> str:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-c", f"import logging; logging.basicConfig(); {program}"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


RAISE = "from trunkline.descriptors import raise_descriptor_limit; print(raise_descriptor_limit())"


def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 8_192)
    assert limited(256, hard, RAISE).splitlines()[0] == str(hard)


def test_few_descriptors_are_told_with_what_to_do() -> None:
    said = limited(256, 512, RAISE)
    assert "512" in said
    assert "only 512 file descriptors" in said
    assert "ulimit -Hn" in said


def test_the_limit_is_what_this_process_has() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptor_limit() == min(soft, 1 << 20)
