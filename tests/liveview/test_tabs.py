"""The page in many tabs of one browser, and what it says where data are missing, in a real Chromium."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from liveview.api import LiveViewConfig
from sinks.record import AnyRecord
from tests.liveview.browser import chromium, opened
from tests.liveview.calls import ScriptedCall
from tests.liveview.failing import FailingView, ServerAway
from tests.liveview.server import LivePageServer, live_page

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUT = frozenset({"net::ERR_", "Failed to load resource"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[LivePageServer]:
    async with live_page() as running:
        yield running


async def test_twelve_tabs_share_one_stream_and_a_closed_one_stops_none(browser: Browser) -> None:
    calls = [ScriptedCall(f"CA{n}", from_=f"caller {n}") for n in range(12)]
    async with live_page(LiveViewConfig(list_interval_ms=20, max_pages=2)) as server:
        await server.publish(*(call.start() for call in calls))
        await server.publish(*(call.final("inbound-1", 1.0, f"I am {call.call_id}.", "en-US") for call in calls))
        context = await browser.new_context()
        try:
            pages = [await context.new_page() for _ in calls]
            await asyncio.gather(
                *(
                    page.goto(f"{server.url}#call={call.call_id}", wait_until="commit")
                    for page, call in zip(pages, calls, strict=True)
                )
            )
            for page, call in zip(pages, calls, strict=True):
                await expect(page.locator("#log .text")).to_have_text(f"I am {call.call_id}.", timeout=20_000)
            await pages[0].close()
            await pages[11].close()
            await server.publish(*(call.final("inbound-2", 4.0, f"Still {call.call_id}.", "en-US") for call in calls))
            for page, call in list(zip(pages, calls, strict=True))[1:11]:
                await expect(page.locator("#log .text")).to_have_text(
                    [f"I am {call.call_id}.", f"Still {call.call_id}."]
                )
        finally:
            await context.close()


async def test_without_a_shared_worker_a_hidden_tab_gives_its_stream_up(browser: Browser) -> None:
    call = ScriptedCall("CA1")
    async with live_page(LiveViewConfig(list_interval_ms=20, max_pages=1)) as server, AsyncExitStack() as stack:
        await server.publish(call.start())
        context = await browser.new_context()
        stack.push_async_callback(context.close)
        await context.add_init_script("delete window.SharedWorker")
        first = await context.new_page()
        await first.goto(f"{server.url}#call=CA1")
        await expect(first.locator("#link")).to_have_text("Connected")
        show = """(state) => {
            Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await first.evaluate(show, "hidden")
        second = await context.new_page()
        await second.goto(f"{server.url}#call=CA1")
        await expect(second.locator("#link")).to_have_text("Connected", timeout=20_000)
        await second.close()
        await server.publish(call.final("inbound-1", 1.0, "Meanwhile.", "en-US"))
        await first.evaluate(show, "visible")
        await expect(first.locator("#log .text")).to_have_text("Meanwhile.")


async def test_a_page_over_the_limit_says_so_and_gets_in_when_there_is_room(browser: Browser) -> None:
    async with live_page(LiveViewConfig(list_interval_ms=20, max_pages=1)) as server:
        await server.publish(ScriptedCall("CA1").start())
        context = await browser.new_context()
        second = await context.new_page()
        try:
            async with opened(browser, server, "CA1"):
                await second.goto(f"{server.url}#call=CA1")
                await expect(second.locator("#empty-text")).to_contain_text("no room: all 1 places for pages are taken")
                await expect(second.locator("#link")).to_have_text("Server busy")
                await expect(second.locator("#banner")).not_to_contain_text("Connection lost")
            await expect(second.locator("#status")).to_have_text("Live", timeout=20_000)
            await expect(second.locator("#banner")).to_be_hidden()
        finally:
            await context.close()


async def test_a_silent_call_says_which_leg_is_silent_and_since_when(browser: Browser, server: LivePageServer) -> None:
    silent = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(seconds=75))
    await server.publish(silent.start())
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#silence")).to_contain_text("Waiting for words; the call began at")
        await expect(page.locator("#legs li").first).to_contain_text("no words for 1:1")
        now = ScriptedCall("CA1", began=datetime.now(UTC), run=silent.run)
        await server.publish(now.final("inbound-1", 0.0, "Hello?", "en-US"))
        await expect(page.locator("#legs li").first).not_to_contain_text("no words")
        await expect(page.locator("#legs li").last).to_contain_text("no words for 1:1")


