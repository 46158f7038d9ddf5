"""A view that can be away for a while, as Redis can."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sinks.live import CallSnapshot, LiveView


class ServerAway(Exception):
    retryable = True


class FailingView:
    """`error`: what every access raises; None: it is there."""

    def __init__(self) -> None:
        self.live = LiveView()
        self.error: Exception | None = None
        self.tries = 0

    async def calls(self) -> list[dict[str, Any]]:
        self._fail()
        return await self.live.calls()

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        self._fail()
        return await self.live.snapshot(call_id)

    @asynccontextmanager
    async def subscribe(self, call_id: str | None = None) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        self._fail()
        async with self.live.subscribe(call_id) as records:
            yield records

    def _fail(self) -> None:
        if self.error is not None:
            self.tries += 1
            raise self.error
