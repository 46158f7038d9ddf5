"""The microphone page in a real Chromium that speaks by WebRTC to the real connector and the demo model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from connectors.webrtc.config import WebRtcConfig
from liveview.api import LiveViewConfig
from sinks.record import CallAction
from tests.liveview.browser import BEFORE_SCRIPTS, chromium
from tests.liveview.mic_server import MicServer, agent_speech, mic_server, write_wav
from tests.liveview.server import live_page
from trunkline.wer import word_errors

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES = 2
TOKEN = "page-token"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Its microphone hears the agent of the demo call, once, each time it is opened."""
    path: Path = tmp_path_factory.mktemp("mic") / "agent.wav"
    write_wav(str(path), agent_speech(LINES)[0])
    async with chromium(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}%noloop",
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[MicServer]:
    async with mic_server(WebRtcConfig(token="whip-token")) as running:
        yield running


@asynccontextmanager
async def mic_page(
    browser: Browser, url: str, *, troubles: tuple[str, ...] = (), before: str = ""
) -> AsyncIterator[Page]:
    """The page at `url`. At its end it must have shown no error but `troubles` and violated no policy."""
    page = await browser.new_page(viewport={"width": 1000, "height": 700})
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    await page.add_init_script(BEFORE_SCRIPTS + before)
    try:
        await page.goto(url)
        yield page
        assert [error for error in errors if not any(one in error for one in troubles)] == []
        assert await page.evaluate("policyViolations") == []
    finally:
        await page.close()


async def start(page: Page) -> None:
    await page.click("#talk")
    await expect(page.locator("#link")).to_have_text("On air")


async def test_what_is_said_is_read_and_stopping_brings_the_last_words(browser: Browser, server: MicServer) -> None:
    pcm, said = agent_speech(LINES)
    ended = len(server.steps(CallAction.END))
    async with mic_page(browser, f"{server.url}mic") as page:
        await start(page)
        await asyncio.sleep(pcm.size / 48_000 + 0.2)
        await expect(page.locator("#log .seg").first).to_have_attribute("data-final", "true")
        await page.click("#talk")
        await expect(page.locator("#talk")).to_have_attribute("data-state", "idle")
        await expect(page.locator("#log > li").last).to_contain_text("Call ended")
        shown = " ".join(await page.locator("#log .seg:visible .text").all_inner_texts())
        assert word_errors(said, shown).rate <= 0.3
        assert await page.locator("#log .seg[data-final=false]:visible").count() == 0
        await expect(page.locator("#link")).to_have_text("Not speaking")
    end = server.steps(CallAction.END)[ended]
    of_call = [record for record in server.records if record.call_id == end.call_id]
    assert of_call[-1] is end
    assert of_call[-2] is server.finals[-1]
    assert (end.reason, end.connector, end.from_) == ("completed", "webrtc", "Microphone")
    assert end.statistics is not None
    assert end.statistics.lost == 0
    assert " ".join(final.transcript for final in server.finals if final.call_id == end.call_id) == shown


async def test_another_role_can_be_chosen_and_the_microphone_muted(browser: Browser, server: MicServer) -> None:
    async with mic_page(browser, f"{server.url}mic") as page:
        await page.select_option("#role", "customer")
        await start(page)
        await expect(page.locator("#legs li")).to_contain_text("Customer")
        await expect(page.locator("#role")).to_be_disabled()
        await page.click("#mute")
        await expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#link")).to_have_text("Muted")
        await page.click("#mute")
        await expect(page.locator("#link")).to_have_text("On air")
        await page.click("#talk")
        await expect(page.locator("#talk")).to_have_attribute("data-state", "idle")
        await expect(page.locator("#mute")).to_be_hidden()


async def test_leaving_the_page_ends_the_call(browser: Browser, server: MicServer) -> None:
    ended = len(server.steps(CallAction.END))
    async with mic_page(browser, f"{server.url}mic") as page:
        await start(page)
        await page.goto("about:blank")
        await page.evaluate("policyViolations = []")
        async with asyncio.timeout(10):
            while len(server.steps(CallAction.END)) == ended:  # noqa: ASYNC110 - the records are a plain list
                await asyncio.sleep(0.02)


