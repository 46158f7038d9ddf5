"""The driver with real sockets, a real HTTP server, and a fake pipeline."""

import asyncio
import json
import logging

import aiohttp
import numpy as np
import pytest

from connectors.media_ws import MediaLimits, Roles, TwilioConfig, TwilioPlayer
from connectors.media_ws.twilio.signature import sign
from pipeline.call import CallInfo
from tests.connectors.conftest import Serve, Server
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


# -- ends that are not orderly


async def test_vanishing_client_ends_its_call_with_its_last_words(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server)
    await ws.send_str(twilio.media(2, 0))
    call = await running(server)
    await until(lambda: call.legs["inbound"].codes.size == 160)
    transport = ws.get_extra_info("socket")
    assert transport is not None
    ws._response.connection.transport.abort()  # type: ignore[union-attr]
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "disconnected"
    assert call.log == ["START", "final inbound", "final outbound", "END"]


async def test_client_that_closes_without_stop_ends_its_call(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server)
    call = await running(server)
    await ws.close()
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "disconnected"


async def test_client_that_vanishes_after_stop_still_gets_its_end_published(serve: Serve) -> None:
    server = await serve()
    server.calls.flush_s = 0.1
    ws = await begin(server)
    call = await running(server)
    await ws.send_str(twilio.stop(2))
    ws._response.connection.transport.abort()  # type: ignore[union-attr]
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.log[-1] == "END"


async def test_audio_that_waits_for_a_lost_packet_is_heard_when_the_client_goes(serve: Serve) -> None:
    server = await serve(TwilioConfig(limits=MediaLimits(reorder_window_ms=10_000)))
    ws = await begin(server, ("inbound",))
    await ws.send_str(twilio.media(3, 20))
    call = await running(server, legs=1)
    await ws.close()
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.legs["inbound"].codes.size == 320


async def test_cancelled_request_still_ends_its_call(serve: Serve) -> None:
    server = await serve()
    server.calls.flush_s = 0.05
    await begin(server)
    call = await running(server)
    for task in server.connector._sockets.values():
        assert task is not None
        task.cancel()
    await server.connector.close()
    assert call.log[-1] == "END"


async def test_closing_the_connector_ends_every_call(serve: Serve) -> None:
    server = await serve()
    server.calls.flush_s = 0.05
    sockets = [await begin(server, call=f"CA{i}", stream=f"MZ{i}") for i in range(3)]
    await until(lambda: len(server.calls.running) == 3)
    closing = asyncio.create_task(server.connector.close())
    assert [await close_code(ws) for ws in sockets] == [1001] * 3
    await closing
    assert [call.reason for call in server.calls.history] == ["shutdown"] * 3
    assert all(call.log[-1] == "END" for call in server.calls.history)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await server.connect()


async def test_socket_that_never_starts_is_closed(serve: Serve) -> None:
    server = await serve(TwilioConfig(limits=MediaLimits(start_timeout_s=0.1)))
    ws = await server.connect()
    await ws.send_str(twilio.connected())
    assert await close_code(ws) == 1008
    assert server.connector.stats.pending == 0


async def test_idle_stream_is_closed_and_its_call_ends(serve: Serve) -> None:
    server = await serve(TwilioConfig(limits=MediaLimits(idle_timeout_s=0.1)))
    ws = await begin(server)
    assert await close_code(ws) == 1008
    (call,) = server.calls.history
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "timeout"


async def test_pending_sockets_are_limited_and_a_started_one_makes_room(serve: Serve) -> None:
    server = await serve(TwilioConfig(limits=MediaLimits(max_pending=2)))
    pending = [await server.connect() for _ in range(2)]
    await until(lambda: server.connector.stats.pending == 2)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.connect()
    assert refused.value.status == 503
    await pending[0].send_str(twilio.start())
    await running(server)
    late = await server.connect()
    for ws in (*pending, late):
        await ws.close()


# -- bad input


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("this is not JSON", 1007),
        (b"\x00\x01", 1003),
        (twilio.start(call="CAother"), 1008),
        (twilio.media(2, 0, b"\xff" * 9_000), 1009),
        (twilio.media(2, 0, stream="MZother"), 1008),
    ],
    ids=["not JSON", "binary", "second start", "much audio", "other stream"],
)
async def test_bad_input_closes_its_socket_once_logged_and_other_calls_go_on(
    serve: Serve, caplog: pytest.LogCaptureFixture, bad: str | bytes, code: int
) -> None:
    server = await serve()
    good = await begin(server, call="CAgood", stream="MZgood")
    good_call = await running(server, "CAgood")
    ws = await begin(server)
    call = await running(server)
    with caplog.at_level(logging.WARNING):
        await ws.send_str('{"event": "weather"}')
        if isinstance(bad, bytes):
            await ws.send_bytes(bad)
        else:
            await asyncio.gather(ws.send_str(bad), return_exceptions=True)
        assert await close_code(ws) == code
        await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "protocol error"
    assert [twilio.CALL in record.getMessage() for record in caplog.records] == [True]
    assert server.connector.stats.closed == {code: 1}
    await good.send_str(twilio.media(2, 0, stream="MZgood"))
    await until(lambda: good_call.legs["inbound"].codes.size == 160)
    assert not good_call.ended
    await good.close()


