"""Who gets transcripts: requests through proxies, cookies, tokens that are none, tokens that are wrong."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveview import attempts
from liveview.access import COOKIE, Access
from liveview.api import LivePage, LiveViewConfig
from liveview.attempts import FREE, AccessStats, AddressCounts, WrongTokens, delay_s, is_logged
from liveview.forwarding import client as client_of
from sinks.live import LiveView
from tests.liveview.calls import ScriptedCall
from tests.liveview.server import live_page

TOKEN = "correct horse"

MARKS = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "localhost"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Server", "proxy"),
    ("X-Forwarded-Prefix", "/live"),
    ("Forwarded", "for=203.0.113.9;proto=https"),
    ("Forwarded", ""),
    ("Via", "1.1 proxy"),
    ("X-Real-IP", "203.0.113.9"),
    ("x-real-ip", "127.0.0.1"),
    ("X-Client-IP", "203.0.113.9"),
    ("True-Client-IP", "203.0.113.9"),
    ("CF-Connecting-IP", "203.0.113.9"),
    ("CF-Ray", "8"),
    ("CDN-Loop", "cdn"),
    ("Fly-Client-IP", "203.0.113.9"),
    ("X-Amzn-Trace-Id", "Root=1"),
    ("X-Envoy-External-Address", "203.0.113.9"),
    ("X-Original-Host", "calls.example.com"),
    ("Front-End-Https", "on"),
    ("Remote-User", "alice"),
]


@asynccontextmanager
async def guarded(access: Access) -> AsyncIterator[TestClient[Any, Any]]:
    """A page with this access, as `trunkline.server` puts it together."""
    app = web.Application(middlewares=[WrongTokens(access.stats).middleware(COOKIE)])
    LivePage(LiveView(), LiveViewConfig(), access=access).install(app)
    async with TestClient(TestServer(app)) as client:
        yield client


async def raw(client: TestClient[Any, Any], request: bytes) -> bytes:
    """The head of the answer to what no client library sends."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    await writer.wait_closed()
    return head


# -- without a token


@pytest.mark.parametrize(("name", "value"), MARKS)
async def test_a_request_through_a_proxy_needs_a_token_and_says_so(name: str, value: str) -> None:
    async with live_page() as page:
        await page.publish(ScriptedCall("CA1").start())
        for path in ("/api/calls", "/api/calls/CA1", "/api/events", "/api/mic"):
            answer = await page.client.get(path, headers={name: value, "Host": "127.0.0.1:8080"})
            assert answer.status == 403
            error = (await answer.json())["error"]
            assert error.lower().startswith(f"this came through a proxy ({name.lower()}), which needs a token")
            assert "TRUNKLINE_LIVEVIEW_TOKEN" in error


@pytest.mark.parametrize(("name", "value"), MARKS)
async def test_a_request_through_a_proxy_with_the_token_is_answered(name: str, value: str) -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        headers = {name: value, "Authorization": f"Bearer {TOKEN}"}
        assert (await page.client.get("/api/calls", headers=headers)).status == 200
        assert (await page.client.get("/api/calls", headers={name: value})).status == 401


async def test_a_browser_and_a_program_on_this_machine_are_answered_without_a_token() -> None:
    browser = {
        "User-Agent": "Mozilla/5.0",
        "Accept": "text/event-stream",
        "Accept-Language": "en",
        "Cache-Control": "no-cache",
        "DNT": "1",
        "Pragma": "no-cache",
        "Referer": "http://localhost/",
        "Sec-Fetch-Site": "same-origin",
        "Sec-GPC": "1",
        "X-Requested-With": "fetch",
        "X-Request-Id": "7",
        "traceparent": "00-1-1-00",
    }
    async with live_page() as page:
        assert (await page.client.get("/api/calls", headers=browser)).status == 200
        assert (await page.client.get("/api/calls")).status == 200


