"""The live page in a real Chromium, over a real server: what a person in a contact centre sees."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from liveview.api import LiveViewConfig, PageStream
from sinks.record import AnyRecord, as_builtins
from tests.liveview.browser import chromium, opened
from tests.liveview.calls import ScriptedCall
from tests.liveview.server import LivePageServer, live_page

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUT = frozenset({"net::ERR_", "Failed to load resource"})
"""What the browser's console says of a stream that is cut off."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[LivePageServer]:
    async with live_page() as running:
        yield running


async def bubbles(page: Page) -> list[str]:
    return await page.locator("#log .seg:visible .text").all_inner_texts()


async def test_partials_settle_into_finals_in_one_bubble_a_segment(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    await server.publish(call.start())
    async with opened(browser, server, "CA1") as page:
        await server.publish(call.partial("inbound-1", 1.0, "hola buenos", None, "carried"))
        segment = page.locator("#segment-inbound-1")
        await expect(segment.locator(".text")).to_have_text("hola buenos")
        await expect(segment).to_have_attribute("data-final", "false")
        await segment.evaluate("node => { node.sameNode = true }")
        await server.publish(
            call.partial("inbound-1", 1.0, "Hola, buenos días. Llamo", "es-US", "carried"),
            call.partial("outbound-1", 1.6, "Thank you", "en-US", "detected"),
            call.final("inbound-1", 1.0, "Hola, buenos días. Llamo por mi factura.", "es-US"),
            call.final("outbound-1", 1.6, "Thank you for calling.", "en-US"),
        )
        await expect(segment).to_have_attribute("data-final", "true")
        assert await bubbles(page) == ["Hola, buenos días. Llamo por mi factura.", "Thank you for calling."]
        assert await segment.evaluate("node => node.sameNode")
        await expect(page.locator("#announce")).to_have_text("Agent: Thank you for calling.")


async def test_a_late_partial_never_replaces_a_final(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    start = call.start()
    late = call.partial("inbound-1", 1.0, "hello wor", "en-US", "detected")
    await server.publish(start, call.final("inbound-1", 1.0, "Hello, world.", "en-US"))
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#segment-inbound-1")).to_have_attribute("data-final", "true")
        # Past the view, which would not let it through: the page must not rely on that.
        for subscription in server.view._subscriptions:
            subscription.offer(as_builtins(late) | {"revision": 9})
        await server.publish(call.final("inbound-2", 3.0, "Next.", "en-US"))
        await expect(page.locator("#segment-inbound-2")).to_be_visible()
        assert await bubbles(page) == ["Hello, world.", "Next."]


async def test_opened_mid_call_shows_everything_so_far_and_goes_on(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(seconds=40), agent="Dana Cole", queue="Billing")
    async with opened(browser, server):  # a page that is open already keeps the feed's past in the test's hands
        await server.publish(
            call.start(),
            call.final("outbound-1", 0.5, "Hello, this is Dana.", "en-US"),
            call.final("inbound-1", 4.0, "Hola, buenos días.", "es-US"),
            call.key("inbound", "4", 8.0),
            call.key("inbound", "7", 9.0),
            call.hold(12.0),
            call.resume(20.0),
            call.partial("inbound-2", 22.0, "and now in", "en-US", "detected"),
        )
        await asyncio.sleep(0.1)
    async with opened(browser, server, "CA1") as page:
        items = page.locator("#log > li")
        await expect(items).to_have_count(6)
        texts = [" ".join(text.split()) for text in await items.all_inner_texts()]
        assert texts == [
            "Agent outbound Hello, this is Dana. EN 0:00",
            "Customer inbound Hola, buenos días. ES 0:04",
            "Customer pressed 4 7 0:08",
            "On hold 0:12",
            "Resumed 0:20",
            "Customer inbound and now in EN 0:22",
        ]
        await server.publish(call.final("inbound-2", 22.0, "And now in English.", "en-US"), call.end(41.0))
        await expect(page.locator("#segment-inbound-2 .text")).to_have_text("And now in English.")
        await expect(items.last).to_contain_text("Call ended: hangup")
        await expect(page.locator("#status")).to_have_text("Ended")
        await page.click("summary")
        await expect(page.locator("#facts")).to_contain_text("Dana Cole")


async def test_badges_tell_the_language_and_how_it_is_known(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    await server.publish(
        call.start(),
        call.final("inbound-1", 1.0, "Hola.", "es-US"),
        call.partial("inbound-2", 3.0, "so i was", "es-US", "carried"),
        call.final("outbound-1", 4.0, "Yes.", "en-GB", "configured"),
    )
    async with opened(browser, server, "CA1") as page:
        second = page.locator("#segment-inbound-2 .lang")
        await expect(page.locator("#segment-inbound-1 .lang")).to_have_attribute("title", "Spanish (es-US, detected)")
        await expect(second).to_have_attribute("title", "Spanish (es-US, carried from the sentence before)")
        await expect(page.locator("#segment-outbound-1 .lang")).to_have_attribute(
            "title", "English (en-GB, configured for this leg)"
        )
        legs = page.locator("#legs li")
        assert [" ".join(text.split()) for text in await legs.all_inner_texts()] == [
            "Customer inbound ES",
            "Agent outbound EN",
        ]
        await server.publish(call.final("inbound-2", 3.0, "So I was charged twice.", "en-US"))
        await expect(second).to_have_text("EN")
        await expect(second).to_have_attribute("title", "English (en-US, detected)")
        await expect(legs.first).to_contain_text("ES→EN")


async def test_agent_stands_right_and_customer_left_in_the_order_of_speech(
    browser: Browser, server: LivePageServer
) -> None:
    call = ScriptedCall("CA1")
    await server.publish(call.start())
    async with opened(browser, server, "CA1") as page:
        await server.publish(
            call.final("outbound-1", 6.0, "Third.", "en-US"),
            call.final("inbound-1", 1.0, "First.", "en-US"),
            call.final("inbound-2", 3.0, "Second.", "en-US"),
        )
        await expect(page.locator("#log .seg")).to_have_count(3)
        assert await bubbles(page) == ["First.", "Second.", "Third."]
        assert await page.locator("#log .seg .name:visible").all_inner_texts() == ["Customer inbound", "Agent outbound"]
        customer, agent = [
            await page.locator(f"#segment-{leg}-1 .bubble").bounding_box() for leg in ("inbound", "outbound")
        ]
        assert customer is not None
        assert agent is not None
        assert customer["x"] < agent["x"]


async def test_a_leg_that_joins_late_speaks_late(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(minutes=3))
    agent = ScriptedCall("CA1", began=call.began + timedelta(seconds=120), run=call.run)
    await server.publish(
        call.start(),
        call.final("inbound-1", 5.0, "Is anybody there?", "en-US"),
        call.final("inbound-2", 100.0, "Still waiting.", "en-US"),
        agent.final("outbound-1", 2.0, "Sorry for the wait.", "en-US"),
    )
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#log .seg")).to_have_count(3)
        assert await bubbles(page) == ["Is anybody there?", "Still waiting.", "Sorry for the wait."]
        await expect(page.locator("#segment-outbound-1 time")).to_have_text("2:02")


async def test_markup_from_a_call_is_shown_and_never_run(browser: Browser, server: LivePageServer) -> None:
    attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    call = ScriptedCall("CA1", from_=attack, agent=attack, queue=attack)
    await server.publish(
        call.start(),
        call.final("inbound-1", 1.0, attack, "<b>"),
        call.key("inbound", "<i>", 2.0),
        call.end(5.0, attack),
    )
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#segment-inbound-1 .text")).to_have_text(attack)
        await page.click("summary")
        await expect(page.locator("#facts")).to_contain_text(attack)
        await expect(page.locator("#ended .words")).to_have_text(attack)
        await expect(page.locator("#log")).to_contain_text(f"Call ended: {attack}")
        assert await page.evaluate("window.hacked") is None
        assert await page.locator("img[src=x], #panes script").count() == 0


async def test_the_list_shows_status_last_words_and_recently_ended_calls(
    browser: Browser, server: LivePageServer
) -> None:
    first = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(seconds=75), from_="+1 415 555 0101", agent="Dana")
    second = ScriptedCall("CA2", from_="+1 415 555 0102", queue="Billing")
    async with opened(browser, server) as page:
        await expect(page.locator("#empty-title")).to_have_text("No calls yet")
        await expect(page.locator("#empty-steps")).to_contain_text("trunkline demo")
        await server.publish(first.start())
        row = page.locator("#active .row").filter(has_text="0101")
        await expect(row).to_contain_text("twilio · Dana")
        shown = await row.locator(".time").inner_text()
        assert re.fullmatch(r"1:\d\d", shown)
        await expect(row.locator(".time")).not_to_have_text(shown)
        # The first call opens by itself; the second does not take its place.
        await expect(page.locator("#title")).to_contain_text("0101")
        await server.publish(second.start(), second.partial("inbound-1", 1.0, "my bill is", "en-US", "detected"))
        await expect(page.locator("#active .row").first).to_contain_text("Customer: my bill is")
        await expect(page.locator("#title")).to_contain_text("0101")
        await server.publish(first.hold(80.0))
        await expect(row.locator(".state")).to_have_text("On hold")
        await server.publish(first.end(90.0))
        await expect(page.locator("#ended .row")).to_contain_text("0101")
        await expect(page.locator("#count")).to_have_text("1 active call")
        await page.fill("#filter", "bill")
        await expect(page.locator(".row:visible")).to_have_count(1)
        await page.fill("#filter", "no such thing")
        await expect(page.locator("#no-match")).to_be_visible()


async def test_calls_are_chosen_by_click_keyboard_and_link(browser: Browser, server: LivePageServer) -> None:
    began = datetime.now(UTC)
    calls = [ScriptedCall(f"CA {n}/ä", began=began + timedelta(milliseconds=n), from_=f"caller {n}") for n in range(3)]
    for call in calls:
        await server.publish(call.start(), call.final("inbound-1", 1.0, f"I am {call.call_id}.", "en-US"))
    async with opened(browser, server, "CA%200%2F%C3%A4") as page:
        await expect(page.locator("#log .text")).to_have_text("I am CA 0/ä.")
        await page.click("#active .row:has-text('caller 2')")
        await expect(page.locator("#log .text")).to_have_text("I am CA 2/ä.")
        assert page.url.endswith("#call=CA%202%2F%C3%A4")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.locator("#log .text")).to_have_text("I am CA 1/ä.")
        await expect(page.locator("[aria-current]")).to_contain_text("caller 1")
        await page.keyboard.press("/")
        await page.keyboard.type("caller 0")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.locator("#log .text")).to_have_text("I am CA 0/ä.")
        await page.go_back()
        await expect(page.locator("#log .text")).to_have_text("I am CA 1/ä.")