async def test_message_of_10_mb_is_refused_before_it_is_read_and_other_calls_go_on(serve: Serve) -> None:
    server = await serve()
    good = await begin(server, call="CAgood", stream="MZgood")
    good_call = await running(server, "CAgood")
    ws = await begin(server)
    call = await running(server)
    await asyncio.gather(ws.send_str("x" * (10 << 20)), return_exceptions=True)
    # The socket closes with the rest of the message unread, so the frame with 1009 may be lost to the reset.
    assert await close_code(ws) in (1009, 1006)
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "protocol error"
    assert server.connector.stats.closed == {1009: 1}
    await good.send_str(twilio.media(2, 0, stream="MZgood"))
    await until(lambda: good_call.legs["inbound"].codes.size == 160)
    await good.close()


async def test_text_that_is_not_utf8_is_closed_with_1007(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server)
    await running(server)
    await ws.send_frame(b'{"event": "\xff"}', aiohttp.WSMsgType.TEXT)
    assert await close_code(ws) == 1007
    await until(lambda: server.connector.stats.closed == {1007: 1})


@pytest.mark.parametrize("bad", [twilio.media(2, 0), '{"event": "dtmf"}', "nothing", twilio.stop(2)])
async def test_bad_beginning_closes_the_socket_without_a_call(serve: Serve, bad: str) -> None:
    server = await serve()
    ws = await server.connect()
    await ws.send_str(twilio.connected())
    await ws.send_str(bad)
    assert await close_code(ws) == (1007 if bad == "nothing" else 1002)
    assert server.calls.history == []
    await until(lambda: server.connector.stats.pending == 0)


async def test_bad_packets_are_counted_logged_once_and_the_call_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            await ws.send_str('{"event": "weather"}')
            await ws.send_str(json.dumps({**json.loads(twilio.media(2, 0)), "media": {"payload": "@"}}))
        await ws.send_str(twilio.media(2, 0))
        await until(lambda: call.legs["inbound"].codes.size == 160)
    assert len(caplog.records) == 1
    await ws.send_str(twilio.stop(3))
    await asyncio.wait_for(call.over.wait(), 5)
    assert (server.connector.stats.malformed, server.connector.stats.unknown_events) == (20, 20)


async def test_fault_of_ours_ends_that_call_only(serve: Serve) -> None:
    server = await serve()
    good = await begin(server, call="CAgood", stream="MZgood")
    good_call = await running(server, "CAgood")
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    server.calls.broken_dtmf = True
    await ws.send_str(twilio.dtmf(2))
    assert await close_code(ws) == 1011
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.reason == "internal error"
    assert not good_call.ended
    await good.close()


async def test_plain_http_request_is_not_an_upgrade(serve: Serve) -> None:
    server = await serve()
    async with server.session.get(server.url.replace("ws://", "http://")) as response:
        assert response.status == 400
    assert server.connector.stats.upgrades == 0


async def test_a_slash_at_the_end_is_the_same_address(serve: Serve) -> None:
    server = await serve()
    ws = await server.session.ws_connect(server.url + "/")
    await ws.send_str(twilio.start())
    await running(server)
    await ws.close()


# -- signature


def signed(server: Server, token: str = "secret") -> dict[str, str]:
    return {"X-Twilio-Signature": sign(token, server.url.replace("ws://", "wss://"))}


async def test_signed_upgrade_is_accepted(serve: Serve) -> None:
    server = await serve(TwilioConfig(auth_token="secret"))
    ws = await server.connect(**signed(server))
    await ws.send_str(twilio.start())
    await running(server)
    await ws.close()


@pytest.mark.parametrize("signature", [None, "", "AAAA", "wrong token", "other path", "\udcff"])
async def test_missing_or_wrong_signature_is_not_upgraded_and_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, signature: str | None
) -> None:
    server = await serve(TwilioConfig(auth_token="secret"))
    headers = {} if signature is None else {"X-Twilio-Signature": signature}
    if signature == "wrong token":
        headers = signed(server, "guess")
    elif signature == "other path":
        headers = {"X-Twilio-Signature": sign("secret", server.url.replace("ws://", "wss://") + "/x")}
    elif signature == "\udcff":
        headers = {"X-Twilio-Signature": "ÿ"}
    with caplog.at_level(logging.INFO, "connectors"):
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.connect(**headers)
            assert refused.value.status == 403
    assert (server.connector.stats.unsigned, server.connector.stats.upgrades) == (2, 0)
    assert len(caplog.records) == 1


async def test_signature_over_the_public_url_is_the_one_that_counts_behind_a_proxy(serve: Serve) -> None:
    public = "wss://calls.example.com/media/twilio"
    server = await serve(TwilioConfig(auth_token="secret", public_url=public))
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await server.connect(**signed(server))
    ws = await server.connect(**{"X-Twilio-Signature": sign("secret", public)})
    await ws.close()