async def test_a_call_that_the_server_ends_frees_the_microphone(browser: Browser, server: MicServer) -> None:
    async with mic_page(browser, f"{server.url}mic", troubles=("404",)) as page:
        await start(page)
        (call,) = server.calls._calls.values()
        await call.end("ended by the supervisor")
        await expect(page.locator("#talk")).to_have_attribute("data-state", "idle")
        await expect(page.locator("#log > li").last).to_contain_text("ended by the supervisor")


async def test_a_full_server_says_so(browser: Browser) -> None:
    async with (
        mic_server(max_sessions=1) as server,
        mic_page(browser, f"{server.url}mic") as first,
        mic_page(browser, f"{server.url}mic", troubles=("503",)) as second,
    ):
        await start(first)
        await second.click("#talk")
        await expect(second.locator("#banner")).to_contain_text("no room")
        await expect(second.locator("#talk")).to_have_attribute("data-state", "idle")
        await expect(second.locator("#empty")).to_be_visible()
        await expect(second.locator("#conversation")).to_be_hidden()
        await first.click("#talk")
        await expect(first.locator("#talk")).to_have_attribute("data-state", "idle")


@pytest.mark.parametrize(
    ("fault", "words"), [("NotAllowedError", "did not allow"), ("NotFoundError", "No microphone was found")]
)
async def test_without_a_microphone_the_page_says_why(
    browser: Browser, server: MicServer, fault: str, words: str
) -> None:
    refuse = f'navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "{fault}"));'
    async with mic_page(browser, f"{server.url}mic", before=refuse) as page:
        await page.click("#talk")
        await expect(page.locator("#banner")).to_contain_text(words)
        await expect(page.locator("#talk")).to_have_text("Start speaking")


async def test_without_webrtc_the_page_says_what_is_missing(browser: Browser) -> None:
    async with live_page() as server, mic_page(browser, f"{server.url}mic", troubles=("404",)) as page:
        await page.click("#talk")
        await expect(page.locator("#banner")).to_contain_text("[webrtc]")


async def test_the_live_page_links_to_the_microphone_where_there_is_webrtc(browser: Browser, server: MicServer) -> None:
    async with mic_page(browser, server.url) as page:
        await page.click("text=Microphone")
        await expect(page.locator("#talk")).to_have_text("Start speaking")
        assert page.url == f"{server.url}mic"
    async with live_page() as without, mic_page(browser, without.url) as page:
        await expect(page.locator("#link")).to_have_text("Connected")
        await expect(page.locator("#mic")).to_be_hidden()


async def test_without_the_token_the_page_says_what_it_needs(browser: Browser) -> None:
    async with (
        mic_server(liveview=LiveViewConfig(token=TOKEN)) as server,
        mic_page(browser, f"{server.url}mic", troubles=("401",)) as page,
    ):
        await page.click("#talk")
        await expect(page.locator("#banner")).to_contain_text("token")
        await page.goto(f"{server.url}mic?token={TOKEN}")
        assert page.url == f"{server.url}mic"
        await start(page)
        await page.click("#talk")
        await expect(page.locator("#talk")).to_have_attribute("data-state", "idle")


async def test_only_this_page_may_listen(server: MicServer) -> None:
    async with server.client.get("/mic") as page, server.client.get("/") as calls:
        assert "microphone=(self)" in page.headers["Permissions-Policy"]
        assert "microphone=()" in calls.headers["Permissions-Policy"]
        assert page.headers["Content-Security-Policy"] == calls.headers["Content-Security-Policy"]


async def test_the_endpoint_is_told_to_those_who_may_read(server: MicServer) -> None:
    async with server.client.get("/api/mic") as answer:
        assert await answer.json() == {"whip": "/whip", "token": "whip-token", "ice_servers": []}
        assert answer.headers["Cache-Control"] == "no-store"
    async with live_page(LiveViewConfig(token=TOKEN)) as locked, locked.client.get("/api/mic") as refused:
        assert refused.status == 401


async def test_the_cookie_of_this_page_is_good_for_all(server: MicServer) -> None:
    async with live_page(LiveViewConfig(token=TOKEN)) as locked:
        async with locked.client.get(f"/mic?token={TOKEN}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/mic")
            (cookie,) = answer.cookies.values()
            assert cookie["path"] == "/"
        async with locked.client.get("/mic?token=wrong", allow_redirects=False) as wrong:
            assert (wrong.status, dict(wrong.cookies)) == (401, {})
