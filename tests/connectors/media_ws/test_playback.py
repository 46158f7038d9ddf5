"""A caller on a real socket is spoken to: from `Call.play` to Twilio's buffer and back by its marks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from numpy.typing import NDArray

from connectors.media_ws import TwilioConfig, TwilioPlayer, twilio
from connectors.media_ws.twilio.player import PlayerReport
from pipeline import Call, Calls, NoWayBack
from pipeline.g711 import decode_mulaw, encode_mulaw
from tests.connectors.media_ws.server import until
from tests.pipeline.scripted import ScriptedRecognizer


def tone(seconds: float, rate_hz: int = 16_000) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * rate_hz)) * 2 * np.pi * 440 / rate_hz) * 10_000).astype(np.int16)


class Office:
    """A server with the real pipeline. `finish`: the caller hangs up."""

    def __init__(self, calls: Calls, url: str) -> None:
        self.calls, self.url = calls, url

    async def ring(
        self, *, both: bool = False, seconds: float = 3.0
    ) -> tuple[Call, TwilioPlayer, "asyncio.Task[PlayerReport]"]:
        quiet = np.full(round(seconds * 8_000), 0xFF, np.uint8)
        player = TwilioPlayer(self.url, quiet, quiet if both else None)
        playing = asyncio.create_task(player.play())
        await until(lambda: (call := self.calls.get(player.call_sid)) is not None and call.announced)
        call = self.calls.get(player.call_sid)
        assert call is not None
        await until(lambda: both or call.legs["inbound"].player.outlet is not None)
        return call, player, playing


@asynccontextmanager
async def office() -> AsyncIterator[Office]:
    recognizer = ScriptedRecognizer()
    calls = Calls(recognizer, lambda records: None)
    connector = twilio(calls, TwilioConfig())
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def recognise() -> None:
        while True:
            recognizer.steps()
            await asyncio.sleep(0.005)

    working = [asyncio.create_task(calls.run()), asyncio.create_task(recognise())]
    try:
        host, port = runner.addresses[0][:2]
        yield Office(calls, f"ws://{host}:{port}/twilio")
    finally:
        await connector.close()
        await runner.cleanup()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def test_the_caller_hears_what_is_said_and_its_marks_come_back() -> None:
    async with office() as one:
        call, player, playing = await one.ring()
        said = call.speak("inbound", 16_000)
        await said.write(tone(0.4))
        said.mark("first")
        await said.write(tone(0.4))
        said.mark("second")
        said.close()
        heard = await asyncio.wait_for(said.wait(), 10)
        assert (heard.seconds, heard.marks, heard.interrupted) == (0.8, ("first", "second"), False)
        report = player.report
        codes = np.frombuffer(bytes(report.heard), np.uint8)
        expected = np.frombuffer(encode_mulaw(tone(0.8, 8_000)).tobytes(), np.uint8)
        assert codes.size == 6_400
        difference = decode_mulaw(codes).astype(int) - decode_mulaw(expected)
        assert np.abs(difference[200:3_000]).max() < 600  # two streams of one tone, and mu-law's steps
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def test_stop_empties_the_buffer_and_tells_what_was_heard() -> None:
    async with office() as one:
        call, player, playing = await one.ring(seconds=2.0)
        said = call.play("inbound", tone(20), 16_000)
        await until(lambda: len(player.report.heard) >= 8_000)
        (heard,) = call.stop("inbound")
        assert heard.interrupted
        sent = player.report.played
        report = await asyncio.wait_for(playing, 10)
        assert report.cleared == 1
        assert len(report.heard) / 8_000 == pytest.approx(heard.seconds, abs=0.15)
        assert report.played < sent + 2_400  # what was on its way, the lead
        assert (await said.wait()) == heard
        assert one.calls.stats.playback.stops == 1


async def test_the_call_may_end_in_the_middle_of_an_announcement() -> None:
    async with office() as one:
        call, _, playing = await one.ring(seconds=0.5)
        said = call.play("inbound", tone(20), 16_000)
        await asyncio.wait_for(playing, 10)
        heard = await asyncio.wait_for(said.wait(), 10)
        assert heard.interrupted
        assert heard.seconds < 2
        await call.wait_ended()


async def test_a_copy_of_a_call_between_two_has_no_way_back() -> None:
    async with office() as one:
        call, _, playing = await one.ring(both=True, seconds=0.5)
        with pytest.raises(NoWayBack, match=r"leg inbound: .*<Connect><Stream>"):
            call.play("inbound", tone(1), 16_000)
        await asyncio.wait_for(playing, 10)
