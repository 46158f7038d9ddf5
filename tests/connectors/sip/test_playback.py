"""A telephone on real sockets is spoken to: RTP as it should be, nothing on hold, nothing after the end."""

import asyncio
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.rtp.packet import RtpPacket, is_rtcp
from pipeline import Call, NoWayBack
from pipeline.g711 import decode_mulaw
from tests.connectors.sip.stage import Phone, Stage, hang_up, phone_at, stage


def tone(seconds: float, rate_hz: int = 16_000) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * rate_hz)) * 2 * np.pi * 440 / rate_hz) * 10_000).astype(np.int16)


def packets(phone: Phone) -> list[RtpPacket]:
    return [RtpPacket.parse(data) for data in phone.heard if not is_rtcp(data)]


def running(server: Stage) -> Call:
    call = server.calls.get(server.call_records()[0].call_id)
    assert call is not None
    return call


async def test_the_caller_hears_it_in_numbered_packets_and_pauses_are_steps_in_time() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        call = running(server)
        assert (await call.play("caller", tone(0.5), 16_000).wait()).seconds == 0.5
        await asyncio.sleep(0.2)
        assert (await call.play("caller", tone(0.1), 16_000).wait()).seconds == 0.1
        await server.until(lambda: len(packets(phone)) == 30)
        await hang_up(phone, caller)
        heard = packets(phone)
        assert [one.marker for one in heard] == [True] + [False] * 24 + [True] + [False] * 4
        assert {one.payload_type for one in heard} == {0}
        steps = [(b.timestamp - a.timestamp) % 2**32 for a, b in itertools.pairwise(heard)]
        assert {step for index, step in enumerate(steps) if index != 24} == {160}
        assert steps[24] >= 160 + 8 * 180
        assert {(b.sequence - a.sequence) % 2**16 for a, b in itertools.pairwise(heard)} == {1}
        pcm = decode_mulaw(np.frombuffer(b"".join(one.payload for one in heard[:25]), np.uint8)).astype(int)
        assert np.abs(pcm - tone(0.5, 8_000))[50:-50].max() < 600


async def test_stop_is_the_last_packet_and_what_was_heard_is_what_was_sent() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        call = running(server)
        said = call.play("caller", tone(20), 16_000)
        await server.until(lambda: len(packets(phone)) >= 20)
        (heard,) = call.stop("caller")
        await asyncio.sleep(0.2)
        assert len(packets(phone)) * 0.02 == pytest.approx(heard.seconds)
        assert said.heard() == heard
        await hang_up(phone, caller)


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_nothing_is_sent_on_hold_and_the_rest_follows(direction: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        said = running(server).play("caller", tone(0.6), 16_000)
        await server.until(lambda: len(packets(phone)) >= 5)
        await phone.call(caller, phone.offer(direction))
        before = len(packets(phone))
        await asyncio.sleep(0.3)
        assert len(packets(phone)) <= before + 1
        assert not said.heard().finished
        await phone.call(caller, phone.offer())
        assert (await asyncio.wait_for(said.wait(), 10)).seconds == 0.6
        await server.until(lambda: len(packets(phone)) == 30)
        assert [one.marker for one in packets(phone)].count(True) == 2
        await hang_up(phone, caller)


async def test_nothing_is_sent_after_the_end_of_the_call() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        said = running(server).play("caller", tone(20), 16_000)
        await server.until(lambda: len(packets(phone)) >= 5)
        await hang_up(phone, caller)
        heard = await asyncio.wait_for(said.wait(), 10)
        count = len(packets(phone))
        await asyncio.sleep(0.1)
        assert heard.interrupted
        assert len(packets(phone)) == count
        assert heard.seconds == pytest.approx(count * 0.02)


async def test_a_peer_that_never_listens_has_no_way_back() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller, phone.offer("sendonly"))
        with pytest.raises(NoWayBack, match="leg caller"):
            running(server).play("caller", tone(1), 16_000)
        await phone.call(caller, phone.offer())
        assert (await running(server).play("caller", tone(0.02), 16_000).wait()).seconds == 0.02
        await hang_up(phone, caller)


async def test_a_dialog_that_takes_the_call_over_is_spoken_to_from_then_on() -> None:
    async with stage() as server, phone_at(server) as first, phone_at(server) as second:
        caller, successor = first.caller(), second.caller()
        await first.call(caller)
        said = running(server).play("caller", tone(1.0), 16_000)
        await server.until(lambda: len(packets(first)) >= 10)
        replaces = f"{caller.call_id};to-tag={caller.to_tag};from-tag={caller.tag}"
        await second.call(successor, Replaces=replaces)
        heard = await asyncio.wait_for(said.wait(), 10)
        assert heard.seconds == 1.0
        await server.until(lambda: len(packets(first)) + len(packets(second)) >= 50)
        assert len(packets(second)) >= 20
        await hang_up(second, successor)
