"""Sessions of WHIP and their calls, with peers that only pretend: how they begin, share a call and end."""

import asyncio

import pytest

from connectors.webrtc.config import WebRtcConfig, WebRtcLimits
from pipeline.call import CallInfo
from tests.connectors.webrtc.offers import audio_line, fragment
from tests.connectors.webrtc.whip import FRAGMENT, FakePeer, Serve


async def test_an_offer_becomes_a_session_with_address_tag_and_answer(serve: Serve) -> None:
    whip = await serve()
    answer = await whip.post("?call_id=C1&from=%2B1555&queue=billing")
    assert answer.status == 201
    assert answer.content_type == "application/sdp"
    assert answer.headers["Location"].startswith("/whip/")
    assert len(answer.headers["Location"]) > 30
    assert answer.headers["ETag"].strip('"')
    assert "a=rtcp-mux-only" in await answer.text()
    call = whip.call("C1")
    assert (call.info.connector, call.info.from_, call.metadata) == ("webrtc", "+1555", {"queue": "billing"})
    assert [(leg.options.leg, leg.options.role) for leg in call.legs.values()] == [("agent", "agent")]


async def test_delete_ends_the_call_with_its_last_words(serve: Serve) -> None:
    whip = await serve()
    whip.calls.flush_s = 0.05
    location = (await whip.post("?call_id=C1")).headers["Location"]
    assert (await whip.client.delete(location, headers={"If-Match": '"another"'})).status == 200
    assert whip.call("C1").log == ["START"]
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").log == ["START", "final agent", "END"]
    assert whip.call("C1").reason == "completed"
    stats = whip.sessions.stats
    assert (stats.packets, stats.lost, stats.late, stats.duplicates) == (100, 2, 1, 3)
    assert stats.ended == {"completed": 1}
    for method in ("DELETE", "PATCH", "GET"):
        answer = await whip.client.request(method, location, headers=FRAGMENT, data=fragment())
        assert answer.status == 404


