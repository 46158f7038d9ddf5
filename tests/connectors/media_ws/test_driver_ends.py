"""Ends that are not orderly, at the driver: clients that vanish or say nothing, bad input, faults of ours."""

import asyncio
import json
import logging

import aiohttp
import pytest

from connectors.media_ws import MediaLimits, TwilioConfig
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio

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
