"""The player against a server that only writes down what it receives."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from aiohttp import web

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.signature import is_valid
from connectors.media_ws.twilio.template import next_media

Handler = Callable[[web.WebSocketResponse, dict[str, Any]], Any]


class Listener:
    """`answer` is called with every message after it was written down."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.signatures: list[str | None] = []
        self.answer: Handler | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.signatures.append(request.headers.get("X-Twilio-Signature"))
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            self.messages.append(json.loads(message.data))
            if self.answer is not None:
                await self.answer(ws, self.messages[-1])
            if self.messages[-1]["event"] == "stop":
                await ws.close()
        return ws

    def media(self, track: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["event"] == "media" and m["media"]["track"] == track]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listening = Listener()
    app = web.Application()
    app.router.add_get("/twilio", listening.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    listening.url = f"ws://{host}:{port}/twilio"
    yield listening
    await runner.cleanup()


INBOUND = np.arange(1_000, dtype=np.int64).astype(np.uint8)
OUTBOUND = INBOUND[::-1][:480].copy()


async def test_stream_is_what_twilio_sends(listener: Listener) -> None:
    player = TwilioPlayer(listener.url, INBOUND, OUTBOUND, parameters={"agent": "a-7"}, pace=0)
    report = await player.play()
    events = [message["event"] for message in listener.messages]
    assert events[:2] == ["connected", "start"]
    assert events[-1] == "stop"
    assert [m["sequenceNumber"] for m in listener.messages[1:]] == [str(n) for n in range(1, len(listener.messages))]
    start = listener.messages[1]
    assert start["streamSid"] == start["start"]["streamSid"] == player.stream_sid
    assert start["start"]["tracks"] == ["inbound", "outbound"]
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert start["start"]["customParameters"] == {"agent": "a-7"}
    assert listener.messages[-1]["stop"] == {"accountSid": player.account_sid, "callSid": player.call_sid}
    for track, codes in (("inbound", INBOUND), ("outbound", OUTBOUND)):
        media = listener.media(track)
        assert [m["media"]["chunk"] for m in media] == [str(n + 1) for n in range(len(media))]
        assert [m["media"]["timestamp"] for m in media] == [str(20 * n) for n in range(len(media))]
        assert b"".join(base64.b64decode(m["media"]["payload"]) for m in media) == codes.tobytes()
    assert [m["media"]["track"] for m in listener.messages[2:6]] == ["inbound", "outbound"] * 2
    assert (report.close_code, report.messages) == (1000, len(listener.messages) - 1)


async def test_one_track_alone_is_streamed_as_such(listener: Listener) -> None:
    await TwilioPlayer(listener.url, None, OUTBOUND, pace=0).play()
    assert listener.messages[1]["start"]["tracks"] == ["outbound"]
    assert len(listener.media("outbound")) == 3


async def test_playing_takes_at_least_as_long_as_its_audio_at_the_given_pace(listener: Listener) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await TwilioPlayer(listener.url, np.zeros(160 * 20, np.uint8), None, pace=4.0).play()
    assert loop.time() - began >= 20 * 0.02 / 4.0


async def test_marks_come_back_and_what_is_sent_to_be_played_is_counted(listener: Listener) -> None:
    async def answer(ws: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            for reply in (
                {"event": "media", "streamSid": message["streamSid"], "media": {"payload": "////"}},
                {"event": "mark", "streamSid": message["streamSid"], "mark": {"name": "hello"}},
                {"event": "clear", "streamSid": message["streamSid"]},
            ):
                await ws.send_json(reply)

    listener.answer = answer
    report = await TwilioPlayer(listener.url, INBOUND, None, pace=1.0).play()
    (mark,) = [m for m in listener.messages if m["event"] == "mark"]
    assert mark["mark"] == {"name": "hello"}
    sequence = [int(m["sequenceNumber"]) for m in listener.messages[1:]]
    assert sequence == list(range(1, len(sequence) + 1))
    assert (report.marks, report.played, report.cleared) == (["hello"], 3, 1)


async def test_upgrade_is_signed_when_there_is_a_token(listener: Listener) -> None:
    await TwilioPlayer(listener.url, INBOUND, None, pace=0, auth_token="secret").play()
    assert is_valid("secret", listener.signatures[0], [listener.url.replace("ws://", "wss://")])
    await TwilioPlayer(listener.url, INBOUND, None, pace=0, auth_token="secret", signed_url="wss://a.example/b").play()
    assert is_valid("secret", listener.signatures[1], ["wss://a.example/b"])
    await TwilioPlayer(listener.url, INBOUND, None, pace=0).play()
    assert listener.signatures[2] is None


async def test_server_that_closes_early_is_an_error_with_its_code(listener: Listener) -> None:
    async def answer(ws: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            await ws.close(code=1013, message=b"no room")

    listener.answer = answer
    with pytest.raises(StreamClosed, match="1013: no room") as closed:
        await TwilioPlayer(listener.url, np.zeros(80_000, np.uint8), None).play()
    assert (closed.value.close_code, closed.value.retryable) == (1013, True)


async def test_no_server_is_a_client_error(listener: Listener) -> None:
    with pytest.raises(aiohttp.ClientError):
        await TwilioPlayer(listener.url + "/nowhere", INBOUND, None).play()


def test_stream_without_tracks_is_an_error() -> None:
    with pytest.raises(ValueError, match="track"):
        TwilioPlayer("ws://localhost/twilio", None, None)


def test_media_have_the_form_of_twilios_own_which_the_server_takes_in_bulk() -> None:
    player = TwilioPlayer("ws://localhost/twilio", INBOUND, None, stream_sid="MZ1")
    first, second = (player._media(Track.INBOUND, INBOUND[at : at + 160], at) for at in (0, 160))
    texts = [msgspec.json.encode(one) for one in (first, second)]
    assert list(json.loads(texts[0])["media"]) == ["track", "chunk", "timestamp", "payload"]
    assert next_media(texts[1], texts[0], Track.INBOUND, 1, 320) is not None
