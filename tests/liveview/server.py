"""A live page over an in-process view, served on a loopback port for one test."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from liveview.api import LiveViewConfig, create_app
from sinks.live import LiveView, View
from sinks.record import AnyRecord


@dataclass
class LivePageServer:
    """`client` speaks to the page's server; what `publish` gets is in the view."""

    client: TestClient[Any, Any]
    view: LiveView

    async def publish(self, *records: AnyRecord) -> None:
        await self.view.write(list(records))

    @property
    def url(self) -> str:
        return str(self.client.make_url("/"))


@asynccontextmanager
async def live_page(
    config: LiveViewConfig | None = None,
    *,
    view: View | None = None,
    port: int | None = None,
    warnings: Callable[[], Sequence[str]] = list,
) -> AsyncIterator[LivePageServer]:
    """Serves a fresh `LiveView`, or `view` in its place."""
    live = LiveView()
    app = create_app(view or live, config or LiveViewConfig(list_interval_ms=20), warnings=warnings)
    server = TestServer(app, port=port)
    async with TestClient(server) as client:
        yield LivePageServer(client, live)


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    id: str | None


async def events(response: ClientResponse) -> AsyncGenerator[Event, None]:
    """The events of a stream, in order, as long as it lasts."""
    fields: dict[str, str] = {}
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


async def next_of(kind: str, stream: AsyncIterator[Event]) -> Event:
    """The next event of one kind; those before it are read over."""
    async for event in stream:
        if event.kind == kind:
            return event
    raise AssertionError(f"the stream ended without a {kind}")


async def take(count: int, kind: str, stream: AsyncIterator[Event]) -> Sequence[Event]:
    return [await next_of(kind, stream) for _ in range(count)]
