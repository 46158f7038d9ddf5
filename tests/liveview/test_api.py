"""The API of the live page over real HTTP, with the in-process view behind it."""

import ast
import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import liveview
from liveview.api import LiveViewConfig, create_app
from sinks.live import LiveView
from sinks.record import AnyRecord, as_builtins
from tests.liveview.calls import ScriptedCall
from tests.liveview.server import events, live_page, next_of, take

TOKEN = "correct horse battery staple"


async def test_calls_are_listed_newest_first_with_their_last_words() -> None:
    old = ScriptedCall("old", began=datetime.now(UTC) - timedelta(minutes=3))
    new = ScriptedCall("new", agent="Dana Cole")
    async with live_page() as page:
        await page.publish(old.start(), new.start())
        async with page.client.get("/api/events") as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.publish(old.final("inbound-1", 1.0, "Good morning.", "en-US"))
            await next_of("words", incoming)
        answer = await (await page.client.get("/api/calls")).json()
    assert [call["call_id"] for call in answer["calls"]] == ["new", "old"]
    assert answer["calls"][0]["metadata"] == {"agent": "Dana Cole"}
    assert answer["calls"][0]["last_words"] is None
    assert answer["calls"][1]["last_words"] == {
        "leg": "inbound",
        "speaker_role": "customer",
        "text": "Good morning.",
        "is_final": True,
        "language": "en-US",
    }


async def test_snapshot_holds_both_legs_the_keys_and_the_holds_so_far() -> None:
    call = ScriptedCall("CA1")
    start = call.start()
    spoken = [
        call.final("outbound-1", 0.5, "Hello, this is Dana.", "en-US"),
        call.final("inbound-1", 3.0, "Buenos días.", "es-US"),
        call.partial("inbound-2", 5.0, "Llamo por", "es-US", "carried"),
    ]
    key, hold, resume = call.key("inbound", "7", 6.0), call.hold(7.0), call.resume(9.0)
    async with live_page() as page:
        async with page.client.get("/api/events") as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.publish(start, *spoken, key, hold, resume)
            await next_of("words", incoming)
            answer = await page.client.get("/api/calls/CA1")
        snapshot = await answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert snapshot["segments"] == [_as_json(record) for record in spoken]
    assert [one["digit"] for one in snapshot["dtmf"]] == ["7"]
    assert [one["action"] for one in snapshot["steps"]] == ["HOLD", "RESUME"]
    assert snapshot["call"]["status"] == "active"
    assert snapshot["version"] >= len(spoken)


@pytest.mark.parametrize(
    "call_id",
    [
        "a/b",
        "über 100%",
        "<script>",
        "CA?x=1#y",
        "{a}",
        "a{b",
        ".",
        "..",
        "../a",
        "a\nb",
        "שלום\u200f",
        "+&=",
        "x" * 2_000,
    ],
)
async def test_any_call_id_can_be_asked_for_and_followed(call_id: str) -> None:
    call = ScriptedCall(call_id)
    quoted = quote(call_id, safe="")
    async with live_page() as page:
        await page.publish(call.start())
        answer = await page.client.get(URL(f"/api/call?call_id={quoted}", encoded=True))
        assert (await answer.json())["call"]["call_id"] == call_id
        async with page.client.get(URL(f"/api/events?call_id={quoted}", encoded=True)) as stream:
            incoming = events(stream)
            assert (await next_of("ready", incoming)).data["call_ids"] == [call_id]
            await page.publish(call.hold(1.0))
            assert (await next_of("record", incoming)).data["call_id"] == call_id


@pytest.mark.parametrize("call_id", ["a/b", "{a}", "über 100%"])
async def test_a_call_can_be_asked_for_by_its_path(call_id: str) -> None:
    async with live_page() as page:
        await page.publish(ScriptedCall(call_id).start())
        answer = await page.client.get(URL(f"/api/calls/{quote(call_id, safe='')}", encoded=True))
        assert (await answer.json())["call"]["call_id"] == call_id


async def test_one_stream_carries_the_records_of_several_calls() -> None:
    calls = [ScriptedCall(f"CA{n}") for n in range(3)]
    async with live_page() as page:
        await page.publish(*(call.start() for call in calls))
        async with page.client.get("/api/events?call_id=CA0&call_id=CA2&call_id=CA0") as stream:
            incoming = events(stream)
            assert (await next_of("ready", incoming)).data["call_ids"] == ["CA0", "CA2"]
            await page.publish(*(call.final("inbound-1", 1.0, call.call_id, "en-US") for call in calls))
            got = [one.data["transcript"] for one in await take(2, "record", incoming)]
        answer = await page.client.get("/api/events?" + "&".join(f"call_id={n}" for n in range(101)))
        assert (answer.status, await answer.json()) == (400, {"error": "a stream carries at most 100 calls"})
    assert sorted(got) == ["CA0", "CA2"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/calls/nobody", 404),
        ("/api/calls/" + "x" * 2_001, 400),
        ("/api/calls/a%0Ab", 404),
        ("/api/call", 400),
        ("/api/events?call_id=", 400),
        ("/api/events?call_id=" + "x" * 2_001, 400),
        ("/static/nothing.js", 404),
        ("/static/..%2Fapi.py", 404),
    ],
)
async def test_mistakes_are_answered_with_one_line_of_json(path: str, status: int) -> None:
    async with live_page() as page:
        answer = await page.client.get(path)
        body = await answer.text()
    assert answer.status == status
    assert answer.content_type == "application/json"
    assert body.count("\n") == 1
    assert body.startswith('{"error":"')


