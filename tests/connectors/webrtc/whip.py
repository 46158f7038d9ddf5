"""A WHIP endpoint with calls and peers that only pretend."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from connectors.calls import LegHandle
from connectors.rtp.quality import RtpStats
from connectors.webrtc import sessions as whip_sessions
from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.http import WhipServer
from connectors.webrtc.sessions import WhipSessions
from connectors.webrtc.whip import IceFragment, Offer, WhipRefused
from tests.connectors.fakes import FakeCall, FakeCalls
from tests.connectors.webrtc.offers import audio_line, offer

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


class FakePeer:
    """Answers every offer with itself."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self.arrived = 0.0
        self.offer: Offer | None = None
        self.legs: list[LegHandle] = []
        self.fragments: list[IceFragment] = []
        self.reports = 0
        self.closed = False
        self.fault: Exception | None = None
        self.asked, self.answering, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.answering.set()

    async def take_offer(self, offer: Offer) -> None:
        self.offer = offer
        if "refuse me" in offer.text:
            raise WhipRefused(400, "refused")

    async def answer(self, legs: Sequence[LegHandle]) -> str:
        self.asked.set()
        await self.answering.wait()
        if self.fault is not None:
            raise self.fault
        assert self.offer is not None
        self.legs = list(legs)
        return self.offer.text

    async def add_candidates(self, fragment: IceFragment) -> None:
        self.fragments.append(fragment)

    def report(self) -> None:
        self.reports += 1

    def finish(self) -> Sequence[RtpStats]:
        return [RtpStats(received=100, lost=2, late=1, duplicate=3) for _ in self.legs]

    async def close(self) -> None:
        self.closed = True
        self.gone.set()


@dataclass
class Whip:
    client: TestClient[Any, Any]
    sessions: WhipSessions
    calls: FakeCalls
    peers: list[FakePeer] = field(default_factory=list)

    async def post(self, query: str = "", *lines: list[str], **headers: str) -> ClientResponse:
        return await self.client.post(f"/whip{query}", data=offer(*(lines or (audio_line(),))), headers=SDP | headers)

    async def patch(self, location: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.patch(location, data=text, headers=FRAGMENT | headers)

    async def delete(self, location: str) -> None:
        """Ends a session and waits for its last words."""
        assert (await self.client.delete(location)).status == 200
        await asyncio.gather(*self.sessions._endings)

    def call(self, call_id: str) -> FakeCall:
        return next(call for call in self.calls.history if call.info.call_id == call_id)


Serve = Callable[..., Awaitable[Whip]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`serve(config)`: an endpoint with fake peers and calls, until the test ends."""
    monkeypatch.setattr(whip_sessions, "CHECK_S", 0.01)
    running: list[Whip] = []

    async def start(config: WebRtcConfig | None = None, peer: Callable[[], FakePeer] = FakePeer) -> Whip:
        calls, config = FakeCalls(), config or WebRtcConfig()
        peers: list[FakePeer] = []

        def make_peer() -> FakePeer:
            peers.append(peer())
            return peers[-1]

        sessions = WhipSessions(calls, config, make_peer)
        app = web.Application()
        app.add_routes(WhipServer(sessions, config).routes())
        client: TestClient[Any, Any] = TestClient(TestServer(app))
        await client.start_server()
        running.append(Whip(client, sessions, calls, peers))
        return running[-1]

    yield start
    for whip in running:
        await whip.sessions.close()
        await whip.client.close()
        assert whip.calls.sessions == 0
        assert whip.sessions.stats.active == whip.sessions.stats.pending == 0
        assert all(peer.closed for peer in whip.peers)


async def raw(whip: Whip, head: bytes, body: bytes = b"") -> bytes:
    """The status line for what no client library sends."""
    reader, writer = await asyncio.open_connection(whip.client.host, whip.client.port)
    writer.write(b"POST /whip HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n" + body)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    return line
