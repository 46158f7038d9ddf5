"""Streams in lanes with real sockets, and the pipeline that ticks."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from connectors.media_ws import TwilioConfig
from connectors.media_ws import twilio as twilio_connector
from connectors.media_ws.bulk import MediaLanes
from connectors.media_ws.socket import Frames
from pipeline.call import Call
from pipeline.calls import Calls
from pipeline.g711 import decode_mulaw
from sinks.record import AnyRecord, DtmfRecord
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.lines import BOTH, Recorder, opening, stream
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Calls, Recorder, list[AnyRecord], aiohttp.ClientWebSocketResponse]]:
    """A client of a real server, with the pipeline that ticks."""
    recognizer, records = Recorder(), list[AnyRecord]()
    calls = Calls(recognizer, records.extend)
    connector = twilio_connector(calls, TwilioConfig())
    ticking = asyncio.ensure_future(calls.run())
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield calls, recognizer, records, await session.ws_connect(f"ws://{host}:{port}{TwilioConfig().path}")
            await connector.close()
    finally:
        await runner.cleanup()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def started(calls: Calls, ws: aiohttp.ClientWebSocketResponse, tracks: tuple[str, ...]) -> Call:
    for message in opening(tracks):
        await ws.send_str(message)
    await until(lambda: (call := calls.get(twilio.CALL)) is not None and len(call.legs) == len(tracks))
    call = calls.get(twilio.CALL)
    assert call is not None
    return call


@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
async def test_a_running_stream_is_heard_whole_with_its_keys_and_closed_in_order(
    tracks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    enter = Frames.enter

    def entering(frames: Frames, lanes: MediaLanes, lane: int) -> None:
        entered.append(lane)
        enter(frames, lanes, lane)

    monkeypatch.setattr(Frames, "enter", entering)
    async with served() as (calls, recognizer, records, ws):
        call = await started(calls, ws, tracks)
        messages = stream(400, tracks)
        for index, message in enumerate(messages):
            await ws.send_str(message)
            if index % 100 == 50:
                await ws.ping()
            if index % 7 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: sum(leg.intake.stats.frames for leg in call.legs.values()) == 400)
        assert len(entered) >= 3
        await ws.send_str(twilio.dtmf(402, "9"))
        await ws.send_str(twilio.stop(403))
        await asyncio.wait_for(call.wait_ended(), 5)
        assert await close_code(ws) == aiohttp.WSCloseCode.OK
        keys = [one for one in records if isinstance(one, DtmfRecord)]
        assert [(one.leg, one.digit) for one in keys] == [("inbound", "9")]
        assert keys[0].start == pytest.approx(0.02 * 400 / len(tracks))
        for name, leg in call.legs.items():
            sent = [json.loads(one)["media"] for one in messages]
            codes = b"".join(base64.b64decode(one["payload"]) for one in sent if one["track"] == name)
            audio = recognizer.audio(leg.session)[::2] * 32768
            assert np.array_equal(audio, decode_mulaw(np.frombuffer(codes, np.uint8)))
            assert leg.stats.packets == leg.intake.stats.frames == 400 // len(tracks)
            assert (leg.stats.lost, leg.intake.stats.gaps) == (0, 0)


async def test_a_call_that_was_ended_closes_its_running_stream_where_nobody_ticks_any_more() -> None:
    async with served() as (calls, _, _, ws):
        call = await started(calls, ws, ("inbound",))
        messages = stream(4000)
        for message in messages[:40]:
            await ws.send_str(message)
        await until(lambda: call.legs["inbound"].intake.stats.frames == 40)
        await call.end("drained")
        await until(lambda: not calls._awake.is_set())

        async def talk() -> None:
            for message in messages[40:]:
                await ws.send_str(message)
                await asyncio.sleep(0.005)

        talking = asyncio.ensure_future(talk())
        assert await close_code(ws) == aiohttp.WSCloseCode.GOING_AWAY
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_leg_whose_audio_cannot_be_taken_along_is_heard_message_by_message(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    messages = stream(60)
    for message in messages:
        await ws.send_str(message)
    await until(lambda: call.legs["inbound"].codes.size == 160 * 60)
    await ws.send_str(twilio.stop(62))
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.legs["inbound"].stats.packets == 60
    assert await close_code(ws) == aiohttp.WSCloseCode.OK
