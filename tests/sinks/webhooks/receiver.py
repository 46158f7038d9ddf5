"""A real receiver of webhooks: an HTTP server that verifies what comes with the specification's own library."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0LW9mLXdlYmhvb2tzLWluLXRlc3Rz"

Answer = Callable[[dict[str, Any]], int | web.StreamResponse | None]


class Receiver:
    """`answer`: the status for a record, or None to cut the connection. `seen`: records in the order in which they
    came; `taken`: those that were answered with a 2xx. `delay_s`: before each answer."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda _record: 200)
        self.seen: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.delay_s = 0.0
        self.at_once = self.most_at_once = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        record: dict[str, Any] = Webhook(SECRET).verify(body, dict(request.headers))
        assert json.loads(body) == record
        self.seen.append(record)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.at_once -= 1
        answer = self.answer(record)
        if answer is None:
            self.taken.append(record)  # it had it, and the sender does not know
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, web.StreamResponse):
            return answer
        if 200 <= answer < 300:
            self.taken.append(record)
        return web.Response(status=answer)

    def ids(self, call_id: str | None = None) -> list[str]:
        """Of the records that were taken, each once, in the order in which they came first."""
        return list(dict.fromkeys(one["event_id"] for one in self.taken if call_id in (None, one["call_id"])))

    @asynccontextmanager
    async def running(self, port: int | None = None, ssl: SSLContext | None = None) -> AsyncIterator["Receiver"]:
        application = web.Application()
        application.router.add_post("/{path:.*}", self.handle)
        server = TestServer(application, port=port, scheme="http" if ssl is None else "https")
        await server.start_server(ssl=ssl)
        self.url = f"{server.scheme}://localhost:{server.port}/hook"
        try:
            yield self
        finally:
            await server.close()
