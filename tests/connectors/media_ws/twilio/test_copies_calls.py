"""Calls of servers and bots that copy Twilio's protocol: in lanes and through the driver."""

import json

import pytest

from tests.connectors.conftest import Serve
from tests.connectors.media_ws.lines import BOTH, compared, opening, stream
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.connectors.media_ws.twilio.copies import IN, TELNYX_START, counted, telnyx


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("timestamp", [0, 2_000])
async def test_lanes_hear_what_begins_anew_as_message_by_message(
    tracks: tuple[str, ...], timestamp: int, seed: int | None
) -> None:
    messages = opening(tracks) + stream(100, tracks) + stream(100, tracks, timestamp=timestamp)
    again = opening(tracks) + stream(60, tracks) + opening(tracks)[1:] + stream(60, tracks)
    for line in await compared([messages, again], seed):
        stats = line.core.stats
        assert sum(track.packets for track in stats.tracks.values()) in (200, 120)
        assert sum(track.duplicates for track in stats.tracks.values()) == 0
        if seed is None:
            assert line.core.runs >= 2


async def test_lanes_hear_copies_as_message_by_message() -> None:
    whole = stream(80)
    numbers = [json.dumps(one | {"sequenceNumber": int(one["sequenceNumber"])}) for one in map(json.loads, whole)]
    lacking = []
    for index, text in enumerate(whole):
        fields = json.loads(text)
        if index % 7 == 3:
            del fields["media"]["timestamp"]
        if index % 11 == 5:
            del fields["sequenceNumber"]
        lacking.append(json.dumps(fields))
    for line in await compared([opening() + numbers, opening() + lacking, opening() + whole]):
        assert line.core.stats.tracks[IN].packets == 80
        assert line.core.stats.tracks[IN].filled_samples == 0


async def test_a_track_that_is_not_announced_becomes_a_leg_of_its_own(serve: Serve) -> None:
    server = await serve()
    ws = await server.connect()
    for message in (TELNYX_START, *telnyx(100, BOTH)):
        await ws.send_str(json.dumps(message))
    call = await running(server, TELNYX_START["start"]["call_control_id"], legs=2)  # type: ignore[index]
    await until(lambda: sum(leg.codes.size for leg in call.legs.values()) == 100 * 160)
    assert call.legs["outbound"].codes[::160].tolist() == list(range(2, 101, 2))
    assert call.legs["outbound"].options.role == "agent"
    assert (call.info.from_, call.info.to) == ("+15550100", "+15550111")
    await ws.send_str('{"event":"stop"}')
    assert await close_code(ws) == 1000
    await call.over.wait()
    assert (call.reason, server.connector.stats.malformed) == ("completed", 0)


async def test_a_track_that_the_engine_has_no_room_for_ends_its_call_with_the_reason_and_no_other(serve: Serve) -> None:
    server = await serve()
    server.calls.max_sessions = 2
    other = await begin(server, ("inbound",), call="CAother", stream="MZother")
    other_call = await running(server, "CAother", legs=1)
    ws = await server.connect()
    for message in (TELNYX_START, *telnyx(2, BOTH)):
        await ws.send_str(json.dumps(message))
    assert await close_code(ws) == 1013
    await until(lambda: len(server.calls.running) == 1)
    assert server.calls.history[-1].reason == "no room for this call, try again later"
    assert not other_call.ended
    await other.close()


async def test_a_copys_call_is_heard_to_its_end_told_once_and_counted(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",), parameters={"vip": 1})
    for turn in range(2):
        for message in counted(20, 1 + 50 * turn):
            await ws.send_str(json.dumps(message))
    call = await running(server, legs=1)
    await until(lambda: call.legs["inbound"].codes.size == 40 * 160)
    assert call.metadata == {"vip": "1"}
    await ws.send_str('{"event":"stop"}')
    assert await close_code(ws) == 1000
    await call.over.wait()
    assert call.reason == "completed"
    stats = server.connector.stats
    assert (stats.packets, stats.duplicates, stats.restarts, stats.malformed) == (40, 0, 1, 0)
    assert stats.irregular == 2
    assert [twilio.CALL in record.getMessage() for record in caplog.records] == [True]
