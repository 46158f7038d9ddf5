"""The driver with real sockets, a real HTTP server, and a fake pipeline: streams become calls."""

import asyncio

import aiohttp
import numpy as np
import pytest

from connectors.media_ws import Roles, TwilioConfig, TwilioPlayer
from pipeline.call import CallInfo
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio

# -- the orderly call


async def test_stream_becomes_a_call_with_a_leg_a_track(serve: Serve) -> None:
    server = await serve()
    parameters = {
        "agent": "a-7",
        "from": "+15550001",
        "to": "+15550002",
        "language": "es-ES",
        "language_outbound": "en-US",
    }
    ws = await begin(server, parameters=parameters)
    call = await running(server)
    assert (call.info.call_id, call.info.connector) == (twilio.CALL, "twilio")
    assert (call.info.from_, call.info.to) == ("+15550001", "+15550002")
    assert call.metadata == {"agent": "a-7", "language": "es-ES", "language_outbound": "en-US"}
    options = [(o.leg, o.role, o.channel_index, o.language) for o in (leg.options for leg in call.legs.values())]
    assert options == [("inbound", "customer", 0, "es-ES"), ("outbound", "agent", 1, "en-US")]
    await ws.close()


async def test_roles_are_configurable(serve: Serve) -> None:
    server = await serve(TwilioConfig(roles=Roles(inbound="agent", outbound="customer")))
    ws = await begin(server)
    call = await running(server)
    assert [leg.options.role for leg in call.legs.values()] == ["agent", "customer"]
    await ws.close()


async def test_whole_call_is_heard_and_its_legs_flush_before_its_end(serve: Serve) -> None:
    server = await serve()
    server.calls.flush_s = 0.05
    inbound = np.arange(16_100, dtype=np.int64).astype(np.uint8)
    outbound = inbound[::-1][:8_000]
    report = await TwilioPlayer(server.url, inbound, outbound, call_sid="CA1", pace=0).play()
    assert report.close_code == 1000
    (call,) = server.calls.history
    await asyncio.wait_for(call.over.wait(), 5)
    np.testing.assert_array_equal(call.legs["inbound"].codes, inbound)
    np.testing.assert_array_equal(call.legs["outbound"].codes[:8_000], outbound)
    assert call.reason == "completed"
    assert call.log[-1] == "END"
    assert set(call.log[1:-1]) == {"final inbound", "final outbound"}
    assert (call.legs["inbound"].stats.packets, call.legs["inbound"].stats.lost) == (101, 0)
    stats = server.connector.stats
    assert (stats.started, stats.active, stats.pending, stats.packets) == (1, 0, 0, 151)
    assert stats.ended == {"completed": 1}


