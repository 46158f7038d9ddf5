"""A real Chromium for the page's tests, and a page in it that is watched."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.liveview.server import LivePageServer

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

BEFORE_SCRIPTS = """
    window.policyViolations = [];
    addEventListener("securitypolicyviolation", (event) => policyViolations.push(event.violatedDirective));
"""


@asynccontextmanager
async def chromium(*arguments: str) -> AsyncIterator[Browser]:
    """With these arguments beside the usual ones. Skips the test, in CI fails it, where Chromium is missing."""
    if shutil.which(CHROMIUM) is None:
        reason = f"{CHROMIUM} is missing: install the package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    server: LivePageServer,
    call_id: str | None = None,
    *,
    width: int = 1280,
    troubles: frozenset[str] = frozenset(),
    **context: Any,
) -> AsyncIterator[Page]:
    """The page in a window of its own.

    At its end it must have made no request to another origin, shown no error but those that contain one of
    `troubles`, and violated no Content-Security-Policy.
    """
    origin = server.url
    page = await browser.new_page(viewport={"width": width, "height": 800}, **context)
    page.set_default_timeout(10_000)
    requested: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    await page.add_init_script(BEFORE_SCRIPTS)
    try:
        await page.goto(origin + (f"#call={call_id}" if call_id else ""))
        await page.wait_for_selector("#link[data-state=live], #link[data-state=refused]")
        yield page
        assert [url for url in requested if not url.startswith(origin)] == []
        assert [error for error in errors if not any(one in error for one in troubles)] == []
        assert await page.evaluate("policyViolations") == []
    finally:
        await page.close()