async def test_each_track_is_a_leg_of_its_own(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&role=customer,agent", audio_line(), audio_line(1), audio_line(2))
    legs = whip.call("C1").legs
    assert {name: str(leg.options.role) for name, leg in legs.items()} == {
        "customer": "customer",
        "agent": "agent",
        "agent-2": "agent",
    }
    assert [leg.options.channel_index for leg in legs.values()] == [0, 1, 2]


async def test_sessions_of_one_call_share_it_until_the_last_leaves(serve: Serve) -> None:
    whip = await serve()
    first = (await whip.post("?call_id=C1")).headers["Location"]
    second = (await whip.post("?call_id=C1&role=customer&queue=a")).headers["Location"]
    call = whip.call("C1")
    assert list(call.legs) == ["agent", "customer"]
    assert call.metadata == {"queue": "a"}
    await whip.delete(first)
    assert call.log == ["START", "final agent"]
    third = (await whip.post("?call_id=C1")).headers["Location"]
    assert not call.legs["agent"].closed
    await whip.delete(second)
    await whip.delete(third)
    assert call.log == ["START", "final agent", "final customer", "final agent", "END"]
    assert (await whip.post("?call_id=C1")).status == 201
    assert len(whip.calls.history) == 2


async def test_a_leg_that_is_there_already_is_a_conflict(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&leg=mic")
    assert (await whip.post("?call_id=C1&leg=mic")).status == 409
    assert not whip.call("C1").ended
    assert whip.sessions.stats.refused == 1


async def test_a_call_of_another_connector_is_a_conflict(serve: Serve) -> None:
    whip = await serve()
    other = whip.calls.start(CallInfo("C1", "sip"))
    assert (await whip.post("?call_id=C1")).status == 409
    await other.end("done")


async def test_while_a_call_has_its_last_words_nobody_joins_it(serve: Serve) -> None:
    whip = await serve()
    whip.calls.flush_s = 0.1
    location = (await whip.post("?call_id=C1")).headers["Location"]
    await whip.client.delete(location)
    answer = await whip.post("?call_id=C1")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    await asyncio.gather(*whip.sessions._endings)
    assert (await whip.post("?call_id=C1")).status == 201


async def test_an_unknown_language_becomes_the_default(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&language=xx-XX")
    assert whip.call("C1").legs["agent"].options.language is None
    assert whip.sessions.stats.unknown_languages == 1


@pytest.mark.parametrize("full", ["sessions", "engine", "draining"])
async def test_without_room_the_peer_is_told_when_to_come_again(serve: Serve, full: str) -> None:
    whip = await serve(WebRtcConfig(limits=WebRtcLimits(max_sessions=1, retry_after_s=7)))
    if full == "sessions":
        await whip.post()
    elif full == "engine":
        whip.calls.max_sessions = 0
    else:
        whip.calls.draining = True
    answer = await whip.post()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert whip.sessions.stats.crowded + whip.sessions.stats.turned_away == 1


async def test_a_session_that_only_partly_fits_is_refused_whole(serve: Serve) -> None:
    whip = await serve()
    whip.calls.max_sessions = 1
    assert (await whip.post("?call_id=C1", audio_line(), audio_line(1))).status == 503
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").log == ["final agent"]


async def test_an_offer_that_the_peer_refuses_starts_no_call(serve: Serve) -> None:
    whip = await serve()
    assert (await whip.post("", [*audio_line(), "a=x-note:refuse me"])).status == 400
    assert whip.calls.history == []


async def test_a_fault_in_the_answer_ends_the_call(serve: Serve) -> None:
    class Broken(FakePeer):
        def __init__(self) -> None:
            super().__init__()
            self.fault = OSError("no port")

    whip = await serve(peer=Broken)
    assert (await whip.post("?call_id=C1")).status == 500
    assert whip.call("C1").reason == "failed"


async def test_shutdown_during_the_answer_leaves_nothing(serve: Serve) -> None:
    peer = FakePeer()
    peer.answering.clear()
    whip = await serve(peer=lambda: peer)
    posting = asyncio.create_task(whip.post("?call_id=C1"))
    await peer.asked.wait()
    await whip.sessions.close()
    peer.answering.set()
    assert (await posting).status == 503
    assert whip.call("C1").reason == "shutdown"
    assert (await whip.post()).status == 503


async def test_a_peer_that_is_lost_ends_its_call(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1")
    whip.peers[0].lost = "disconnected"
    await asyncio.wait_for(whip.call("C1").over.wait(), 2)
    assert whip.call("C1").reason == "disconnected"
    assert whip.peers[0].reports > 0


@pytest.mark.parametrize(("arrived", "reason"), [(0.0, "no audio"), (1e-9, "audio stopped")])
async def test_a_peer_that_says_nothing_is_not_waited_for(serve: Serve, arrived: float, reason: str) -> None:
    whip = await serve(WebRtcConfig(limits=WebRtcLimits(setup_timeout_s=0.05, idle_timeout_s=0.05)))
    await whip.post("?call_id=C1")
    whip.peers[0].arrived = arrived
    await asyncio.wait_for(whip.call("C1").over.wait(), 2)
    assert whip.call("C1").reason == reason


async def test_a_call_that_others_end_ends_the_session(serve: Serve) -> None:
    whip = await serve()
    location = (await whip.post("?call_id=C1")).headers["Location"]
    await whip.call("C1").end("longest duration reached")
    await asyncio.wait_for(whip.peers[0].gone.wait(), 2)
    assert (await whip.client.get(location)).status == 404
    assert whip.sessions.stats.ended == {"ended": 1}


async def test_shutdown_ends_all_sessions_with_their_last_words(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1")
    await whip.post("?call_id=C2")
    await whip.sessions.close()
    assert [call.log[-1] for call in whip.calls.history] == ["END", "END"]
    assert {call.reason for call in whip.calls.history} == {"shutdown"}


# The engine's word ---------------------------------------------------------------------------------------------------


async def test_a_session_is_answered_once_the_engine_takes_its_legs(serve: Serve) -> None:
    whip = await serve()
    whip.calls.answered.clear()
    asked = asyncio.create_task(whip.post("?call_id=C1", audio_line(), audio_line(1)))
    async with asyncio.timeout(5):
        while not whip.calls.history or len(whip.calls.history[0].legs) < 2:  # noqa: ASYNC110 - a fake has no event
            await asyncio.sleep(0.005)
    assert not whip.peers[0].asked.is_set()
    assert whip.call("C1").log == []
    whip.calls.answered.set()
    assert (await asked).status == 201
    assert whip.call("C1").log == ["START"]


@pytest.mark.parametrize("refused", [{"agent"}, {"agent-2"}])
async def test_a_session_of_which_the_engine_refuses_a_leg_is_refused_whole(serve: Serve, refused: set[str]) -> None:
    whip = await serve()
    whip.calls.refused = refused
    answer = await whip.post("?call_id=C1", audio_line(), audio_line(1))
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").ended
    assert "START" not in whip.call("C1").log
    assert whip.sessions.stats.turned_away == 1
    whip.calls.refused = set()
    assert (await whip.post("?call_id=C1")).status == 201


async def test_a_session_that_joins_and_is_refused_by_the_engine_leaves_the_call_to_the_first(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&role=agent")
    whip.calls.refused = {"customer"}
    assert (await whip.post("?call_id=C1&role=customer")).status == 503
    assert not whip.call("C1").ended
