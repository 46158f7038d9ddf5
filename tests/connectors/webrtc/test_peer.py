"""Real WebRTC over loopback: aiortc as the peer, fake calls behind the connector."""

import asyncio
import importlib
import inspect
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import aiortc
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtp import RtpPacket
from av import AudioFrame as AvFrame
from numpy.typing import NDArray

from connectors.sdp.codec import Codec
from connectors.webrtc.config import WebRtcConfig, WebRtcLimits
from connectors.webrtc.peer import WebRtcConnector, WebRtcPeer, WebRtcTrack
from connectors.webrtc.whip import IceFragment, Offer, WebRtcUnavailable
from pipeline.call import CallInfo, LegOptions
from pipeline.g711 import decode_mulaw
from sinks.record import SpeakerRole
from tests.connectors.codecs.speech import voice
from tests.connectors.fakes import FakeCall, FakeCalls, FakeLeg
from tests.connectors.webrtc.offers import HOST, audio_line, fragment, offer

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
    """A peer that speaks by WHIP."""

    def __init__(self, client: TestClient[Any, Any], *tracks: Tone, codec: str | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration([]))
        self.location, self.etag = "", ""
        self._client, self._tracks = client, tracks
        for track in tracks:
            transceiver = self.connection.addTransceiver(track, "sendonly")
            if codec is not None:
                capabilities = RTCRtpSender.getCapabilities("audio")
                assert capabilities is not None
                transceiver.setCodecPreferences([one for one in capabilities.codecs if one.mimeType == codec])

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


def pitch_hz(pcm: NDArray[np.int16], rate: int) -> float:
    """The spacing of the harmonics of the first half second that is loud."""
    loud = pcm[np.argmax(np.abs(pcm) > 4000) :][: rate // 2].astype(float)
    likeness = np.correlate(loud, loud, "full")[loud.size - 1 :]
    shortest = rate // 400
    return rate / (shortest + int(np.argmax(likeness[shortest : rate // 60])))


async def test_opus_becomes_16_khz_audio_and_delete_the_end() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone())
        await browser.start()
        await browser.spoken()
        await browser.stop()
        call = await ended(calls)
        leg = call.legs["agent"]
        assert {(frame.encoding, frame.sample_rate_hz) for frame in leg.frames} == {("L16", 16_000)}
        assert pitch_hz(heard(leg), 16_000) == pytest.approx(125, abs=2)
        assert np.abs(heard(leg)).max() > 8000
        assert call.log == ["START", "final agent", "END"]
        assert call.reason == "completed"
        assert leg.stats.packets >= 45
        assert leg.stats.lost == 0


async def test_pcmu_stays_in_its_codes() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(), codec="audio/PCMU")
        await browser.start()
        await browser.spoken()
        await browser.stop()
        leg = (await ended(calls)).legs["agent"]
        assert {(frame.encoding, frame.sample_rate_hz) for frame in leg.frames} == {("PCMU", 8_000)}
        assert pitch_hz(decode_mulaw(heard(leg).astype(np.uint8)), 8_000) == pytest.approx(125, abs=2)


async def test_two_tracks_are_two_legs_that_do_not_mix() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(125), Tone(200))
        await browser.start("?call_id=C1&role=customer,agent")
        await browser.spoken()
        await browser.stop()
        legs = (await ended(calls)).legs
        assert pitch_hz(heard(legs["customer"]), 16_000) == pytest.approx(125, abs=2)
        assert pitch_hz(heard(legs["agent"]), 16_000) == pytest.approx(200, abs=4)


async def test_candidates_may_come_later() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=0.2))
        await browser.start(trickle=True)
        await browser.spoken()
        await browser.stop()
        assert (await ended(calls)).legs["agent"].frames


async def test_a_peer_that_closes_ends_the_call() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=0.2))
        await browser.start()
        await browser.spoken()
        await browser.connection.close()
        call = await ended(calls)
        assert (call.reason, call.log[-1]) == ("disconnected", "END")


async def test_shutdown_ends_the_call_and_the_connection() -> None:
    browser = None
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=0.2))
        await browser.start()
        await browser.spoken()
    assert (await ended(calls)).reason == "shutdown"
    await browser.connection.close()


async def test_lost_packets_are_counted_bridged_and_reported() -> None:
    """Every tenth packet is dropped before it is sent. The audio has no gap, and the peer learns of the loss."""
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=2.6))
        (sender,) = browser.connection.getSenders()
        send, sent, dropped = sender.transport._send_rtp, 0, 0

        async def lossy(data: bytes) -> None:
            nonlocal sent, dropped
            if not 192 <= data[1] <= 223:
                sent += 1
                if sent % 10 == 5:
                    dropped += 1
                    return
            await send(data)

        sender.transport._send_rtp = lossy  # type: ignore[method-assign]
        await browser.start()
        await browser.spoken()
        reported = [one for one in (await sender.getStats()).values() if one.type == "remote-inbound-rtp"]
        await browser.stop()
        leg = (await ended(calls)).legs["agent"]
        assert dropped - 1 <= leg.stats.lost <= dropped
        assert leg.stats.packets + leg.stats.lost >= sent - 2
        assert heard(leg).size == pytest.approx(320 * sent, abs=960)
        assert [one.packetsLost > 0 for one in reported] == [True]