async def test_a_proxy_that_says_nothing_but_speaks_http_1_0_is_known_by_that() -> None:
    access = Access(None, loopback=True)
    async with guarded(access) as client:
        assert b" 403 " in await raw(client, b"GET /api/calls HTTP/1.0\r\nHost: 127.0.0.1:8080\r\n\r\n")
        assert b" 403 " in await raw(client, b"GET /api/calls HTTP/1.0\r\n\r\n")
        assert b" 400 " in await raw(client, b"GET /api/calls HTTP/1.1\r\n\r\n")
    assert access.stats.forwarded == 2


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("[::ffff:127.0.0.1]:8080", 200),
        ("calls.example.com", 403),
        ("203.0.113.7", 403),
        ("192.168.4.20:8080", 403),
        ("0.0.0.0:8080", 403),
        ("[::]:8080", 403),
        ("[::ffff:192.0.2.1]", 403),
        ("localhost.example.com", 403),
        ("localhost@calls.example.com", 403),
        ("calls.example.com@localhost", 403),
        ("localhost/calls.example.com", 403),
        ("localhost,calls.example.com", 403),
        ("127.0.0.1.example.com", 403),
    ],
)
async def test_a_server_on_loopback_is_meant_by_loopback_addresses_only(host: str, status: int) -> None:
    async with guarded(Access(None, loopback=True)) as client:
        assert (await client.get("/api/calls", headers={"Host": host})).status == status


async def test_a_target_with_a_host_of_its_own_counts_before_the_host_header() -> None:
    async with guarded(Access(None, loopback=True)) as client:
        answer = await raw(client, b"GET http://rebound.example/api/calls HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 403 " in answer
        answer = await raw(client, b"GET http://localhost/api/calls HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in answer


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8080", 200),
        ("http://localhost:3000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
async def test_a_page_of_another_origin_is_not_answered_without_a_token(origin: str, status: int) -> None:
    async with live_page() as page:
        headers = {"Host": "localhost:8080", "Origin": origin}
        assert (await page.client.get("/api/calls", headers=headers)).status == status


@pytest.mark.parametrize("token", ["", " ", "\t\r\n"])
def test_an_empty_token_is_no_token_that_anybody_could_have(token: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        Access(token)


# -- the cookie


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "HTTPS, http"}, True),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"X-Forwarded-Proto": "http, https"}, False),
        ({"X-Forwarded-Proto": ""}, False),
        ({"Forwarded": "for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"}, True),
        ({"Forwarded": 'for="[2001:db8::1]";proto="https"'}, True),
        ({"Forwarded": "for=192.0.2.1;proto=http"}, False),
        ({"X-Forwarded-Ssl": "on"}, True),
        ({"X-Forwarded-Ssl": "off"}, False),
        ({"Front-End-Https": "on"}, True),
        ({"X-Forwarded-Scheme": "https"}, True),
        ({"X-Scheme": "https"}, True),
        ({"CF-Visitor": '{"scheme":"https"}'}, True),
        ({"X-Forwarded-For": "203.0.113.9"}, False),
    ],
)
async def test_the_cookie_is_secure_behind_a_proxy_that_was_reached_by_tls(
    headers: dict[str, str], secure: bool
) -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        answer = await page.client.get("/", params={"token": TOKEN}, headers=headers, allow_redirects=False)
        assert answer.status == 303
        assert ("; Secure" in answer.headers["Set-Cookie"]) is secure


@pytest.mark.parametrize(
    ("peer", "secure"),
    [("127.0.0.1", True), ("10.1.2.3", True), ("::ffff:172.17.0.1", True), ("fd00::7", True), ("8.8.8.8", False)],
)
async def test_only_a_proxy_nearby_is_believed_that_the_client_used_tls(
    monkeypatch: pytest.MonkeyPatch, peer: str, secure: bool
) -> None:
    monkeypatch.setattr(web.BaseRequest, "remote", peer)
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        headers = {"X-Forwarded-Proto": "https"}
        answer = await page.client.get("/", params={"token": TOKEN}, headers=headers, allow_redirects=False)
        assert ("; Secure" in answer.headers["Set-Cookie"]) is secure


async def test_the_token_in_the_address_is_kept_in_no_cache_and_sent_to_no_other_site() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        for token in (TOKEN, "guess"):
            answer = await page.client.get("/", params={"token": token}, allow_redirects=False)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "token" not in answer.headers.get("Location", "")


