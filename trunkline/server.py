"""The server: every part made from its section of the configuration, on one port.

One aiohttp application has the media WebSockets, the live page with its API, health and metrics.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from connectors.calls import CallRegistry
from connectors.connector import Connector
from connectors.media_ws import twilio
from engine import AUTO
from engine.chunking import DEFAULT_CHUNK_MS, nearest_class
from engine.errors import EngineError, UnknownLocale
from engine.remote import RemoteEngine
from liveview.access import COOKIE, Access
from liveview.api import LivePage
from liveview.attempts import AccessStats, WrongTokens
from liveview.errors import LiveViewError
from liveview.microphone import Microphone
from pipeline.bots import Bot, load_bot
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from pipeline.turns.detector import TurnDetector
from sinks.errors import SinkError
from sinks.sink import Sink
from sinks.spool import REFUSED
from supervision import Supervisor
from trunkline.config import Config, ServerConfig
from trunkline.connections import Connections, HttpSite, mark_requests
from trunkline.descriptors import descriptor_limit
from trunkline.destinations import Destinations, make_destinations
from trunkline.doors import ServerLog, refuse_expectations, through_proxies
from trunkline.errors import AddressInUse
from trunkline.metrics import Metrics

if TYPE_CHECKING:
    from engine.engine import Engine

logger = logging.getLogger(__name__)


TICKS = "ticks"
"""The task that feeds every leg's audio to the recogniser."""

_WATCH_S = 1.0
"""How often the server asks its parts whether they work."""


