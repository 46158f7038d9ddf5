"""A recorded call through rtpengine, which hands both parties' audio to a recording client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.sdp.description import parse
from pipeline.g711 import decode_mulaw
from sinks.record import CallAction, SpeakerRole
from tests.connectors.sip.peers import Caller
from tests.connectors.sip.stage import Phone, Stage, stage
from tests.services.rtpengine import RtpEngine
from trunkline.demo.script import load_audio
from trunkline.loadtest.bodies import Body, Participant, metadata, recording

CALLER, CALLEE = Participant("Carla", "sip:+15550100@example.com"), Participant("Alex", "sip:4711@agents.example")
SECONDS = 1.5
PACKETS = round(SECONDS * 50)
PACKET = 160


@asynccontextmanager
async def phones(server: Stage, count: int) -> AsyncIterator[list[Phone]]:
    opened = [await Phone.open(server.address) for _ in range(count)]
    try:
        yield opened
    finally:
        for phone in opened:
            phone.close()


def said(party: int, start_s: float) -> NDArray[np.uint8]:
    """Mu-law of the caller (0) or the called party (1) of the bundled call."""
    first = round(start_s * 8_000)
    return load_audio()[party][first : first + PACKETS * PACKET]


async def speak(phone: Phone, port: int, codes: NDArray[np.uint8]) -> None:
    """In real time: rtpengine and the jitter buffer go by the clock."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for at in range(0, codes.size, PACKET):
        phone.say(port, codes[at : at + PACKET].tobytes())
        due += 0.02
        await asyncio.sleep(max(due - loop.time(), 0))


def likeness(heard: NDArray[np.float32], codes: NDArray[np.uint8]) -> float:
    """How much of what was heard at 16 kHz is what was said, at the shift where they fit best: 1 for all of it."""
    sent = decode_mulaw(codes).astype(np.float64)
    best = 0.0
    for phase in (heard[0::2], heard[1::2]):
        size = sent.size + phase.size
        product = np.fft.irfft(np.fft.rfft(phase, size) * np.conj(np.fft.rfft(sent, size)), size)
        best = max(best, float(product.max() / np.linalg.norm(phase) / np.linalg.norm(sent)))
    return best


def connect(rtpengine: RtpEngine, call_id: str, caller: Phone, callee: Phone) -> tuple[int, int]:
    """A call of tags `a` and `b` through rtpengine: the ports that they send to."""
    names = {"call_id": call_id, "from_tag": "a"}
    offer = rtpengine.ask("offer", **names, sdp=caller.offer().decode())
    answer = rtpengine.ask("answer", **names, to_tag="b", sdp=callee.offer().decode())
    return parse(answer["sdp"]).audio[0][1].port, parse(offer["sdp"]).audio[0][1].port


async def record(rtpengine: RtpEngine, call_id: str, protocol: str, phone: Phone) -> tuple[Caller, str, str]:
    """Have the call recorded: the dialog with the server, and the labels of the two parties' streams."""
    fork = rtpengine.ask("subscribe request", call_id=call_id, flags=["all", "siprec"], transport_protocol=protocol)
    labels = {entry["tag"]: label for label, entry in fork["media-labels"].items()}
    document = metadata(call_id, [CALLER, CALLEE], [labels["a"], labels["b"]], "2026-11-25T12:00:00Z")
    body = recording(Body("application/sdp", fork["sdp"].encode()), document, "parts")
    dialog = phone.caller()
    invite = dialog.request("INVITE", body.content, content_type=body.content_type, Require="siprec")
    ok = await phone.ask(invite)
    assert ok.status == 200
    dialog.learn(ok)
    phone.put(dialog.ack(invite))
    lines = [line for _, line in parse(ok.body).audio]
    assert {(line.label, line.protocol) for line in lines} == {(label, protocol) for label in labels.values()}
    rtpengine.ask("subscribe answer", call_id=call_id, to_tag=fork["to-tag"], sdp=ok.body.decode())
    return dialog, labels["a"], labels["b"]


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/SAVP"])
async def test_each_leg_of_a_forked_call_has_the_audio_of_its_party(rtpengine: RtpEngine, protocol: str) -> None:
    call_id = f"forked-{protocol}"
    carla, alex = said(0, 3.0), said(1, 10.4)
    async with stage() as server, phones(server, 3) as (caller, callee, recorder):
        ports = connect(rtpengine, call_id, caller, callee)
        dialog, *labels = await record(rtpengine, call_id, protocol, recorder)
        await asyncio.gather(speak(caller, ports[0], carla), speak(callee, ports[1], alex))
        endpoints = server.connector.endpoints(dialog.call_id)
        await server.until(lambda: sum(one.stats.received for one in endpoints) == 2 * PACKETS)
        assert (await recorder.ask(dialog.request("BYE"))).status == 200
        (end,) = await server.ended()
        rtpengine.ask("delete", call_id=call_id)
        assert (end.reason, end.connector, end.from_, end.to) == ("completed", "siprec", "+15550100", "4711")
        assert server.actions().count(CallAction.START) == 1
        assert end.statistics is not None
        assert (end.statistics.packets, end.statistics.lost) == (2 * PACKETS, 0)
        roles = {leg.leg: leg.speaker_role for leg in end.legs}
        assert roles == dict(zip(labels, (SpeakerRole.CUSTOMER, SpeakerRole.AGENT), strict=True))
        heard = {leg.leg: one.audio() for leg, one in zip(end.legs, server.recognizer.running, strict=True)}
        for label, own, other in ((labels[0], carla, alex), (labels[1], alex, carla)):
            assert likeness(heard[label], own) > 0.99
            assert likeness(heard[label], other) < 0.3
        assert len(callee.heard) >= PACKETS  # the call itself is not disturbed by its recording
