"""What is over is freed at once: the garbage collector comes round once in hundreds of calls."""

import asyncio

import aiohttp

from tests.garbage import collected
from tests.trunkline.conftest import Serve
from trunkline.demo.script import load_audio


async def test_calls_and_pages_that_are_over_leave_no_circles(serve: Serve) -> None:
    audio = load_audio()[0][:80_000]
    async with serve() as running, aiohttp.ClientSession() as session:
        await running.play(audio, call_sid="CA0", pace=4.0)
        with collected() as garbage:
            async with session.get(f"{running.url}/api/events?call=CA1") as page:
                await running.play(audio, call_sid="CA1", pace=4.0)
                await page.content.readany()
            await running.play(audio, call_sid="CA2", pace=4.0)
            async with asyncio.timeout(30):
                while running.server.calls.active:  # noqa: ASYNC110 - a counter has no event
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
        assert garbage == {}