async def test_stream_begins_with_ready_and_the_list_and_keeps_the_order_of_records() -> None:
    call = ScriptedCall("CA1")
    start = call.start()
    spoken: list[AnyRecord] = [
        call.partial("inbound-1", 1.0, "hola", None, "carried"),
        call.partial("inbound-1", 1.0, "hola buenos", "es-US", "detected"),
        call.partial("outbound-1", 1.4, "hi", "en-US", "detected"),
        call.final("inbound-1", 1.0, "Hola, buenos días.", "es-US"),
        call.key("inbound", "1", 2.0),
        call.end(3.0),
    ]
    async with live_page() as page:
        await page.publish(start)
        async with page.client.get("/api/events?call_id=CA1") as stream:
            assert stream.content_type == "text/event-stream"
            incoming = events(stream)
            first, second = [await anext(incoming), await anext(incoming)]
            for record in spoken:
                await page.publish(record)
            got = await take(len(spoken), "record", incoming)
    assert first.kind == "ready"
    assert first.data["call_ids"] == ["CA1"]
    assert second.kind == "calls"
    assert second.data["complete"] is True
    assert [one.data for one in got] == [_as_json(record) for record in spoken]
    assert [one.id for one in got] == [f"{record.at}/{record.event_id}" for record in spoken]


async def test_stream_sends_other_calls_condensed_only() -> None:
    mine, other = ScriptedCall("mine"), ScriptedCall("other")
    async with live_page() as page:
        await page.publish(mine.start(), other.start())
        async with page.client.get("/api/events?call_id=mine") as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.publish(
                *(other.partial("inbound-1", 1.0, "word " * n, "en-US", "detected") for n in range(1, 50)),
                mine.final("inbound-1", 1.0, "Mine.", "en-US"),
            )
            record = await next_of("record", incoming)
            words = await next_of("words", incoming)
    assert record.data["call_id"] == "mine"
    assert words.data["mine"]["text"] == "Mine."
    assert words.data["other"]["is_final"] is False
    assert len(words.data["other"]["text"]) == 160


async def test_list_follows_starts_holds_ends_and_forgotten_calls() -> None:
    call = ScriptedCall("CA1")
    async with live_page() as page, page.client.get("/api/events") as stream:
        incoming = events(stream)
        assert (await next_of("calls", incoming)).data["calls"] == []
        seen = []
        for record in (call.start(), call.hold(1.0), call.resume(2.0), call.end(3.0, "caller hung up")):
            await page.publish(record)
            seen.append((await next_of("calls", incoming)).data["calls"][0])
    assert [one["status"] for one in seen] == ["active", "held", "active", "ended"]
    assert seen[-1]["reason"] == "caller hung up"


async def test_last_event_id_resumes_with_what_changed_since() -> None:
    call = ScriptedCall("CA1")
    first = call.final("inbound-1", 1.0, "One.", "en-US")
    missed: list[AnyRecord] = [
        call.partial("inbound-2", 4.0, "two", "en-US", "detected"),
        call.key("inbound", "5", 6.0),
    ]
    async with live_page() as page:
        await page.publish(call.start(), first, *missed)
        headers = {"Last-Event-ID": f"{first.at}/{first.event_id}"}
        async with page.client.get("/api/events?call_id=CA1", headers=headers) as stream:
            got = await take(2, "record", events(stream))
    assert [one.data["event_id"] for one in got] == [record.event_id for record in missed]


@pytest.mark.parametrize("last", ["", "7", "/", "2026-01-01T00:00:00.000Z/", "/x"])
async def test_a_last_event_id_of_another_kind_is_ignored(last: str) -> None:
    call = ScriptedCall("CA1")
    async with live_page() as page:
        await page.publish(call.start(), call.final("inbound-1", 1.0, "One.", "en-US"))
        async with page.client.get("/api/events?call_id=CA1", headers={"Last-Event-ID": last}) as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.publish(call.final("inbound-2", 4.0, "Two.", "en-US"))
            assert (await next_of("record", incoming)).data["transcript"] == "Two."


async def test_an_idle_stream_has_a_heartbeat() -> None:
    async with live_page(LiveViewConfig(heartbeat_s=0.05)) as page, page.client.get("/api/events") as stream:
        ping = await next_of("ping", events(stream))
    assert datetime.fromisoformat(ping.data["now"]).tzinfo is UTC