class Server:
    """All running parts. `extra_sinks` get the records beside the configured ones. `destinations`: all that get
    them, and `bots`: all that attend calls, of a caller that has made them before the engine was loaded.

    They are made from where the records go to where the calls come from: sinks, calls, connectors, pages. `running`
    starts them in that order, the engine before the calls, the connectors last, and stops them in the opposite one.

    `broken`: set once something has ended without which no call is transcribed; the process is of no use any more.
    """

    def __init__(
        self,
        config: Config,
        engine: "Engine | RemoteEngine",
        extra_sinks: Sequence[Sink] = (),
        *,
        destinations: Destinations | None = None,
        bots: Sequence[Bot] | None = None,
    ) -> None:
        if config.pipeline.language not in engine.languages:
            known = ", ".join(sorted(engine.languages - {AUTO}))
            raise UnknownLocale(f"[pipeline] language = {config.pipeline.language!r}: use 'auto' or one of {known}")
        pipeline = _with_chunks(config.pipeline, engine.chunks_ms)
        engine.reserve(pipeline.chunk_ms)
        self.engine = engine
        self._config = config

        self._destinations = destinations or make_destinations(config, extra_sinks)
        self.view = self._destinations.view
        self.fanout = self._destinations.fanout
        self.turns = TurnDetector.installed(pipeline.turns)
        made = [load_bot(plugin) for plugin in config.bots.plugins] if bots is None else bots
        self.calls = Calls(engine, self.fanout.publish, pipeline, turns=self.turns, bots=made)
        self.connectors = _connectors(self.calls, config)

        self._http = AccessStats()
        self._access = Access(config.liveview.token, loopback=config.server.is_loopback, stats=self._http)
        self._page = LivePage(self.view, config.liveview, _microphone(config), self._access, self.warnings)
        self._connections = _connections(config.server)

        self.supervisor = Supervisor()
        self.supervisor.include(engine.supervisor, self.calls.supervisor, self.fanout.supervisor, self._page.supervisor)
        if self._destinations.redis_view is not None:
            self.supervisor.include(self._destinations.redis_view.supervisor)
        self.supervisor.include(*(connector.supervisor for connector in self.connectors.values()))
        self.metrics = Metrics(
            engine,
            self.calls,
            self.fanout,
            {name: connector.stats for name, connector in self.connectors.items()},
            self.supervisor,
            self._http,
            self._connections.stats,
        )
        self.broken = asyncio.Event()
        self._ready = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve while entered; yields the base URL. On leaving, running calls get `drain_s` to end, their last words
        go out, then everything stops. Raises `AddressInUse`, `SipUnavailable`, `SinkMisconfigured`."""
        config = self._config.server
        listener = _listen(config.host, config.port)
        log = ServerLog(self._http)
        runner = web.AppRunner(self._application(), shutdown_timeout=2.0, access_log=None, logger=log)
        async with contextlib.AsyncExitStack() as stack:  # what is entered or pushed last ends first
            stack.callback(listener.close)
            await self.fanout.start()
            stack.push_async_callback(self._close_sinks)
            stack.enter_context(self.engine)
            if self.turns is not None:
                stack.callback(self.turns.close)
            stack.enter_context(self.supervisor.catching_strays())
            stack.push_async_callback(self.calls.bots.close)
            ticking = self.calls.supervisor.keep(self.calls.run(), TICKS)
            stack.callback(ticking.cancel)
            watching = self.supervisor.keep(self._watch_problems(), "watch")
            stack.callback(watching.cancel)
            await runner.setup()
            assert runner.server is not None
            refuse_expectations(runner.server)
            stack.push_async_callback(runner.cleanup)
            await HttpSite(runner, listener, self._connections, access_log=None, logger=log).start()
            for connector in reversed(self.connectors.values()):
                await connector.start()
                stack.push_async_callback(connector.close)
            stack.push_async_callback(self._drain)
            self._ready = True
            yield f"http://{config.host}:{listener.getsockname()[1]}"

    def problems(self) -> dict[str, str]:
        """What of the server does not work, and why, in one line each. It takes no calls while there is anything."""
        found = self.supervisor.failures
        failure = self.engine.failure
        if failure is not None:
            found["engine"] = " ".join(str(failure).split()) or type(failure).__name__
        return found

    def warnings(self) -> list[str]:
        """What of the delivery is not as it should be, a line each. How many letters wait in a topic only the broker
        knows, so of those it is said what went there."""
        found = self.fanout.warnings()
        kafka = self._config.kafka
        if kafka is not None and kafka.dead_letters_topic:
            refused = self.fanout.deliveries["kafka"].dead_lettered[REFUSED]
            if refused:
                found.append(f"sink kafka: {refused} refused since the start: see its topic of dead letters")
        return found

    def hurry(self) -> None:
        """Calls that still run when the server stops are ended at once."""
        self.calls.hurry()

    async def reload(self) -> list[str]:
        """Take up again what may have been changed from outside while the calls go on: the file of records is opened
        anew (logrotate), certificates are read again. Returns what was done, or could not be, in a line each."""
        done = []
        jsonl = self._destinations.jsonl
        if jsonl is not None:
            try:
                await jsonl.reopen()
                done.append(f"{self._config.jsonl.path} is opened anew")
            except SinkError as error:
                done.append(f"as before: {error}")
        for connector in self.connectors.values():
            done += connector.reload()
        return done

    async def _watch_problems(self) -> None:
        """Log what has come to be wrong, or right again, and set `broken` where there is nothing left to do."""
        known: dict[str, str] = {}
        while True:
            await asyncio.sleep(_WATCH_S)
            found = self.problems()
            for name in found.keys() - known.keys():
                logger.error("not ready: %s: %s", name, found[name])
            for name in known.keys() - found.keys():
                logger.info("ready again: %s", name)
            known = found
            if TICKS in found or _is_final(self.engine.failure):
                self.broken.set()

    async def _drain(self) -> None:
        """Wait for the calls that run, while no new ones are taken."""
        self._ready = False
        for connector in self.connectors.values():
            connector.drain()
        if self.calls.active:
            logger.info("%d calls are running: waiting up to %g s", self.calls.active, self._config.server.drain_s)
        await self.calls.drain(self._config.server.drain_s)

    async def _close_sinks(self) -> None:
        await self.fanout.close(timeout_s=15.0)
        if self._destinations.redis_view is not None:
            await self._destinations.redis_view.close()

    def _application(self) -> web.Application:
        wrong_tokens = WrongTokens(self._http).middleware(COOKIE)
        application = web.Application(middlewares=[mark_requests, wrong_tokens, through_proxies(self._config)])
        for connector in self.connectors.values():
            application.add_routes(connector.routes())
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.get("/metrics", self._metrics_page),
            ]
        )
        self._page.install(application)
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        if not self._ready:
            return web.Response(status=503, text="draining\n")
        problems = "".join(f"not ready: {name}: {why}\n" for name, why in self.problems().items())
        if problems:
            return web.Response(status=503, text=problems)
        warnings = "".join(f"warning: {warning}\n" for warning in self.warnings())
        return web.Response(text=f"ready\n{warnings}")

    async def _metrics_page(self, request: web.Request) -> web.Response:
        """Open to whoever reaches this server itself; from outside, through a proxy, as transcripts are."""
        try:
            self._access.check_forwarded(request)
        except LiveViewError as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            return web.Response(status=error.status, text=f"{error}\n", headers=headers)
        return web.Response(body=self.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})


def _with_chunks(config: PipelineConfig, classes_ms: Collection[int]) -> PipelineConfig:
    """The default latency class gives way to the nearest that the checkpoint has; one that was chosen does not."""
    if config.chunk_ms != DEFAULT_CHUNK_MS or config.chunk_ms in classes_ms:
        return config
    nearest = nearest_class(config.chunk_ms, classes_ms)
    logger.warning("this checkpoint has no chunks of %d ms, the default: legs run at %d ms", config.chunk_ms, nearest)
    return msgspec.structs.replace(config, chunk_ms=nearest)


def _connectors(calls: CallRegistry, config: Config) -> dict[str, Connector]:
    """By name, in the order in which they close. A library is loaded where its connector is configured only."""
    made: dict[str, Connector] = {"twilio": twilio(calls, config.twilio)}
    if config.webrtc is not None:
        from connectors.webrtc.peer import WebRtcConnector  # noqa: PLC0415

        made["webrtc"] = WebRtcConnector(calls, config.webrtc)
    if config.sip is not None:
        from connectors.sip.connector import SipConnector  # noqa: PLC0415

        made["sip"] = SipConnector(calls, config.sip)
    return made


def _is_final(failure: Exception | None) -> bool:
    """The engine has failed, and will not work again."""
    return failure is not None and not (isinstance(failure, EngineError) and failure.retryable)


def _connections(config: ServerConfig) -> Connections:
    most = config.max_connections or descriptor_limit() * 3 // 4
    return Connections(
        head_s=config.request_head_s,
        most=most,
        most_per_address=config.max_connections_per_address or max(most // 2, 1),
    )


def _microphone(config: Config) -> Microphone | None:
    """Where the microphone page speaks to, if WebRTC is taken."""
    webrtc = config.webrtc
    if webrtc is None:
        return None
    servers = [
        {"urls": one.url} | {k: v for k, v in (("username", one.username), ("credential", one.credential)) if v}
        for one in webrtc.ice_servers
    ]
    return Microphone(webrtc.path, webrtc.token, servers)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), backlog=512, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"port {port} on {host} is taken: stop what uses it, or choose another port") from error
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