class Transport:
    async def _send_rtp(self, data: bytes) -> None: ...


@dataclass
class Track:
    """A track without a connection: `receiver` has what the connector put into it."""

    receiver: Any
    track: WebRtcTrack
    leg: FakeLeg

    async def receive(self, *sequence: int) -> None:
        """Packets of 20 ms of PCMU with these numbers."""
        for number in sequence:
            packet = RtpPacket(payload_type=0, sequence_number=number, timestamp=number * 160, ssrc=7)
            packet.payload = bytes([number]) * 160
            await self.receiver._handle_rtp_packet(packet, arrival_time_ms=0)

    @property
    def numbers(self) -> list[int]:
        """Of the packets that were heard."""
        return [int(frame.samples[-1]) for frame in self.leg.frames]


def bare_track() -> Track:
    leg = FakeCalls().start(CallInfo("C1", "webrtc")).add_leg(LegOptions("agent", SpeakerRole.AGENT, 0))
    receiver = SimpleNamespace(transport=Transport())
    return Track(receiver, WebRtcTrack(receiver, [Codec(0, "PCMU", 8000)], leg), leg)  # type: ignore[arg-type]


async def test_what_stands_behind_a_gap_is_heard_when_its_time_is_up() -> None:
    bare = bare_track()
    await bare.receive(1, 2, 4)
    assert bare.numbers == [1, 2]
    await asyncio.sleep(0.15)
    assert bare.numbers[:3] == [1, 2, 4]
    bare.track.finish()


async def test_what_still_waits_at_the_end_is_heard() -> None:
    bare = bare_track()
    await bare.receive(1, 2, 4)
    assert bare.track.finish().lost == 1
    await bare.receive(5)
    assert bare.numbers == [1, 2, 4]
    assert (bare.leg.stats.packets, bare.leg.stats.lost) == (3, 1)


async def test_candidates_of_a_fragment_reach_ice() -> None:
    peer = WebRtcPeer(WebRtcConfig())
    await peer.take_offer(Offer.parse(offer(audio_line()), ("OPUS",), WebRtcLimits()))
    await peer.add_candidates(IceFragment.parse(fragment(HOST, "a=end-of-candidates"), WebRtcLimits()))
    (transceiver,) = peer._connection.getTransceivers()
    assert [one.ip for one in transceiver.receiver.transport.transport.getRemoteCandidates()] == ["192.0.2.7"]
    await peer.close()


async def test_an_offer_that_aiortc_cannot_read_is_malformed() -> None:
    async with endpoint() as (client, calls):
        text = offer([*audio_line(), "a=extmap:x urn:ietf:params:rtp-hdrext:sdes:mid"])
        assert (await client.post("/whip", data=text, headers=SDP)).status == 400
        assert calls.history == []


async def test_the_answer_listens_only_and_asks_for_redundancy() -> None:
    async with endpoint() as (client, _):
        text = await (await client.post("/whip", data=offer(audio_line(direction="sendrecv")), headers=SDP)).text()
        assert "a=recvonly" in text
        assert "useinbandfec=1" in text
        assert "a=rtcp-mux-only" in text
        assert "a=candidate:" in text


def test_aiortc_is_as_we_know_it() -> None:
    """What the connector takes from aiortc and is no part of its interface."""
    assert aiortc.__version__ == "1.16.0"
    assert list(inspect.signature(RTCRtpReceiver._handle_rtp_packet).parameters) == [
        "self",
        "packet",
        "arrival_time_ms",
    ]
    assert list(inspect.signature(RTCRtpReceiver._handle_rtcp_packet).parameters) == ["self", "packet"]
    assert list(inspect.signature(aiortc.RTCDtlsTransport._send_rtp).parameters) == ["self", "data"]
    for name in ("_handle_rtp_packet", "_handle_rtcp_packet", "_send_rtp"):
        owner = aiortc.RTCDtlsTransport if name == "_send_rtp" else RTCRtpReceiver
        assert inspect.iscoroutinefunction(getattr(owner, name))


def test_without_aiortc_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    monkeypatch.delitem(sys.modules, "connectors.webrtc.peer")
    with pytest.raises(WebRtcUnavailable, match=r"trunkline\[webrtc\]"):
        importlib.import_module("connectors.webrtc.peer")
