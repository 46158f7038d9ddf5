"""Hold and resume of calls on loopback: when it is told, and what is heard meanwhile."""

import asyncio
import itertools

import pytest

from connectors.rtp.config import RtpConfig
from connectors.sdp.description import parse
from sinks.record import CallAction, SpeakerRole
from tests.connectors.sip.stage import END, HOLD, RESUME, START, changed, hang_up, phone_at, stage
from tests.pipeline.scripted import script, words


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
async def test_hold_and_resume(how: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        offer = phone.offer(address=how) if how == "0.0.0.0" else phone.offer(how)
        held = await phone.call(caller, offer)
        assert not held.audio[0][1].direction.sends
        assert server.actions() == [START, HOLD]
        heard = server.recognizer.running[0]
        await phone.talk(port, 0.3)
        assert heard.pushed == 0
        resumed = await phone.call(caller, phone.offer())
        assert resumed.audio[0][1].port == port
        assert server.actions() == [START, HOLD, RESUME]
        await phone.talk(port, 0.5)
        await server.until(lambda: heard.pushed > 0)
        await hang_up(phone, caller)
        await server.ended()


async def test_peer_that_only_ever_sends_is_not_on_hold() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller, phone.offer("sendonly"))).audio[0][1].port
        await phone.talk(port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)
        assert HOLD not in server.actions()
        await phone.call(caller, phone.offer("inactive"))
        assert server.actions()[-1] is HOLD


SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL = "sendrecv", "sendonly", "recvonly", "inactive", "0.0.0.0"
ON_HOLD = {SENDRECV: False, RECVONLY: True, INACTIVE: True, NULL: True}
"""Whether a peer that offers this is on hold. One that offers `sendonly` is where it has listened before."""

LISTENS = {SENDRECV, RECVONLY}


@pytest.mark.parametrize("first", [SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL])
async def test_hold_is_told_over_all_changes_of_direction(first: str) -> None:
    """Three offers of one call; RFC 3264, section 8.4."""
    async with stage() as server, phone_at(server) as phone:
        for second, third in itertools.product([SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL], repeat=2):
            caller, offers = phone.caller(), (first, second, third)
            expected, was_held = [START], False
            for number, offer in enumerate(offers):
                listened = not LISTENS.isdisjoint(offers[:number])
                held = listened if offer == SENDONLY else ON_HOLD[offer]
                expected += [HOLD if held else RESUME] if held is not was_held else []
                was_held = held
                await phone.call(caller, phone.offer(address=NULL) if offer == NULL else phone.offer(offer))
            actions = [one.action for one in server.call_records() if one.call_id == caller.call_id]
            assert actions == expected, offers
            await hang_up(phone, caller)


async def test_music_of_a_peer_that_listened_and_then_only_sends_is_not_heard() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller, phone.offer("inactive"))).audio[0][1].port
        await phone.call(caller, phone.offer("sendrecv"))
        await phone.call(caller, phone.offer("sendonly"))
        assert server.actions() == [START, HOLD, RESUME, HOLD]
        await phone.talk(port, 0.3)
        assert server.recognizer.running[0].pushed == 0


async def test_call_on_hold_stays_on_hold_over_a_reinvite_without_offer_and_answer() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.call(caller, phone.offer("sendonly"))
        invite = caller.request("INVITE")
        await phone.ask(invite)
        phone.put(caller.ack(invite))
        await phone.talk(port, 0.3)
        assert server.recognizer.running[0].pushed == 0
        assert server.actions() == [START, HOLD]


async def test_call_on_hold_needs_no_media() -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.2))
    async with stage(config) as server, phone_at(server) as phone:
        await phone.call(phone.caller(), phone.offer("inactive"))
        await asyncio.sleep(2.5)
        assert server.actions() == [START, HOLD]


@pytest.mark.parametrize("held", ["inactive", "sendonly"])
async def test_call_on_hold_is_resumed_by_the_answer_to_a_reinvite_without_an_offer(held: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        told = [START]
        for direction, action in ((held, HOLD), ("sendrecv", RESUME)):
            told.append(action)
            invite = caller.request("INVITE")
            answer = await phone.ask(invite)
            assert [line.direction.value for _, line in parse(answer.body).audio] == ["sendrecv"]
            plain = phone.offer(direction).replace(b"a=sendrecv\r\n", b"")
            phone.put(caller.ack(invite, plain))
            await server.until(lambda: len(server.actions()) == len(told))
            assert server.actions() == told
        await hang_up(phone, caller)
        await server.ended()


@pytest.mark.parametrize("how", ["port 0", "no line"])
async def test_call_whose_only_line_is_taken_away_is_on_hold_until_it_is_back(how: str) -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.3))
    said = script(words("first words")), script(words("second words"))
    async with stage(config, *said) as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.talk(port, seconds=1.6)
        head = phone.offer().partition(b"m=audio")[0]
        gone = caller.request("INVITE", head if how == "no line" else head + b"m=audio 0 RTP/AVP 0\r\n")
        assert (await phone.ask(gone)).status == 200
        phone.put(caller.ack(gone))
        await asyncio.sleep(2.5)
        back = caller.request("INVITE", phone.offer())
        answer = await phone.ask(back)
        phone.put(caller.ack(back))
        await phone.talk(parse(answer.body).audio[0][1].port, seconds=1.6)
        await hang_up(phone, caller)
        await server.ended()
        assert [one for one in server.actions() if one is not CallAction.UPDATE] == [START, HOLD, RESUME, END]
        assert [one.transcript for one in server.finals()] == ["first words", "second words"]
        assert {one.speaker_role for one in server.finals()} == {SpeakerRole.CUSTOMER}
