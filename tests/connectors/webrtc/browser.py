"""A browser's side of a WHIP call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame as AvFrame
from numpy.typing import NDArray

from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.peer import WebRtcConnector
from tests.connectors.codecs.speech import voice
from tests.connectors.fakes import FakeCall, FakeCalls, FakeLeg

RATE = 48_000


SDP = {"Content-Type": "application/sdp"}


class Tone(MediaStreamTrack):
    """A voice of one pitch in real time. `done` is set after `seconds` of it; silence follows."""

    kind = "audio"

    def __init__(self, pitch_hz: float = 125.0, seconds: float = 1.0) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self._pcm = voice(RATE, seconds, pitch_hz)
        self._at = 0
        self._began = 0.0

    async def recv(self) -> AvFrame:
        now = asyncio.get_running_loop().time()
        self._began = self._began or now
        await asyncio.sleep(max(self._began + self._at / RATE - now, 0))
        part = self._pcm[self._at : self._at + RATE // 50]
        if not part.size:
            self.done.set()
            part = np.zeros(RATE // 50, np.int16)
        frame = AvFrame.from_ndarray(part[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._at, Fraction(1, RATE)
        self._at += RATE // 50
        return frame


class Browser:
    """A peer that speaks by WHIP. `listens`: it wants audio back, which is in `heard`."""

    def __init__(
        self, client: TestClient[Any, Any], *tracks: Tone, codec: str | None = None, listens: bool = False
    ) -> None:
        self.heard: list[NDArray[np.int16]] = []
        self.connection = RTCPeerConnection(RTCConfiguration([]))
        self.location, self.etag = "", ""
        self._client, self._tracks = client, tracks
        for track in tracks:
            transceiver = self.connection.addTransceiver(track, "sendrecv" if listens else "sendonly")
            if codec is not None:
                capabilities = RTCRtpSender.getCapabilities("audio")
                assert capabilities is not None
                transceiver.setCodecPreferences([one for one in capabilities.codecs if one.mimeType == codec])

    async def listen(self) -> None:
        """Take what is said into `heard`, until the end: int16 at the codec's rate, the left of two channels."""
        (receiver,) = self.connection.getReceivers()
        while True:
            try:
                frame = await receiver.track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AvFrame)
            self.heard.append(frame.to_ndarray().ravel()[:: len(frame.layout.channels)].astype(np.int16))

    def written(self, offer: str) -> str:
        """The offer as it is sent."""
        return offer

    def read(self, answer: str) -> str:
        """The answer as it is taken."""
        return answer

    async def start(self, query: str = "?call_id=C1", *, trickle: bool = False) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        text = self.connection.localDescription.sdp
        lines = text.splitlines()
        candidates = [line for line in lines if line.startswith(("a=candidate", "a=end-of"))]
        if trickle:
            text = "\r\n".join(line for line in lines if line not in candidates) + "\r\n"
        answer = await self._client.post(f"/whip{query}", data=self.written(text), headers=SDP)
        assert answer.status == 201, await answer.text()
        self.location, self.etag = answer.headers["Location"], answer.headers["ETag"]
        await self.connection.setRemoteDescription(RTCSessionDescription(self.read(await answer.text()), "answer"))
        if trickle:
            named = {
                name: next(line for line in lines if line.startswith(f"a={name}:"))
                for name in ("ice-ufrag", "ice-pwd", "mid")
            }
            text = "\r\n".join([named["ice-ufrag"], named["ice-pwd"], "m=audio 9 X 0", named["mid"], *candidates])
            headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": self.etag}
            assert (await self._client.patch(self.location, data=text, headers=headers)).status == 204

    async def spoken(self) -> None:
        await asyncio.wait_for(asyncio.gather(*(track.done.wait() for track in self._tracks)), 10)

    async def stop(self) -> None:
        assert (await self._client.delete(self.location)).status == 200
        await self.connection.close()


@asynccontextmanager
async def endpoint(config: WebRtcConfig | None = None) -> AsyncIterator[tuple[TestClient[Any, Any], FakeCalls]]:
    calls = FakeCalls()
    connector = WebRtcConnector(calls, config or WebRtcConfig())
    app = web.Application()
    app.add_routes(connector.routes())
    async with TestClient(TestServer(app)) as client:
        yield client, calls
        await connector.close()
    assert calls.sessions == 0
    assert connector.stats.active == 0


async def ended(calls: FakeCalls) -> FakeCall:
    (call,) = calls.history
    await asyncio.wait_for(call.over.wait(), 10)
    return call


def heard(leg: FakeLeg) -> NDArray[np.int16]:
    """What a leg was given, checked to be without gap or overlap from the first sample on."""
    position = leg.frames[0].pts
    for frame in leg.frames:
        assert frame.pts == position
        position += frame.samples.size
    return np.concatenate([frame.samples for frame in leg.frames])


async def speak_on_two_legs(browser: Browser, calls: FakeCalls) -> None:
    """A call of a customer at 125 Hz and an agent at 200 Hz, each checked to be on its own leg."""
    await browser.start("?call_id=C1&role=customer,agent")
    await browser.spoken()
    await browser.stop()
    legs = (await ended(calls)).legs
    assert pitch_hz(heard(legs["customer"]), 16_000) == pytest.approx(125, abs=2)
    assert pitch_hz(heard(legs["agent"]), 16_000) == pytest.approx(200, abs=4)


def pitch_hz(pcm: NDArray[np.int16], rate: int) -> float:
    """The spacing of the harmonics of the first half second that is loud."""
    loud = pcm[np.argmax(np.abs(pcm) > 4000) :][: rate // 2].astype(float)
    likeness = np.correlate(loud, loud, "full")[loud.size - 1 :]
    shortest = rate // 400
    return rate / (shortest + int(np.argmax(likeness[shortest : rate // 60])))
