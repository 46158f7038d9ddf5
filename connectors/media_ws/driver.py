"""The one WebSocket driver of all media dialects: who is let in, and that every call ends in order.

A socket that has not started a stream is pending; the number of those and their time are bounded. What one peer says is
for `connection` and the dialect's core. A call's last words come out in a task of their own, whatever becomes of the
socket or of the request that served it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiohttp import WSCloseCode, hdrs, web

from connectors.media_ws.calls import CallBindings
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.connection import MediaConnection
from connectors.media_ws.events import MediaDialect
from connectors.media_ws.socket import MediaSocket
from connectors.origin import may_use

logger = logging.getLogger(__name__)


class MediaWebSocket:
    """Serves one dialect on one path. `authorize(request)`: whether the upgrade is genuine; None takes every one but
    those of web pages, of which it takes its own and those of `origins` (`connectors.origin`, also for `public_url`).
    """

    def __init__(
        self,
        path: str,
        dialect: Callable[[], MediaDialect],
        bindings: CallBindings,
        limits: MediaLimits,
        authorize: Callable[[web.Request], bool] | None = None,
        *,
        origins: Sequence[str] = (),
        public_url: str | None = None,
    ) -> None:
        self.stats = bindings.stats
        self.supervisor = bindings.supervisor
        self._path, self._dialect, self._bindings = path, dialect, bindings
        self._limits, self._authorize = limits, authorize
        self._origins, self._public_url = tuple(origins), public_url
        self._sockets: dict[MediaSocket, asyncio.Task[None] | None] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        slash = [] if self._path.endswith("/") else [web.get(f"{self._path}/", self.handle)]  # people add one
        return [web.get(self._path, self.handle), *slash]

    async def start(self) -> None:
        """Its routes are served as soon as they are added."""

    def drain(self) -> None:
        """New streams are refused by the calls, which drain themselves."""

    def reload(self) -> list[str]:
        """There is nothing to read again."""
        return []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One peer, from its upgrade to the end of its stream."""
        stats, limits = self.stats, self._limits
        self._admit(request)
        if self._closed:
            raise web.HTTPServiceUnavailable(text="shutting down\n")
        if stats.pending >= limits.max_pending:
            stats.crowded += 1
            raise web.HTTPServiceUnavailable(text="too many sockets without a stream\n", headers={"Retry-After": "1"})
        ws = MediaSocket(
            timeout=limits.close_timeout_s,
            heartbeat=limits.heartbeat_s,
            max_msg_size=limits.max_message_bytes,
            compress=False,
        )
        await self._upgrade(ws, request)
        stats.upgrades += 1
        connection = MediaConnection(ws, self._dialect(), self._bindings, limits)
        self._sockets[ws] = asyncio.current_task()
        try:
            await connection.run()
        finally:
            del self._sockets[ws]
            ending = self.supervisor.spawn(connection.end(), "end of a stream")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        await connection.close()
        await asyncio.shield(ending)
        return ws

    def _admit(self, request: web.Request) -> None:
        """Raises `HTTPForbidden`."""
        stats = self.stats
        if self._authorize is not None:
            if not self._authorize(request):
                stats.unsigned += 1
                problem = "signature missing or wrong; behind a proxy, is the public URL configured?"
                logger.log(_once(stats.unsigned), "%s: %s", self._path, problem)
                raise web.HTTPForbidden(text="signature missing or wrong\n")
        elif not may_use(request, self._origins, self._public_url):
            stats.foreign_origins += 1
            origin = request.headers.get(hdrs.ORIGIN)
            problem = "refused a web page of %s: if it may stream, name it in origins"
            logger.log(_once(stats.foreign_origins), "%s: " + problem, self._path, origin)
            raise web.HTTPForbidden(text="pages of this origin may not stream here\n")

    async def _upgrade(self, ws: MediaSocket, request: web.Request) -> None:
        """Raises `HTTPBadRequest` where the request is no upgrade to a WebSocket, whatever else it is."""
        try:
            await ws.prepare(request)
        except (web.HTTPBadRequest, ValueError) as error:  # ValueError: of bytes that are no text in its headers
            if ws.prepared:
                raise
            self.stats.bad_upgrades += 1
            logger.log(_once(self.stats.bad_upgrades), "%s: a request that is no WebSocket upgrade", self._path)
            raise web.HTTPBadRequest(text="not an upgrade to a WebSocket (RFC 6455, section 4.2.1)\n") from error

    async def close(self) -> None:
        """Take no more sockets, close every one (1001, going away) and wait until their calls have ended."""
        self._closed = True
        handlers = [task for task in self._sockets.values() if task is not None]
        closing = (ws.close(code=WSCloseCode.GOING_AWAY) for ws in list(self._sockets))
        await asyncio.gather(*closing, return_exceptions=True)
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.gather(*self._ending, return_exceptions=True)


def _once(count: int) -> int:
    """The level for what anybody can bring about as often as they like; the rest is in the counter."""
    return logging.WARNING if count == 1 else logging.DEBUG
