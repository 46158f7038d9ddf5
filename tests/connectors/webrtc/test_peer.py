"""Real WebRTC over loopback: aiortc as the peer, fake calls behind the connector."""

import asyncio
import importlib
import inspect
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiortc
import numpy as np
import pytest
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket

from connectors.sdp.rtp_codec import RtpCodec
from connectors.webrtc.config import WebRtcConfig, WebRtcLimits
from connectors.webrtc.peer import WebRtcPeer, WebRtcTrack
from connectors.webrtc.whip import IceFragment, Offer, WebRtcUnavailable
from pipeline.call import CallInfo, LegOptions
from pipeline.g711 import decode_mulaw
from sinks.record import SpeakerRole
from tests.connectors.fakes import FakeCalls, FakeLeg
from tests.connectors.webrtc.browser import (
    SDP,
    Browser,
    Tone,
    ended,
    endpoint,
    heard,
    pitch_hz,
    speak_on_two_legs,
)
from tests.connectors.webrtc.offers import HOST, audio_line, fragment, offer


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
        await speak_on_two_legs(Browser(client, Tone(125), Tone(200)), calls)


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
    return Track(receiver, WebRtcTrack(receiver, [RtpCodec(0, "PCMU", 8000)], leg), leg)  # type: ignore[arg-type]


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
