"""Whom the driver upgrades: signatures, web pages of others, and requests that are no upgrade."""

import asyncio
import logging

import aiohttp
import pytest

from connectors.media_ws import TwilioConfig
from connectors.media_ws.twilio.signature import sign
from tests.connectors.conftest import Serve, Server
from tests.connectors.media_ws.server import running
from tests.connectors.media_ws.twilio import twilio_side as twilio


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