async def test_a_snapshot_that_fails_is_asked_for_again(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    await server.publish(call.start(), call.final("inbound-1", 1.0, "Here.", "en-US"))
    asked = 0

    async def fail(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            await route.continue_()
        elif asked == 2:
            await route.fulfill(status=200, content_type="application/json", body='{"now": "20')
        else:
            await route.fulfill(status=500, content_type="application/json", body='{"error": "internal error"}')

    context = await browser.new_context()
    page = await context.new_page()
    try:
        await page.route("**/api/call?*", fail)
        await page.goto(f"{server.url}#call=CA1")
        await expect(page.locator("#empty-text")).to_contain_text("Internal error. It is tried again")
        await expect(page.locator("#empty-text")).to_contain_text("Its answer was cut off.")
        await expect(page.locator("#log .text")).to_have_text("Here.")
        await expect(page.locator("#empty")).to_be_hidden()
    finally:
        await context.close()


async def test_a_page_opened_while_the_view_is_away_says_so_and_fills_by_itself(browser: Browser) -> None:
    view = FailingView()
    view.error = ServerAway("connection refused")
    call = ScriptedCall("CA1")
    async with live_page(LiveViewConfig(list_interval_ms=20), view=view) as server:
        context = await browser.new_context()
        page, listing = await context.new_page(), await (await browser.new_context()).new_page()
        try:
            await page.goto(f"{server.url}#call=CA1")
            await listing.goto(server.url)
            await expect(page.locator("#empty-text")).to_contain_text("The live view cannot be read right now")
            await expect(listing.locator("#empty-title")).to_have_text("The calls cannot be read")
            await expect(listing.locator("#link")).to_have_text("No data")
            view.error = None
            await view.live.write([call.start(), call.final("inbound-1", 1.0, "Back.", "en-US")])
            for one in (page, listing):
                await expect(one.locator("#log .text")).to_have_text("Back.", timeout=20_000)
                await expect(one.locator("#link")).to_have_text("Connected")
        finally:
            await context.close()
            await listing.context.close()


async def test_a_call_that_a_new_server_does_not_know_is_lost_and_its_clock_stands(browser: Browser) -> None:
    call = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(seconds=30))
    async with live_page() as server:
        await server.publish(call.start(), call.final("inbound-1", 5.0, "Before.", "en-US"))
        port = server.client.port
        async with opened(browser, server, "CA1", troubles=CUT) as page:
            await expect(page.locator("#log .text")).to_have_text("Before.")
            await server.client.close()
            await expect(page.locator("#banner")).to_contain_text("Connection lost since")
            async with live_page(port=port):
                await page.click("#banner-action")
                await expect(page.locator("#status")).to_have_text("Lost")
                await expect(page.locator("#silence")).to_contain_text("Nobody has seen how the call ended")
                await expect(page.locator("#clock")).to_have_text("0:05")
                await expect(page.locator("#log .text")).to_have_text("Before.")
                await expect(page.locator("#active .row")).to_have_count(0)


async def test_a_token_that_no_longer_holds_is_said_over_the_call(browser: Browser) -> None:
    call = ScriptedCall("CA1")
    before: list[AnyRecord] = [call.start(), call.final("inbound-1", 1.0, "Before.", "en-US")]
    async with live_page(LiveViewConfig(token="first", list_interval_ms=20)) as server:
        await server.publish(*before)
        port = server.client.port
        context = await browser.new_context()
        page = await context.new_page()
        try:
            await page.goto(f"{server.url}?token=first#call=CA1")
            await expect(page.locator("#log .text")).to_have_text("Before.")
            await server.client.close()
            async with live_page(LiveViewConfig(token="second", list_interval_ms=20), port=port):
                await expect(page.locator("#banner")).to_contain_text("Access ended at", timeout=20_000)
                await expect(page.locator("#banner")).to_contain_text("has changed or expired")
                await expect(page.locator("#link")).to_have_text("Token needed")
        finally:
            await context.close()


@pytest.mark.parametrize("call_id", ["{a}%7B", "..", "a\nb", "x" * 1_500])
async def test_every_call_that_is_listed_opens(browser: Browser, server: LivePageServer, call_id: str) -> None:
    call = ScriptedCall(call_id)
    await server.publish(call.start(), call.final("inbound-1", 1.0, "Here.", "en-US"))
    async with opened(browser, server, width=420) as page:
        await page.click("#active .row")
        await expect(page.locator("#log .text")).to_have_text("Here.")
        await server.publish(call.final("inbound-2", 3.0, "And here.", "en-US"))
        await expect(page.locator("#log .text")).to_have_text(["Here.", "And here."])


async def test_a_name_from_right_to_left_does_not_swap_caller_and_callee(
    browser: Browser, server: LivePageServer
) -> None:
    call = ScriptedCall("CA1", from_="דנה כהן", agent="ليلى", queue="42")
    await server.publish(call.start(), call.final("inbound-1", 1.0, "שלום, 3 שאלות.", "he-IL"), call.end(9.0, "נותק"))
    async with opened(browser, server, "CA1") as page:
        caller, callee = [await page.locator("#title bdi").nth(n).bounding_box() for n in (0, 1)]
        assert caller is not None
        assert callee is not None
        assert caller["x"] < callee["x"]
        assert await page.title() == "\u2068דנה כהן\u2069 · Trunkline live"
        agent, queue = [await page.locator("#ended .about bdi").nth(n).bounding_box() for n in (1, 2)]
        assert agent is not None
        assert queue is not None
        assert agent["x"] < queue["x"]
        assert await page.locator("#log .text").evaluate("node => getComputedStyle(node).direction") == "rtl"
        assert await page.locator("#ended .words").evaluate("node => getComputedStyle(node).direction") == "rtl"
        await expect(page.locator("#log .event bdi")).to_have_text("נותק")