async def test_an_unknown_call_says_so_and_opens_when_it_starts(browser: Browser, server: LivePageServer) -> None:
    async with opened(browser, server, "later", troubles=frozenset({"404"})) as page:
        await expect(page.locator("#empty-title")).to_have_text("This call is not here")
        call = ScriptedCall("later")
        await server.publish(call.start(), call.final("inbound-1", 1.0, "Here I am.", "en-US"))
        await expect(page.locator("#log .text")).to_have_text("Here I am.")
        await expect(page.locator("#empty")).to_be_hidden()


async def test_a_call_that_begins_anew_under_its_id_starts_empty(browser: Browser, server: LivePageServer) -> None:
    old = ScriptedCall("CA1", began=datetime.now(UTC) - timedelta(minutes=5))
    await server.publish(old.start(), old.final("inbound-1", 1.0, "Long ago.", "en-US"), old.end(9.0))
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#log .text")).to_have_text("Long ago.")
        new = ScriptedCall("CA1")
        await server.publish(new.start(), new.partial("inbound-1", 1.0, "just now", "en-US", "detected"))
        await expect(page.locator("#log .text")).to_have_text("just now")
        await expect(page.locator("#status")).to_have_text("Live")
        late = old.final("inbound-2", 8.0, "Long ago, and late.", "en-US")
        await server.publish(late, new.final("inbound-1", 1.0, "Just now.", "en-US"))
        await expect(page.locator("#log .text")).to_have_text("Just now.")