async def test_a_slash_at_the_end_opens_nothing_and_is_signed_with_the_rest(serve: Serve) -> None:
    server = await serve(TwilioConfig(auth_token="secret"))
    for headers in ({}, {"X-Twilio-Signature": sign("guess", server.url.replace("ws://", "wss://") + "/")}):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await server.session.ws_connect(server.url + "/", headers=headers)
    right = {"X-Twilio-Signature": sign("secret", server.url.replace("ws://", "wss://") + "/")}
    ws = await server.session.ws_connect(server.url + "/", headers=right)
    await ws.close()
    assert server.connector.stats.unsigned == 2


# -- web pages of others


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", "", "file://", "chrome-extension://x"],
)
async def test_page_of_another_origin_is_not_upgraded_without_a_signature_and_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    server = await serve()
    with caplog.at_level(logging.INFO, "connectors"):
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.connect(Origin=origin)
            assert refused.value.status == 403
    assert (server.connector.stats.foreign_origins, server.connector.stats.upgrades) == (2, 0)
    assert len(caplog.records) == 1


async def test_page_that_lets_its_own_name_resolve_to_this_server_is_refused(serve: Serve) -> None:
    server = await serve()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.connect(Origin="http://rebound.example:8080", Host="rebound.example:8080")
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("config", "headers"),
    [
        (TwilioConfig(), {}),
        (TwilioConfig(), {"Origin": "http://localhost:8080", "Host": "localhost:8080"}),
        (TwilioConfig(), {"Origin": "https://calls.example.com", "Host": "calls.example.com"}),
        (TwilioConfig(), {"Origin": "https://Calls.Example.com", "Host": "calls.example.com:443"}),
        (TwilioConfig(), {"Origin": "https://calls.example.com", "X-Forwarded-Host": "calls.example.com"}),
        (TwilioConfig(public_url="wss://calls.example.com/twilio"), {"Origin": "https://calls.example.com"}),
        (TwilioConfig(origins=("https://desk.example.com",)), {"Origin": "https://desk.example.com"}),
        (TwilioConfig(origins=("*",)), {"Origin": "null"}),
    ],
)
async def test_own_pages_and_those_named_and_whoever_is_no_page_may_stream(
    serve: Serve, config: TwilioConfig, headers: dict[str, str]
) -> None:
    server = await serve(config)
    ws = await server.connect(**headers)
    await ws.send_str(twilio.start())
    await running(server)
    await ws.close()


async def test_signature_counts_and_not_the_page(serve: Serve) -> None:
    server = await serve(TwilioConfig(auth_token="secret"))
    ws = await server.connect(Origin="https://elsewhere.example", **signed(server))
    await ws.close()
    assert server.connector.stats.foreign_origins == 0


# -- upgrades that are none

UPGRADE = {
    b"Host": b"localhost",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"MDAwMDAwMDAwMDAwMDAwMA==",
}


@pytest.mark.parametrize(
    "changed",
    [
        {b"Sec-WebSocket-Key": b"\xff\xfe"},
        {b"Sec-WebSocket-Key": "schlüssel".encode()},
        {b"Sec-WebSocket-Key": b""},
        {b"Sec-WebSocket-Key": b"!!!!"},
        {b"Sec-WebSocket-Key": b"c2hvcnQ="},
        {b"Sec-WebSocket-Version": b"99"},
        {b"Sec-WebSocket-Version": b"\xff"},
        {b"Upgrade": b"h2c"},
        {b"Upgrade": b"\xff"},
        {b"Connection": b"\xff"},
    ],
    ids=str,
)
async def test_malformed_upgrade_gets_400_and_no_traceback_and_is_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, changed: dict[bytes, bytes]
) -> None:
    server = await serve()
    host, _, port = server.url.removeprefix("ws://").partition("/")[0].partition(":")
    request = b"".join(b"%b: %b\r\n" % header for header in (UPGRADE | changed).items())
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /twilio HTTP/1.1\r\n" + request + b"\r\n")
            assert b" 400 " in await asyncio.wait_for(reader.readline(), 5)
            writer.close()
            await writer.wait_closed()
    assert server.connector.stats.bad_upgrades == 2
    assert [bool(record.exc_info) for record in caplog.records] == [False]


@pytest.mark.parametrize("host", [b"\xff", "grüße.example".encode(), b"[", b"a b"])
async def test_host_that_is_no_text_has_no_valid_signature(
    serve: Serve, caplog: pytest.LogCaptureFixture, host: bytes
) -> None:
    server = await serve(TwilioConfig(auth_token="secret"))
    address, _, port = server.url.removeprefix("ws://").partition("/")[0].partition(":")
    request = b"".join(b"%b: %b\r\n" % header for header in (UPGRADE | {b"Host": host}).items())
    reader, writer = await asyncio.open_connection(address, int(port))
    writer.write(b"GET /twilio HTTP/1.1\r\n" + request + b"X-Twilio-Signature: AAAA\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] in (b"403", b"400")
    writer.close()
    await writer.wait_closed()
    assert not any(record.exc_info for record in caplog.records)
