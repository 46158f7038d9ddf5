from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from connectors.media_ws import MediaWebSocket, TwilioConfig, twilio
from tests.connectors.fakes import FakeCalls


@dataclass
class Server:
    """A real HTTP server with the Twilio connector on it. `url`: of the WebSocket endpoint."""

    calls: FakeCalls
    connector: MediaWebSocket
    url: str
    session: aiohttp.ClientSession

    async def connect(self, **headers: str) -> aiohttp.ClientWebSocketResponse:
        return await self.session.ws_connect(self.url, headers=headers, max_msg_size=0)


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers; `serve(config)` gives one that runs until the test ends."""
    runners: list[tuple[web.AppRunner, MediaWebSocket]] = []
    async with aiohttp.ClientSession() as session:

        async def start(config: TwilioConfig | None = None) -> Server:
            calls = FakeCalls()
            connector = twilio(calls, config or TwilioConfig())
            app = web.Application()
            app.add_routes(connector.routes())
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            runners.append((runner, connector))
            host, port = runner.addresses[0][:2]
            return Server(calls, connector, f"ws://{host}:{port}{(config or TwilioConfig()).path}", session)

        yield start
        for runner, connector in runners:
            await connector.close()
            await runner.cleanup()
