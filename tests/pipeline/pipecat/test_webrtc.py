"""A Pipecat bot on a call by WebRTC: aiortc is the browser."""

import asyncio
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pipecat.processors.frame_processor import FrameProcessor

from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.peer import WebRtcConnector
from pipeline import AttendedCall, Calls
from pipeline.pipecat.bot import PipecatBot
from pipeline.pipecat.transcripts import TrunklineTranscripts
from pipeline.pipecat.transport import TrunklineTransport
from sinks.record import AnyRecord
from tests.connectors.webrtc.browser import Browser, Tone
from tests.pipeline.pipecat.frames import at_work
from tests.pipeline.pipecat.speech import Answers, Voice
from tests.pipeline.scripted import ScriptedRecognizer, script, words


async def test_a_browser_is_answered_and_hung_up_on() -> None:
    answers = Answers({"Hello there.": "hello", "Goodbye.": None})
    recognizer = ScriptedRecognizer(script(words("Hello there."), words("Goodbye.", start=1.8)))
    records: list[AnyRecord] = []

    async def make(_call: AttendedCall, transport: TrunklineTransport) -> list[FrameProcessor]:
        return [transport.input(), TrunklineTranscripts(transport.leg), answers, Voice(), transport.output()]

    calls = Calls(recognizer, records.extend, bots=[PipecatBot(make)])
    connector = WebRtcConnector(calls, WebRtcConfig())
    app = web.Application()
    app.add_routes(connector.routes())
    working = asyncio.create_task(calls.run())
    client: TestClient[Any, Any]
    async with at_work(recognizer), TestClient(TestServer(app)) as client:
        browser = Browser(client, Tone(seconds=6.0), codec="audio/PCMU", listens=True)
        await browser.start("?call_id=C1&listen=1")
        listening = asyncio.create_task(browser.listen())
        call = calls.get("C1")
        assert call is not None
        await asyncio.wait_for(call.wait_ended(), 15)
        await calls.bots.close()
        await browser.connection.close()
        await listening
        await connector.close()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert answers.heard == ["Hello there.", "Goodbye."]
    assert answers.bot == ["started", "stopped"]
    pcm = np.concatenate(browser.heard).astype(float)
    loud = np.flatnonzero(np.abs(pcm) > 4_000)
    assert 0.4 * 8_000 <= loud[-1] - loud[0] <= 0.7 * 8_000
    assert not calls.supervisor.faults