# -- what is no token at all


@pytest.mark.parametrize(
    "credential",
    [
        b"Bearer \xff\xfe",
        b"Bearer \xed\xa0\x80",
        b"Bearer \xc3\xbc\xe2\x80\xae",
        b"Bearer " + b"x" * 8000,
        b"Bearer",
        b"Bearer ",
        b"\xff",
        b"",
        b"Basic \xff\xff",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("header", [b"Authorization: ", b"Cookie: trunkline_live=", b"Cookie: "])
async def test_bytes_that_are_no_token_get_401_and_no_traceback(
    caplog: pytest.LogCaptureFixture, header: bytes, credential: bytes
) -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        request = b"GET /api/calls HTTP/1.1\r\nHost: localhost\r\n" + header + credential + b"\r\n\r\n"
        assert b" 401 " in await raw(page.client, request)
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("query", [b"%ff", b"%ed%a0%80", b"\xff", b"%00", b"%0d%0a", b"", b"x" * 4000], ids=ascii)
async def test_bytes_that_are_no_token_in_the_address_get_401_or_400(
    caplog: pytest.LogCaptureFixture, query: bytes
) -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        answer = await raw(page.client, b"GET /?token=" + query + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.split()[1] in (b"401", b"400")
    assert b"Set-Cookie" not in answer
    assert b"500" not in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "path", [b"/static/%ff", b"/static/%ed%b3%bf", b"/static/%0d%0aX-Evil:%201", b"/api/calls/%ff"]
)
async def test_bytes_that_are_no_name_get_an_answer_of_one_line(path: bytes) -> None:
    async with live_page() as page:
        head = await raw(page.client, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert head.split()[1] in (b"404", b"400")
    assert b"Evil" not in head


async def test_a_token_outside_ascii_opens_the_api() -> None:
    async with live_page(LiveViewConfig(token="grüße")) as page:
        request = "GET /api/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer grüße\r\n\r\n".encode()
        assert b" 200 " in await raw(page.client, request)


# -- wrong tokens


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays that a test can wait for."""
    monkeypatch.setattr(attempts, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(attempts, "LONGEST_DELAY_S", 0.002)


WRONG = {"Authorization": "Bearer guess-the-secret"}
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/calls", WRONG),
        ("/api/events", WRONG),
        ("/api/calls", {"Authorization": "Basic guess-the-secret"}),
        ("/api/calls", {"Cookie": f"{COOKIE}=guess-the-secret"}),
        ("/?token=guess-the-secret", {}),
        ("/mic?token=guess-the-secret", {}),
    ],
)
async def test_a_wrong_token_is_logged_without_it_and_counted(
    caplog: pytest.LogCaptureFixture, path: str, headers: dict[str, str]
) -> None:
    access = Access(TOKEN)
    async with guarded(access) as client:
        assert (await client.get(path, headers=headers)).status == 401
    assert access.stats.wrong_tokens == 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("wrong token from 127.0.0.1")
    assert "guess" not in line


async def test_a_request_without_a_token_is_asked_for_one_and_is_no_guess(caplog: pytest.LogCaptureFixture) -> None:
    access = Access(TOKEN)
    async with guarded(access) as client:
        for _ in range(2 * FREE):
            assert (await client.get("/api/calls", headers={"Cookie": "other=1"})).status == 401
    assert access.stats == AccessStats()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("quick")
async def test_many_wrong_tokens_write_few_lines_and_wait(caplog: pytest.LogCaptureFixture) -> None:
    access = Access(TOKEN)
    async with guarded(access) as client:
        for _ in range(30):
            assert (await client.get("/api/calls", headers=WRONG)).status == 401
    assert (access.stats.wrong_tokens, access.stats.slowed, access.stats.turned_away) == (30, 30 - FREE, 0)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2


async def test_whoever_has_the_token_is_let_in_at_once_however_many_wrong_ones_came_from_the_address() -> None:
    access = Access(TOKEN)
    async with guarded(access) as client:
        slow = [asyncio.create_task(client.get("/api/calls", headers=WRONG)) for _ in range(FREE + 3)]
        async with asyncio.timeout(10):
            while access.stats.slowed < 1:  # noqa: ASYNC110 - state of the server's
                await asyncio.sleep(0.005)
        assert (await client.get("/api/calls", headers=RIGHT)).status == 200
        answer = await client.get("/", params={"token": TOKEN}, allow_redirects=False)
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert (await client.get("/api/calls", headers={"Cookie": cookie})).status == 200
        assert not all(task.done() for task in slow)
        for task in slow:
            await task


async def test_wrong_tokens_hold_no_more_than_a_few_answers_back() -> None:
    stats = AccessStats()
    access = Access(TOKEN, stats=stats)
    app = web.Application(middlewares=[WrongTokens(stats, waiting=3, waiting_each=2).middleware(COOKIE)])
    LivePage(LiveView(), LiveViewConfig(), access=access).install(app)
    async with TestClient(TestServer(app)) as client:
        for _ in range(FREE):
            await client.get("/api/calls", headers=WRONG)
        answers = await asyncio.gather(*(client.get("/api/calls", headers=WRONG) for _ in range(12)))
        turned_away = [answer for answer in answers if answer.status == 429]
        assert (len(turned_away), stats.slowed, stats.turned_away) == (10, 2, 10)
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in turned_away)
        assert all(answer.headers["Connection"] == "close" for answer in turned_away)
        assert (await client.get("/api/calls", headers=RIGHT)).status == 200


def test_answers_come_later_with_every_wrong_token_up_to_a_bound() -> None:
    delays = [delay_s(count) for count in range(1, 1000)]
    assert delays[:FREE] == [0.0] * FREE
    assert delays[FREE] > 0
    assert delays == sorted(delays)
    assert delays[-1] == 2.0
    assert delay_s(10**9) == 2.0


def test_addresses_are_remembered_within_bounds_and_forgotten_in_time() -> None:
    tally = AddressCounts(addresses=100)
    for number in range(10_000):
        tally.add(f"2001:db8:{number:x}::/64", 0.0)
    assert len(tally) == 100
    assert tally.add("192.0.2.1", 0.0) == 1
    assert tally.add("192.0.2.1", 1.0) == 2
    assert tally.add("192.0.2.1", 1.0 + attempts.FORGET_S) == 3
    assert tally.add("192.0.2.1", 2.0 + 2 * attempts.FORGET_S) == 1
    assert [count for count in range(1, 1001) if is_logged(count)] == [1, 10, 100, 1000]


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("203.0.113.9", {}, "203.0.113.9"),
        ("203.0.113.9", {"X-Forwarded-For": "198.51.100.1"}, "203.0.113.9"),
        ("::ffff:203.0.113.9", {}, "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", {}, "2001:db8:1:2::/64"),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}, "203.0.113.9"),
        ("127.0.0.1", {"X-Forwarded-For": "made up"}, "127.0.0.1"),
        ("::1", {"X-Real-IP": "203.0.113.9"}, "203.0.113.9"),
        ("127.0.0.1", {"Forwarded": 'for=198.51.100.1, for="[2001:db8:1:2::7]:4711"'}, "2001:db8:1:2::/64"),
    ],
)
async def test_wrong_tokens_are_counted_for_who_sent_them(
    monkeypatch: pytest.MonkeyPatch, peer: str, headers: dict[str, str], address: str
) -> None:
    monkeypatch.setattr(web.BaseRequest, "remote", peer)

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=client_of(request))

    app = web.Application()
    app.router.add_get("/", tell)
    async with TestClient(TestServer(app)) as client:
        assert await (await client.get("/", headers=headers)).text() == address


async def test_a_request_over_a_unix_socket_has_an_address_to_be_counted_under() -> None:
    ours, theirs = socket.socketpair()

    async def tell(request: web.BaseRequest) -> web.Response:
        return web.Response(text=client_of(request))

    with ours:
        server = web.Server(tell)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(server, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n-")
        writer.close()
        transport.close()
        await server.shutdown()
