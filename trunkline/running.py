"""What `trunkline serve` does between ready and stopped: it waits for signals, and for the end of what it cannot do
without."""

import asyncio
import logging
from collections.abc import Callable

from supervision.signals import handle_signals
from trunkline.config import Config
from trunkline.errors import ConfigError
from trunkline.logs import set_up_logging
from trunkline.server import Server

logger = logging.getLogger("trunkline")


class Running:
    """`load`: the configuration as it is now. From here on no signal ends the process out of turn."""

    def __init__(self, server: Server, load: Callable[[], Config]) -> None:
        self._server, self._load = server, load
        self._stop = asyncio.Event()
        handle_signals(self._on_stop, self._on_reload)

    async def until_stopped(self) -> int:
        """Returns the exit code: 1 where something has ended without which no call is heard."""
        events = (self._stop, self._server.broken)
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._stop.is_set():
            logger.info("stopping")
            return 0
        logger.critical("stopping, as no call can be heard: %s", self._server.problems())
        return 1

    def _on_stop(self) -> None:
        if self._stop.is_set():
            logger.warning("told to stop again: running calls are ended now")
            self._server.hurry()
        self._stop.set()

    def _on_reload(self) -> None:
        self._server.supervisor.spawn(self._reload(), "reload")

    async def _reload(self) -> None:
        done = await self._server.reload()
        try:
            server = self._load().server
        except ConfigError as error:
            done.append(f"as before: {error}")
        else:
            set_up_logging(server.log_level, show_pii=server.log_pii)
            done.append(f"log level {server.log_level}")
        logger.warning("SIGHUP: %s; what else has changed in the configuration needs a restart", "; ".join(done))