async def test_lost_packets_become_silence_and_reach_the_statistics_of_the_leg(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    for seq in (2, 3, 6, 5, 7):  # 4 is lost
        await ws.send_str(twilio.media(seq, 20 * (seq - 2), bytes([seq] * 160)))
    call = await running(server, legs=1)
    leg = call.legs["inbound"]
    await until(lambda: leg.codes.size == 6 * 160)
    assert leg.codes[::160].tolist() == [2, 3, 0xFF, 5, 6, 7]
    await ws.send_str(twilio.stop(8))
    await asyncio.wait_for(call.over.wait(), 5)
    assert (leg.stats.packets, leg.stats.lost, leg.stats.late) == (5, 1, 0)
    assert server.connector.stats.lost == 1


async def test_keys_reach_the_call(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    await ws.send_str(twilio.media(2, 0))
    await ws.send_str(twilio.dtmf(3, "7"))
    call = await running(server, legs=1)
    await until(lambda: call.keys == [("inbound", "7", 0.02, 0.0)])
    await ws.close()


async def test_unknown_language_falls_back_to_the_default_with_a_warning(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",), parameters={"language": "tlh-QO"})
    call = await running(server, legs=1)
    assert call.legs["inbound"].options.language is None
    assert server.connector.stats.unknown_languages == 1
    assert "lacks the language" in caplog.text
    await ws.close()


# -- streams and calls


async def test_second_stream_of_a_running_track_is_refused_and_the_first_goes_on(serve: Serve) -> None:
    server = await serve()
    first = await begin(server)
    call = await running(server)
    second = await begin(server, ("inbound",), stream="MZother", parameters={"agent": "other"})
    assert await close_code(second) == 1008
    assert call.metadata == {}
    await first.send_str(twilio.media(2, 0))
    await until(lambda: call.legs["inbound"].codes.size == 160)
    assert not call.ended
    assert (server.connector.stats.refused, server.connector.stats.active) == (1, 1)
    await first.close()


async def test_same_stream_twice_is_refused(serve: Serve) -> None:
    server = await serve()
    first = await begin(server, ("inbound",))
    await running(server, legs=1)
    second = await begin(server, ("outbound",))
    assert await close_code(second) == 1008
    await first.close()


async def test_stream_of_the_other_track_joins_the_call_which_ends_with_the_last(serve: Serve) -> None:
    server = await serve()
    first = await begin(server, ("inbound",), stream="MZin", parameters={"queue": "q"})
    call = await running(server, legs=1)
    second = await begin(server, ("outbound",), stream="MZout", parameters={"agent": "a"})
    await running(server, legs=2)
    assert call.metadata == {"queue": "q", "agent": "a"}
    await first.send_str(twilio.stop(2, stream="MZin"))
    assert await close_code(first) == 1000
    assert not call.ended
    assert call.legs["inbound"].closed
    await second.send_str(twilio.media(2, 0, track="outbound", stream="MZout"))
    await until(lambda: call.legs["outbound"].codes.size == 160)
    await second.send_str(twilio.stop(3, stream="MZout"))
    assert await close_code(second) == 1000
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.log == ["START", "final inbound", "final outbound", "END"]
    assert len(server.calls.history) == 1


async def test_stream_that_follows_on_the_same_call_waits_for_the_last_words_of_the_one_before(serve: Serve) -> None:
    server = await serve()
    server.calls.flush_s = 0.2
    first = await begin(server, stream="MZ1")
    call = await running(server)
    await first.send_str(twilio.stop(2, stream="MZ1"))
    await until(lambda: call.ended)
    second = await begin(server, stream="MZ2")
    await until(lambda: len(server.calls.history) == 2)
    assert call.log[-1] == "END"
    again = await running(server)
    assert not again.ended
    await second.close()


async def test_stream_of_another_account_does_not_join(serve: Serve) -> None:
    server = await serve()
    first = await begin(server, ("inbound",))
    await running(server, legs=1)
    second = await begin(server, ("outbound",), stream="MZ2", account="ACother")
    assert await close_code(second) == 1008
    await first.close()


async def test_only_the_configured_account_is_served(serve: Serve) -> None:
    server = await serve(TwilioConfig(account_sid="ACmine"))
    assert await close_code(await begin(server)) == 1008
    assert server.calls.history == []


async def test_call_of_the_same_id_from_elsewhere_is_left_alone(serve: Serve) -> None:
    server = await serve()
    other = server.calls.start(CallInfo(twilio.CALL, "elsewhere"))
    assert await close_code(await begin(server)) == 1008
    assert not other.ended


async def test_full_engine_turns_a_call_away_with_1013_and_the_others_go_on(serve: Serve) -> None:
    server = await serve()
    first = await begin(server)
    call = await running(server)
    server.calls.max_sessions = 3
    second = await begin(server, call="CA2", stream="MZ2")
    assert await close_code(second) == 1013
    await until(lambda: server.calls.history[1].ended)
    assert "START" not in server.calls.history[1].log
    await until(lambda: server.calls.sessions == 2)
    await first.send_str(twilio.media(2, 0))
    await until(lambda: call.legs["inbound"].codes.size == 160)
    assert server.connector.stats.turned_away == 1
    await first.close()


async def test_a_call_is_announced_once_the_engine_takes_its_legs_and_what_was_said_meanwhile_is_heard(
    serve: Serve,
) -> None:
    server = await serve()
    server.calls.answered.clear()
    ws = await begin(server)
    for seq in (2, 3, 4):
        await ws.send_str(twilio.media(seq, 20 * (seq - 2), bytes([seq] * 160)))
    call = await running(server)
    await asyncio.sleep(0.02)
    assert call.log == []
    assert call.legs["inbound"].frames == []
    server.calls.answered.set()
    await until(lambda: call.legs["inbound"].codes.size == 3 * 160)
    assert call.log == ["START"]
    assert call.legs["inbound"].codes[::160].tolist() == [2, 3, 4]
    await ws.close()


@pytest.mark.parametrize("refused", [{"inbound"}, {"outbound"}, {"inbound", "outbound"}])
async def test_a_call_of_which_the_engine_refuses_a_leg_is_turned_away_whole_with_1013(
    serve: Serve, refused: set[str]
) -> None:
    server = await serve()
    first = await begin(server)
    call = await running(server)
    server.calls.refused = refused
    assert await close_code(await begin(server, call="CA2", stream="MZ2")) == 1013
    doomed = server.calls.history[1]
    await asyncio.wait_for(doomed.over.wait(), 5)
    assert "START" not in doomed.log
    assert "END" not in doomed.log
    assert server.connector.stats.turned_away == 1
    await until(lambda: server.calls.sessions == 2)
    await first.send_str(twilio.media(2, 0))
    await until(lambda: call.legs["inbound"].codes.size == 160)
    await first.close()


async def test_a_stream_that_joins_a_call_and_is_refused_by_the_engine_leaves_the_call_to_the_first(
    serve: Serve,
) -> None:
    server = await serve()
    first = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    server.calls.refused = {"outbound"}
    assert await close_code(await begin(server, ("outbound",), stream="MZ2")) == 1013
    await first.send_str(twilio.media(2, 0))
    await until(lambda: call.legs["inbound"].codes.size == 160)
    assert not call.ended
    await first.close()


async def test_a_client_that_is_gone_before_the_engine_answers_leaves_nothing_behind(serve: Serve) -> None:
    server = await serve()
    server.calls.answered.clear()
    ws = await begin(server)
    call = await running(server)
    await ws.close()
    server.calls.answered.set()
    await asyncio.wait_for(call.over.wait(), 5)
    await until(lambda: server.calls.sessions == 0 and server.connector.stats.active == 0)


async def test_a_call_that_a_fault_of_ours_has_ended_closes_its_socket_with_1013_and_the_reason(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server)
    call = await running(server)
    call.fault = "refused by the engine"
    await call.end(call.fault)
    await ws.send_str(twilio.mark(2))
    message = await ws.receive(5)
    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1013, "refused by the engine")
    await until(lambda: server.connector.stats.ended == {"refused by the engine": 1})


async def test_draining_server_turns_calls_away_with_1013(serve: Serve) -> None:
    server = await serve()
    server.calls.draining = True
    assert await close_code(await begin(server)) == 1013
    assert server.connector.stats.turned_away == 1


async def test_call_ended_by_others_closes_its_socket(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server)
    call = await running(server)
    call.legs.clear()
    await call.end("longest duration reached")
    await ws.send_str(twilio.mark(2))
    assert await close_code(ws) == 1001
