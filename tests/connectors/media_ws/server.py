"""A media server on loopback, and what a peer sees of it."""

import asyncio
from typing import Any

import aiohttp

from tests.connectors.conftest import Server
from tests.connectors.fakes import FakeCall
from tests.connectors.media_ws.twilio import twilio_side as twilio

WS = aiohttp.ClientWebSocketResponse


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is state of a fake, which has no event
            await asyncio.sleep(0.005)


async def close_code(ws: WS) -> int | None:
    """The code with which the server closes."""
    async with asyncio.timeout(5):
        while (await ws.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return ws.close_code


async def begin(server: Server, tracks: tuple[str, ...] = ("inbound", "outbound"), **fields: Any) -> WS:
    ws = await server.connect()
    await ws.send_str(twilio.connected())
    await ws.send_str(twilio.start(tracks, **fields))
    return ws


async def running(server: Server, call: str = twilio.CALL, legs: int = 2) -> FakeCall:
    await until(lambda: call in server.calls.running and len(server.calls.running[call].legs) == legs)
    return server.calls.running[call]