async def test_reading_back_stops_following_until_jump_to_live(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    await server.publish(
        call.start(), *(call.final(f"inbound-{n}", n, f"Sentence number {n}.", "en-US") for n in range(1, 60))
    )
    async with opened(browser, server, "CA1") as page:
        last = page.locator("#log .seg").last
        await expect(last).to_be_in_viewport()
        await server.publish(call.final("outbound-1", 70, "Followed.", "en-US"))
        await expect(last).to_contain_text("Followed.")
        await expect(last).to_be_in_viewport()
        await page.locator("#scroll").hover()
        await page.mouse.wheel(0, -900)
        await expect(page.locator("#jump")).to_be_visible()
        await server.publish(call.final("inbound-60", 80, "Not followed.", "en-US"))
        await expect(page.locator("#unread")).to_have_text("(1 new)")
        await expect(last).not_to_be_in_viewport()
        await page.click("#jump")
        await expect(last).to_be_in_viewport()
        await expect(page.locator("#jump")).to_be_hidden()
        await server.publish(call.final("inbound-61", 90, "Followed again.", "en-US"))
        await expect(last).to_contain_text("Followed again.")
        await expect(last).to_be_in_viewport()


async def test_a_lost_stream_is_told_and_made_good(browser: Browser) -> None:
    call = ScriptedCall("CA1")
    before: list[AnyRecord] = [
        call.start(),
        call.final("inbound-1", 1.0, "Before.", "en-US"),
        call.key("inbound", "5", 3.0),
    ]
    async with live_page() as server:
        await server.publish(*before)
        port = server.client.port
        async with opened(browser, server, "CA1", troubles=CUT) as page:
            await expect(page.locator("#log > li")).to_contain_text(["Before.", "pressed 5"])
            await server.client.close()
            await expect(page.locator("#banner")).to_contain_text("Connection lost")
            await expect(page.locator("#link")).to_have_text("Reconnecting")
            async with live_page(port=port) as again:
                await again.publish(*before, call.final("inbound-2", 4.0, "Meanwhile.", "en-US"))
                await page.click("#banner-action")
                await expect(page.locator("#banner")).to_be_hidden()
                await expect(page.locator("#log .text")).to_have_text(["Before.", "Meanwhile."])
                await again.publish(call.final("inbound-3", 8.0, "After.", "en-US"))
                await expect(page.locator("#log > li")).to_contain_text(
                    ["Before.", "pressed 5", "Meanwhile.", "After."]
                )
                await expect(page.locator("#log .event")).to_contain_text(["Customer pressed 5 0:03"])


async def test_a_silent_stream_is_opened_again_by_itself(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: asyncio.Queue[None] = asyncio.Queue()

    async def never(_: PageStream) -> None:
        streams.put_nowait(None)
        await asyncio.Event().wait()

    monkeypatch.setattr(PageStream, "_beat", never)
    config = LiveViewConfig(heartbeat_s=0.2, list_interval_ms=20)
    async with live_page(config) as server, opened(browser, server), asyncio.timeout(20):
        for _ in range(3):
            await streams.get()


async def test_what_is_wrong_with_the_server_is_said_as_long_as_it_is(browser: Browser) -> None:
    warnings = ["sink kafka: away, 7 records wait, the oldest for 12 s"]
    config = LiveViewConfig(heartbeat_s=0.2, list_interval_ms=20)
    async with live_page(config, warnings=lambda: warnings) as server, opened(browser, server) as page:
        await expect(page.locator("#warnings")).to_have_text(warnings[0])
        warnings.clear()
        await expect(page.locator("#warnings")).to_be_hidden()


async def test_without_the_token_the_page_says_what_it_needs(browser: Browser) -> None:
    config = LiveViewConfig(token="open sesame", list_interval_ms=20)
    async with live_page(config) as server:
        await server.publish(ScriptedCall("CA1").start())
        async with opened(browser, server, troubles=frozenset({"401"})) as page:
            await expect(page.locator("#empty-title")).to_have_text("This page needs a token")
            await expect(page.locator("#banner")).to_be_hidden()
            await page.goto(f"{server.url}?token=open%20sesame#call=CA1")
            await expect(page.locator("#status")).to_have_text("Live")
            assert page.url == f"{server.url}#call=CA1"
            assert await page.evaluate("document.cookie") == ""


async def test_through_a_proxy_without_a_token_the_page_says_why_it_shows_nothing(browser: Browser) -> None:
    async with live_page(LiveViewConfig(list_interval_ms=20)) as server:
        await server.publish(ScriptedCall("CA1").start())
        headers = {"X-Forwarded-For": "203.0.113.9"}
        async with opened(browser, server, troubles=frozenset({"403"}), extra_http_headers=headers) as page:
            await expect(page.locator("#empty-text")).to_contain_text("set [liveview] token")
            await expect(page.locator("#banner")).to_be_hidden()


async def test_a_narrow_window_shows_one_pane_at_a_time(browser: Browser, server: LivePageServer) -> None:
    call = ScriptedCall("CA1")
    async with opened(browser, server, width=420) as page:
        await expect(page.locator("#empty-title")).to_have_text("No calls yet")
        await server.publish(call.start(), call.final("inbound-1", 1.0, "Hello " * 60, "en-US"))
        await expect(page.locator("#active .row")).to_be_visible()
        await expect(page.locator("#conversation")).to_be_hidden()
        await page.click("#active .row")
        await expect(page.locator("#log .text")).to_be_visible()
        await expect(page.locator("#active .row")).to_be_hidden()
        assert await page.evaluate("document.documentElement.scrollWidth") == 420
        await page.click("#back")
        await expect(page.locator("#active .row")).to_be_visible()


async def test_a_long_call_among_many_changes_only_what_changed(browser: Browser, server: LivePageServer) -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    call = ScriptedCall("CA1", began=began)
    others = [ScriptedCall(f"other {n}", began=began + timedelta(seconds=n)) for n in range(200)]
    await server.publish(
        call.start(),
        *(
            call.final(f"{'inbound' if n % 3 else 'outbound'}-{n}", 4.0 * n, f"Sentence {n}.", "en-US")
            for n in range(500)
        ),
        *(other.start() for other in others),
    )
    async with opened(browser, server, "CA1") as page:
        await expect(page.locator("#log .seg")).to_have_count(500)
        await expect(page.locator("#active .row")).to_have_count(201)
        await page.evaluate(
            """() => {
                window.touched = new Set();
                const note = (one) => {
                    const node = one.target.nodeType === 1 ? one.target : one.target.parentElement;
                    if (node.matches(".time, .clock, .quiet")) return;
                    touched.add(node.closest("#log > li, #active > li") ?? node);
                };
                new MutationObserver((all) => all.forEach(note)).observe(document.querySelector("#panes"), {
                    subtree: true, childList: true, characterData: true, attributes: true,
                });
            }"""
        )
        for n in range(5):
            await server.publish(call.partial("inbound-last", 2100.0, "word " * (n + 1), "en-US", "detected"))
        await server.publish(call.final("inbound-last", 2100.0, "The last words.", "en-US"))
        await expect(page.locator("#active .row").last).to_contain_text("The last words.")
        await expect(page.locator("#segment-inbound-last")).to_be_in_viewport()
        touched = "[...touched].map((node) => node.id || node.className)"
        assert sorted(await page.evaluate(touched)) == ["log", "row", "segment-inbound-last"]
