"""The whole server's doors, over raw sockets: proxies, strangers' bytes, what the log and the counters have of it."""

import asyncio
import logging
import re

import aiohttp
import pytest
from aiohttp import web

from connectors.media_ws import TwilioConfig
from connectors.webrtc.config import WebRtcConfig
from liveview.api import LiveViewConfig
from liveview.attempts import AccessStats
from tests.trunkline.conftest import Running, Serve
from trunkline.config import Config, ServerConfig
from trunkline.doors import ServerLog

FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}

MALFORMED = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "no method": b"\x00\x01\x02\r\n\r\n",
    "SIP": b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n",
    "a proxy's preface": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in a header": b"GET /api/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\x00\r\n\r\n",
    "control character in the target": b"GET /?token=sesame\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "header too long": b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame"
    + b"x" * 70_000
    + b"\r\n\r\n",
    "target too long": b"GET /?token=sesame" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Sesame: sesame\r\n" * 1000 + b"\r\n",
    "no version": b"GET /?token=sesame HTTP\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: sesame\r\n\r\n",
    "negative length": b"POST /api/calls HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "chunk size": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsesame\r\n\r\n",
    "target that is no URL": b"GET http://[sesame HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


async def raw(url: str, request: bytes) -> bytes:
    """The status line of the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.readline()
    writer.close()
    return answer


async def metrics(running: Running) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(running.url + "/metrics") as response:
        return (await response.text()).splitlines()


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_http_is_counted_and_one_line_that_repeats_nothing_of_it(
    caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    stats = AccessStats()
    runner = web.AppRunner(web.Application(), access_log=None, logger=ServerLog(stats))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    for _ in range(9):
        assert b" 40" in await raw(f"http://{host}:{port}", request_)
    await runner.cleanup()
    assert stats.malformed == 9
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.exc_info for record in loud] == [None]
    assert re.match("no HTTP from (127.0.0.1|a client), number 1: ", loud[0].getMessage())
    assert "esame" not in caplog.text
    assert "\n" not in loud[0].getMessage()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no host", "Missing header Host"),
        ("two hosts", "Duplicate header Host"),
        ("two lengths", "Duplicate Content-Length"),
        ("target that is no URL", "its target is no URL"),
        ("chunk size", "Invalid character in chunk size"),
        ("TLS", "another protocol, such as TLS"),
        ("SIP", "no method of HTTP, or another protocol"),
    ],
)
async def test_what_is_wrong_with_it_is_said_in_words(caplog: pytest.LogCaptureFixture, name: str, said: str) -> None:
    runner = web.AppRunner(web.Application(), access_log=None, logger=ServerLog(AccessStats()))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    assert b" 40" in await raw(f"http://{host}:{port}", MALFORMED[name])
    await runner.cleanup()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.endswith(f", number 1: {said}")


async def test_a_body_that_nobody_reads_and_nobody_could_is_counted_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats = AccessStats()
    runner = web.AppRunner(web.Application(), access_log=None, logger=ServerLog(stats))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsesame"
    assert b" 404 " in await raw(f"http://{host}:{port}", request)
    await runner.cleanup()
    assert stats.malformed == 1
    assert not any(record.exc_info for record in caplog.records)
    assert "sesame" not in caplog.text


async def test_a_fault_of_ours_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise LookupError("ours")

    stats, app = AccessStats(), web.Application()
    app.router.add_get("/", fail)
    runner = web.AppRunner(app, access_log=None, logger=ServerLog(stats))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    assert b" 500 " in await raw(f"http://{host}:{port}", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await runner.cleanup()
    assert stats.malformed == 0
    assert "LookupError: ours" in caplog.text


async def test_strangers_bytes_at_the_whole_server_make_no_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as running:
        caplog.clear()
        for request in MALFORMED.values():
            assert b" 40" in await raw(running.url, request)
        for path in (b"/api/calls", b"/twilio", b"/nowhere", b"/healthz"):
            request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\r\n\r\n"
            assert b" 417 " in await raw(running.url, request)
        assert f"trunkline_http_malformed_total {float(len(MALFORMED))}" in await metrics(running)
    assert not any(record.exc_info for record in caplog.records)


async def test_a_server_on_loopback_shows_nothing_to_a_proxy_without_a_token(serve: Serve) -> None:
    async with serve() as running, aiohttp.ClientSession() as session:
        for path in ("/api/calls", "/api/events", "/metrics"):
            async with session.get(running.url + path, headers=FORWARDED) as response:
                assert response.status == 403
                assert "TRUNKLINE_LIVEVIEW_TOKEN" in await response.text()
            async with session.get(running.url + path, headers={"Host": "192.168.4.20:8080"}) as response:
                assert response.status == 403
        for path in ("/", "/healthz", "/readyz"):
            async with session.get(running.url + path, headers=FORWARDED) as response:
                assert response.status == 200
        async with session.get(running.url + "/api/calls") as response:
            assert response.status == 200
        lines = await metrics(running)
    assert "trunkline_http_forwarded_total 3.0" in lines
    assert "trunkline_http_foreign_hosts_total 3.0" in lines


async def test_metrics_from_outside_need_the_token_and_from_inside_none(serve: Serve) -> None:
    async with serve(Config(liveview=LiveViewConfig(token="secret"))) as running, aiohttp.ClientSession() as session:
        async with session.get(running.url + "/metrics", headers=FORWARDED) as response:
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        headers = FORWARDED | {"Authorization": "Bearer secret"}
        async with session.get(running.url + "/metrics", headers=headers) as response:
            assert response.status == 200
        async with session.get(running.url + "/metrics", headers={"Host": "trunkline.internal"}) as response:
            assert response.status == 200


async def test_wrong_tokens_of_all_endpoints_are_counted_together(serve: Serve) -> None:
    config = Config(liveview=LiveViewConfig(token="secret"), webrtc=WebRtcConfig(token="other"))
    wrong = {"Authorization": "Bearer guess"}
    async with serve(config) as running, aiohttp.ClientSession() as session:
        async with session.get(running.url + "/api/calls", headers=wrong) as response:
            assert response.status == 401
        async with session.post(running.url + "/whip", headers=wrong) as response:
            assert response.status == 401
        async with session.get(running.url + "/?token=guess") as response:
            assert response.status == 401
        async with session.post(running.url + "/whip") as response:
            assert response.status == 401
        lines = await metrics(running)
    assert "trunkline_http_wrong_tokens_total 3.0" in lines
    assert 'trunkline_connector_unsigned_total{connector="webrtc"} 2.0' in lines


async def test_an_endpoint_that_a_proxy_opens_is_told_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as running, aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.ws_connect(running.twilio, headers=FORWARDED):
                pass
    told = [record.getMessage() for record in caplog.records if record.name == "trunkline.doors"]
    assert told == [
        "anybody may stream to /twilio: set [twilio] auth_token; a proxy (X-Forwarded-For) passes requests on to it"
    ]


async def test_a_strict_server_refuses_what_a_proxy_passes_on_to_an_open_endpoint(serve: Serve) -> None:
    config = Config(server=ServerConfig(strict=True), webrtc=WebRtcConfig())
    async with serve(config) as running, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(running.twilio, headers=FORWARDED)
        assert refused.value.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(running.twilio + "/", headers=FORWARDED)
        for method, path in (("POST", "/whip"), ("DELETE", "/whip/session"), ("DELETE", "/whip/session/")):
            async with session.request(method, running.url + path, headers=FORWARDED) as response:
                assert response.status == 403
        async with session.ws_connect(running.twilio):
            pass


async def test_a_strict_server_takes_what_is_signed_whoever_passes_it_on(serve: Serve) -> None:
    config = Config(server=ServerConfig(strict=True), twilio=TwilioConfig(auth_token="secret"))
    async with serve(config) as running, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(running.twilio, headers=FORWARDED)
        assert refused.value.status == 403
        lines = await metrics(running)
    assert 'trunkline_connector_unsigned_total{connector="twilio"} 1.0' in lines


async def test_a_foreign_page_cannot_stream_to_the_server(serve: Serve) -> None:
    async with serve() as running, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(running.twilio, headers={"Origin": "https://evil.example"})
        assert refused.value.status == 403
        assert 'trunkline_connector_foreign_origins_total{connector="twilio"} 1.0' in await metrics(running)