async def test_more_pages_than_allowed_are_refused_until_one_leaves() -> None:
    async with live_page(LiveViewConfig(max_pages=1, heartbeat_s=0.05)) as page:
        async with page.client.get("/api/events") as stream:
            await next_of("ready", events(stream))
            refused = await page.client.get("/api/events")
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "2"
        async with asyncio.timeout(5):
            while (await page.client.get("/api/events")).status == 503:  # noqa: ASYNC110 - the server notices at a beat
                await asyncio.sleep(0.05)


async def test_a_subscription_that_ends_ends_the_stream() -> None:
    async with live_page() as page:
        await page.publish(ScriptedCall("CA1").start())
        async with page.client.get("/api/events?call_id=CA1") as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.view.close()
            assert [one async for one in incoming if one.kind == "record"] == []


async def test_open_streams_do_not_hold_up_a_shutdown() -> None:
    server = TestServer(create_app(LiveView()))
    async with TestClient(server) as client, client.get("/api/events") as stream:
        incoming = events(stream)
        await next_of("calls", incoming)
        async with asyncio.timeout(5):
            await server.close()
            assert [one async for one in incoming] == []


async def test_without_the_token_no_data_leaves_the_server() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        await page.publish(ScriptedCall("CA1").start())
        for path in ("/api/calls", "/api/calls/CA1", "/api/events", "/api/events?call_id=CA1"):
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {TOKEN}"}):
                answer = await page.client.get(path, headers=headers)
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert "CA1" not in await answer.text()
        cookie = await page.client.get("/api/calls", cookies={"trunkline_live": TOKEN})
        assert cookie.status == 401


async def test_the_token_opens_the_api_as_bearer() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        answer = await page.client.get("/api/calls", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status == 200


async def test_opening_the_page_with_the_token_leaves_a_strict_cookie_and_a_clean_address() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        answer = await page.client.get("/", params={"token": TOKEN}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        # The client's cookie jar is for names, not for addresses, so the cookie is handed on here.
        name, _, value = cookie.partition(";")[0].partition("=")
        assert (await page.client.get("/api/calls", cookies={name: value})).status == 200


async def test_opening_the_page_with_a_wrong_token_leaves_nothing() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        answer = await page.client.get("/", params={"token": "guess"}, allow_redirects=False)
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("192.168.4.20:8080", 200),
        ("rebound.example", 403),
        ("127.0.0.1.rebound.example", 403),
        ("localhost.rebound.example:80", 403),
        ("[::1", 403),
    ],
)
async def test_without_a_token_only_addresses_are_answered(host: str, status: int) -> None:
    async with live_page() as page:
        assert (await page.client.get("/api/calls", headers={"Host": host})).status == status


async def test_with_a_token_any_host_name_is_answered() -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as page:
        headers = {"Host": "calls.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await page.client.get("/api/calls", headers=headers)).status == 200


async def test_every_answer_forbids_foreign_and_inline_scripts() -> None:
    async with live_page() as page:
        for path in ("/", "/static/live.js", "/api/calls", "/api/calls/nobody", "/api/events"):
            async with page.client.get(path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_markup_in_a_transcript_is_sent_as_data() -> None:
    call = ScriptedCall("CA1")
    text = '</script><script>alert("x")</script>\u2028\n<img src=x onerror=alert(1)>'
    async with live_page() as page:
        await page.publish(call.start(), call.final("inbound-1", 1.0, text, "en-US"))
        answer = await page.client.get("/api/calls/CA1")
        assert answer.content_type == "application/json"
        assert (await answer.json())["segments"][0]["transcript"] == text
        async with page.client.get("/api/events?call_id=CA1") as stream:
            incoming = events(stream)
            await next_of("calls", incoming)
            await page.publish(call.final("inbound-2", 2.0, text, "en-US"))
            assert (await next_of("record", incoming)).data["transcript"] == text


async def test_unchanged_files_are_not_sent_again() -> None:
    async with live_page() as page:
        for path in ("/", "/static/live.js", "/static/live.css", "/static/icon.svg"):
            first = await page.client.get(path)
            again = await page.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
            assert (first.status, again.status, await again.read()) == (200, 304, b"")


async def test_the_page_works_below_a_prefix() -> None:
    root = web.Application()
    root.add_subapp("/live", create_app(LiveView(), LiveViewConfig(token=TOKEN)))
    async with TestClient(TestServer(root)) as client:
        assert (await client.get("/live/static/live.js")).status == 200
        answer = await client.get("/live/", params={"token": TOKEN}, allow_redirects=False)
        assert answer.headers["Location"] == "/live/"
        assert "Path=/live/" in answer.headers["Set-Cookie"]


def test_liveview_knows_of_the_project_the_view_only() -> None:
    rooms = {"trunkline", "connectors", "pipeline", "engine", "sinks", "training", "benchmarks", "tests"}
    for module in Path(liveview.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            assert [name for name in names if name.split(".")[0] in rooms and name != "sinks.live"] == [], module


def _as_json(record: Any) -> Any:
    """As it reads after a trip through JSON."""
    return _lists(as_builtins(record))


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(one) for key, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value
