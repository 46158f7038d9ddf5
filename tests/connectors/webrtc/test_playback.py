"""A browser is spoken to: by aiortc as the peer, and by a real Chromium."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page

from connectors.webrtc.whip import sent_codecs
from pipeline.playback import LegPlayer, Pacer, PlaybackStats
from tests.connectors.fakes import FakeCalls, FakeLeg
from tests.connectors.webrtc.browser import Browser, Tone, ended, endpoint
from tests.connectors.webrtc.offers import audio_line, offer
from tests.liveview.browser import chromium

SPEAK = """async (url) => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const peer = window.peer = new RTCPeerConnection();
    peer.addTransceiver(stream.getTracks()[0], { direction: "sendrecv" });
    peer.ontrack = ({ track }) => {
        const audio = window.audio = new Audio();  // Chromium decodes a remote track only where an element plays it
        audio.srcObject = new MediaStream([track]);
        audio.play();
        const context = new AudioContext();
        window.analyser = context.createAnalyser();
        analyser.fftSize = 4096;
        context.createMediaStreamSource(audio.srcObject).connect(analyser);
        window.rate = context.sampleRate;
    };
    await peer.setLocalDescription();
    const answer = await fetch(url, { method: "POST", body: peer.localDescription.sdp,
                                      headers: { "Content-Type": "application/sdp" } });
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}"""

LOUDEST = """() => {
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    let best = 0;
    bins.forEach((level, index) => { if (level > bins[best]) best = index; });
    return bins[best] > -40 ? best * rate / analyser.fftSize : 0;
}"""

INBOUND = """async () => [...(await peer.getStats()).values()].find(one => one.type === "inbound-rtp")"""


def tone(seconds: float, hz: int = 880) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * 16_000)) * 2 * np.pi * hz / 16_000) * 12_000).astype(np.int16)


def player_of(leg: FakeLeg) -> LegPlayer:
    player = LegPlayer("leg", Pacer(), PlaybackStats(), lambda name, until: None)
    player.connect(leg.outlet)
    return player


async def leg_of(calls: FakeCalls) -> FakeLeg:
    async with asyncio.timeout(10):
        while not calls.history or not any(leg.frames for leg in calls.history[0].legs.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return next(iter(calls.history[0].legs.values()))


@pytest.mark.parametrize("codec", ["audio/opus", "audio/PCMU"])
async def test_a_peer_that_asks_for_audio_hears_what_is_said(codec: str) -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=2.5), codec=codec, listens=True)
        await browser.start("?call_id=C1&listen=1")
        listening = asyncio.create_task(browser.listen())
        player = player_of(await leg_of(calls))
        said = player.speak(16_000)
        said.put(tone(1.0))
        said.close()
        heard = await asyncio.wait_for(said.wait(), 10)
        assert (heard.seconds, heard.interrupted) == (1.0, False)
        await browser.spoken()
        await browser.stop()
        await ended(calls)
        await listening
        pcm = np.concatenate(browser.heard).astype(float)
        loud = np.flatnonzero(np.abs(pcm) > 4_000)
        rate = 48_000 if codec == "audio/opus" else 8_000
        assert loud[-1] - loud[0] >= 0.8 * rate
        middle = pcm[loud[0] :][rate // 4 : 3 * rate // 4]
        assert abs(int(np.abs(np.fft.rfft(middle)).argmax()) * 2 - 880) <= 4


@pytest.mark.parametrize(("query", "listens"), [("?call_id=C1", True), ("?call_id=C1&listen=1", False)])
async def test_a_peer_that_does_not_ask_for_audio_or_takes_none_has_no_way_back(query: str, listens: bool) -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=0.2), listens=listens)
        await browser.start(query)
        assert (await leg_of(calls)).outlet is None
        await browser.stop()


async def test_nothing_is_said_before_there_is_a_connection_and_after_its_end() -> None:
    async with endpoint() as (client, calls):
        browser = Browser(client, Tone(seconds=0.3), listens=True)
        await browser.start("?call_id=C1&listen=1")
        leg = next(iter(calls.history[0].legs.values()))
        said = player_of(leg).speak(16_000)
        said.put(tone(5))
        assert said.heard().seconds == 0
        await leg_of(calls)
        await browser.spoken()
        await browser.stop()
        await ended(calls)
        assert leg.outlet is not None
        assert not leg.outlet.ready
        assert 0 < said.heard().seconds < 4


def test_what_is_sent_has_the_number_and_the_wishes_of_the_peer() -> None:
    theirs = offer(audio_line(direction="sendrecv"))
    sent = sent_codecs(theirs, theirs.replace("a=sendrecv", "a=recvonly"))
    assert sent == [None]
    (codec,) = sent_codecs(theirs, theirs)
    assert codec is not None
    assert codec.name == "OPUS"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    arguments = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with chromium(*arguments, "--autoplay-policy=no-user-gesture-required") as browser:
        yield await browser.new_page()


async def test_chromium_hears_what_is_said_and_stop_is_silence(page: Page) -> None:
    async with endpoint() as (client, calls):
        await page.goto(str(client.make_url("/no-page")))  # an origin of its own is all that is needed
        await page.evaluate(SPEAK, "/whip?call_id=C1&listen=1")
        leg = await leg_of(calls)
        said = player_of(leg).speak(16_000)
        said.put(tone(20))
        loudest = await page.wait_for_function(LOUDEST, timeout=15_000)
        assert await loudest.json_value() == pytest.approx(880, abs=30)
        async with asyncio.timeout(15):
            while said.heard().seconds < 2:  # noqa: ASYNC110 - it is only known when it is asked for
                await asyncio.sleep(0.05)
        heard = said.stop()
        await page.wait_for_function(f"() => !({LOUDEST})()", timeout=15_000)
        inbound = await page.evaluate(INBOUND)
        assert inbound["packetsReceived"] == pytest.approx(heard.seconds * 50, abs=2)
        assert inbound["packetsLost"] == 0
        await page.evaluate("peer.close()")
