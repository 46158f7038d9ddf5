"""The one WebSocket driver of all media dialects: who is let in, and that every call ends in order.

A socket that has not started a stream is pending; the number of those and their time are bounded. What one peer says is
for `peer` and the dialect's core. A call's last words come out in a task of their own, whatever becomes of the socket
or of the request that served it.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import WSCloseCode, web

from connectors.media_ws.bindings import CallBindings
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import Dialect
from connectors.media_ws.peer import Peer
from connectors.media_ws.socket import MediaSocket

logger = logging.getLogger(__name__)


class MediaWebSocket:
    """Serves one dialect on one path. `authorize(request)`: whether the upgrade is genuine; None takes every one."""

    def __init__(
        self,
        path: str,
        dialect: Callable[[], Dialect],
        bindings: CallBindings,
        limits: MediaLimits,
        authorize: Callable[[web.Request], bool] | None = None,
    ) -> None:
        self.stats = bindings.stats
        self.supervisor = bindings.supervisor
        self._path, self._dialect, self._bindings = path, dialect, bindings
        self._limits, self._authorize = limits, authorize
        self._sockets: dict[MediaSocket, asyncio.Task[None] | None] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get(self._path, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One peer, from its upgrade to the end of its stream."""
        stats, limits = self.stats, self._limits
        if self._authorize is not None and not self._authorize(request):
            stats.unsigned += 1
            level = logging.WARNING if stats.unsigned == 1 else logging.DEBUG  # anybody can send these
            logger.log(
                level, "%s: signature missing or wrong; behind a proxy, is the public URL configured?", self._path
            )
            raise web.HTTPForbidden(text="signature missing or wrong\n")
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
        await ws.prepare(request)
        stats.upgrades += 1
        peer = Peer(ws, self._dialect(), self._bindings, limits)
        self._sockets[ws] = asyncio.current_task()
        try:
            await peer.run()
        finally:
            del self._sockets[ws]
            ending = self.supervisor.spawn(peer.end(), "end of a stream")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        await peer.close()
        await asyncio.shield(ending)
        return ws

    async def close(self) -> None:
        """Take no more sockets, close every one (1001, going away) and wait until their calls have ended."""
        self._closed = True
        handlers = [task for task in self._sockets.values() if task is not None]
        closing = (ws.close(code=WSCloseCode.GOING_AWAY) for ws in list(self._sockets))
        await asyncio.gather(*closing, return_exceptions=True)
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.gather(*self._ending, return_exceptions=True)
