"""The list of calls that all pages share, with views that fail."""

import asyncio
import json
import re
from typing import Any

import pytest

from liveview.api import LiveViewConfig
from liveview.feed import CallFeed, Mailbox
from sinks.live import LiveView
from tests.liveview.calls import ScriptedCall
from tests.liveview.failing import FailingView, ServerAway
from tests.liveview.server import events, live_page, next_of


async def test_a_view_that_is_away_is_503_and_is_found_again() -> None:
    view = FailingView()
    view.error = ServerAway("connection refused")
    async with live_page(LiveViewConfig(list_interval_ms=20), view=view) as page:
        for path in ("/api/calls", "/api/calls/CA1", "/api/events?call_id=CA1"):
            answer = await page.client.get(path)
            assert answer.status == 503
            assert await answer.json() == {"error": "the live view cannot be read right now"}
        async with page.client.get("/api/events") as stream:
            incoming = events(stream)
            unread = (await next_of("calls", incoming)).data
            assert (unread["calls"], unread["unread_since"] is None) == ([], False)
            view.error = None
            await view.live.write([ScriptedCall("CA1").start()])
            found: set[str] = set()
            whole = unread
            while not found or whole["unread_since"] is not None:
                change = (await next_of("calls", incoming)).data
                found |= {call["call_id"] for call in change["calls"]}
                whole = change if change["complete"] else whole
    assert found == {"CA1"}


async def test_a_view_that_is_away_is_logged_once_and_once_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "liveview.feed")
    view = FailingView()
    feed = CallFeed(view, interval_s=0.001, mailbox_limit=8)
    running = asyncio.create_task(feed.run())
    for _ in range(2):
        caplog.clear()
        view.error = ServerAway("connection refused")
        view.tries = 0
        while view.tries < 4:
            await view.live.write([ScriptedCall(f"CA{view.tries}").start()])  # the list is read for it
            await asyncio.sleep(0.001)
        view.error = None
        while len(caplog.records) < 2:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.001)
        said = [one.getMessage() for one in caplog.records]
        assert said[0] == "no list of calls, trying again: connection refused"
        assert re.fullmatch(r"the list of calls is read again after \d+\.\d s", said[1])
        assert len(said) == 2
    running.cancel()
    await asyncio.wait([running])


async def test_a_defect_of_a_view_is_500_and_the_page_goes_on() -> None:
    view = FailingView()
    view.error = KeyError("secret")
    async with live_page(LiveViewConfig(list_interval_ms=20), view=view) as page:
        answer = await page.client.get("/api/calls")
        assert answer.status == 500
        assert await answer.json() == {"error": "internal error"}
        view.error = None
        assert (await page.client.get("/api/calls")).status == 200


async def test_a_page_that_reads_slowly_gets_the_whole_list_instead_of_every_change() -> None:
    view = LiveView()
    feed = CallFeed(view, interval_s=0.01, mailbox_limit=3)
    running = asyncio.create_task(feed.run())
    with feed.join() as fast, feed.join() as slow:
        for n in range(10):
            await view.write([ScriptedCall(f"CA{n}").start()])
            while f"CA{n}" not in _ids(await _next(fast)):
                pass
        first, *rest = [await _next(slow) for _ in range(3)]
    feed.close()
    running.cancel()
    await asyncio.wait([running])
    listed = _ids(first)
    assert first["complete"]
    assert not any(one["complete"] for one in rest)
    for change in rest:
        listed |= _ids(change)
    assert listed >= {f"CA{n}" for n in range(7)}


async def test_calls_that_the_view_forgot_leave_the_list() -> None:
    view = LiveView()
    feed = CallFeed(view, interval_s=0.01, mailbox_limit=8)
    call = ScriptedCall("CA1")
    running = asyncio.create_task(feed.run())
    with feed.join() as mailbox:
        await _next(mailbox)
        await view.write([call.start(), call.final("inbound-1", 1.0, "Hello.", "en-US")])
        assert _ids(await _next(mailbox)) == {"CA1"}
        view._book.forget("CA1")
        await view.write([ScriptedCall("CA2").start()])
        change = await _next(mailbox)
        while not change.get("removed"):
            change = await _next(mailbox)
    running.cancel()
    await asyncio.wait([running])
    assert change["removed"] == ["CA1"]
    assert feed.last_words("CA1") is None


async def _next(mailbox: Mailbox) -> dict[str, Any]:
    message = await mailbox.get()
    assert message is not None
    data: dict[str, Any] = json.loads(message.split(b"data: ")[1])
    return data


def _ids(change: dict[str, Any]) -> set[str]:
    return {call["call_id"] for call in change.get("calls", [])}
