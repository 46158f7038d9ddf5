"""The server: every part made from its section of the configuration, on one port.

One aiohttp application has the media WebSockets, the live page with its API, health and metrics.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

import sinks
from connectors.media_ws import MediaWebSocket, twilio
from connectors.stats import ConnectorStats
from engine import AUTO
from engine.chunking import DEFAULT_CHUNK_MS, nearest_class
from engine.errors import UnknownLocale
from engine.remote import RemoteEngine
from liveview.access import COOKIE, Access
from liveview.api import LivePage
from liveview.attempts import AccessStats, WrongTokens
from liveview.errors import LiveViewError
from liveview.microphone import Microphone
from pipeline.call import Calls
from pipeline.config import PipelineConfig
from sinks.errors import SinkError
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import LiveView, View
from sinks.sink import Sink
from supervision import Supervisor
from trunkline.config import Config, EngineConfig, ServerConfig
from trunkline.connections import Connections, HttpSite, mark_requests
from trunkline.descriptors import descriptor_limit
from trunkline.doors import ServerLog, refuse_expectations, through_proxies
from trunkline.errors import AddressInUse, ConfigError
from trunkline.metrics import Metrics

if TYPE_CHECKING:
    from connectors.sip.connector import SipConnector
    from connectors.webrtc.peer import WebRtcConnector
    from engine.engine import Engine

logger = logging.getLogger(__name__)


def load_engine(config: EngineConfig, *, serving: bool = False, chunk_ms: int | None = None) -> "Engine":
    """The engine of the configured checkpoint, in this process, not started yet. `serving`: it hears calls, which it
    may have to refuse. `chunk_ms`: of the sessions to come, if known. Raises `CheckpointError`, `ConfigError`."""
    # The model's libraries take seconds and 200 MB: a server whose engine is in another process has none of it.
    import torch  # noqa: PLC0415

    from engine.engine import Engine  # noqa: PLC0415

    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"[engine] device = {config.device!r}, but there is no CUDA device here: use 'cpu'")
    settings = _settings(config, chunk_ms)
    if not serving:
        settings |= {"admission": False, "max_sessions": config.max_sessions or _SESSIONS}
    return Engine.load(**settings)


def find_engine(config: EngineConfig, chunk_ms: int | None = None) -> "Engine | RemoteEngine":
    """The engine where `process` says, not started yet. `chunk_ms`: of the sessions to come, which an engine of our own
    measures for its admission. Raises `CheckpointError`, `ConfigError`, `EngineUnavailable`."""
    if config.process == "in-process":
        return load_engine(config, serving=True, chunk_ms=chunk_ms)
    if config.process == "spawn":
        return RemoteEngine.spawn(_settings(config, chunk_ms), replay_s=config.replay_s)
    return RemoteEngine.at(config.process, replay_s=config.replay_s)


def _settings(config: EngineConfig, chunk_ms: int | None) -> dict[str, Any]:
    """The arguments of `Engine.load`."""
    return {
        "checkpoint": config.checkpoint,
        "device": config.device,
        "precision": config.precision,
        "max_sessions": config.max_sessions,
        "threads": config.threads,
        "admission": config.admission,
        "reserve": [] if chunk_ms is None else [chunk_ms],
    }


TICKS = "ticks"
"""The task that feeds every leg's audio to the recogniser."""

_SESSIONS = 64
"""Room of an engine that hears no calls, where its user does not say."""


_LOOK_S = 1.0
"""How often the server looks at what its parts say of themselves."""


def _with_class(config: PipelineConfig, classes_ms: Collection[int]) -> PipelineConfig:
    """The default latency class gives way to the nearest that the checkpoint has; one that was chosen does not."""
    if config.chunk_ms != DEFAULT_CHUNK_MS or config.chunk_ms in classes_ms:
        return config
    nearest = nearest_class(config.chunk_ms, classes_ms)
    logger.warning("this checkpoint has no chunks of %d ms, the default: legs run at %d ms", config.chunk_ms, nearest)
    return msgspec.structs.replace(config, chunk_ms=nearest)


class Server:
    """All running parts. `extra_sinks` get the records beside the configured ones.

    `broken`: set once something has ended without which no call is heard; the process is of no use any more.
    """

    def __init__(self, config: Config, engine: "Engine | RemoteEngine", extra_sinks: Sequence[Sink] = ()) -> None:
        if config.pipeline.language not in engine.languages:
            known = ", ".join(sorted(engine.languages - {AUTO}))
            raise UnknownLocale(f"[pipeline] language = {config.pipeline.language!r}: use 'auto' or one of {known}")
        pipeline = _with_class(config.pipeline, engine.chunks_ms)
        engine.reserve(pipeline.chunk_ms)
        self.engine = engine
        self.view: View
        self._config = config
        destinations: list[Sink] = []
        self._jsonl: JsonlSink | None = None
        if config.jsonl.path:
            self._jsonl = JsonlSink(config.jsonl)
            destinations.append(self._jsonl)
        if config.kafka is not None:
            destinations.append(sinks.KafkaSink(config.kafka))
        self._redis_view: sinks.RedisView | None = None
        if config.redis is not None:
            destinations.append(sinks.RedisSink(config.redis))
            self.view = self._redis_view = sinks.RedisView(config.redis)
        else:
            self.view = live = LiveView(config.live)
            destinations.append(live)
        self.fanout = FanOut([*destinations, *extra_sinks])
        self.calls = Calls(engine, self.fanout.publish, pipeline)
        self._served: dict[str, MediaWebSocket | WebRtcConnector] = {"twilio": twilio(self.calls, config.twilio)}
        if config.webrtc is not None:
            self._served["webrtc"] = import_module("connectors.webrtc.peer").WebRtcConnector(self.calls, config.webrtc)
        self._sip: SipConnector | None = None
        if config.sip is not None:
            self._sip = import_module("connectors.sip.connector").SipConnector(self.calls, config.sip)
        served: dict[str, ConnectorStats] = {name: connector.stats for name, connector in self._served.items()}
        self._http = AccessStats()
        self._access = Access(config.liveview.token, loopback=config.server.is_loopback, stats=self._http)
        self._page = LivePage(self.view, config.liveview, _microphone(config), self._access)
        self._connections = _connections(config.server)
        self.supervisor = Supervisor()
        watched = (
            self.engine,
            self.calls,
            self.fanout,
            self._page,
            self._sip,
            self._redis_view,
            *self._served.values(),
        )
        parts = [getattr(part, "supervisor", None) for part in watched]
        self.supervisor.include(*(part for part in parts if part is not None))
        self.metrics = Metrics(
            engine,
            self.calls,
            self.fanout,
            served,
            self._sip.stats if self._sip else None,
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
        options: dict[str, Any] = {"access_log": None, "logger": ServerLog(self._http)}
        runner = web.AppRunner(self._application(), shutdown_timeout=2.0, **options)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(listener.close)
            await self.fanout.start()
            stack.push_async_callback(self._close_sinks)
            stack.enter_context(self.engine)
            stack.enter_context(self.supervisor.catching_strays())
            ticking = self.calls.supervisor.keep(self.calls.run(), TICKS)
            stack.callback(ticking.cancel)
            looking = self.supervisor.keep(self._look(), "watch")
            stack.callback(looking.cancel)
            await runner.setup()
            assert runner.server is not None
            refuse_expectations(runner.server)
            stack.push_async_callback(runner.cleanup)
            await HttpSite(runner, listener, self._connections, **options).start()
            if self._sip is not None:
                await self._sip.start()
                stack.push_async_callback(self._sip.close)
            stack.push_async_callback(self._drain)
            self._ready = True
            yield f"http://{config.host}:{listener.getsockname()[1]}"

    def problems(self) -> dict[str, str]:
        """What of the server does not work, and why, in one line each. It takes no calls while there is anything."""
        found = self.supervisor.failures
        failure = getattr(self.engine, "failure", None)
        if failure is not None:
            found["engine"] = " ".join(str(failure).split()) or type(failure).__name__
        return found

    def hurry(self) -> None:
        """Calls that still run when the server stops are ended at once."""
        self.calls.hurry()

    async def reload(self) -> list[str]:
        """Take up again what may have been changed from outside while the calls go on: the file of records is opened
        anew (logrotate), certificates are read again. Returns what was done, or could not be, in a line each."""
        done = []
        if self._jsonl is not None:
            try:
                await self._jsonl.reopen()
                done.append(f"{self._config.jsonl.path} is opened anew")
            except SinkError as error:
                done.append(f"as before: {error}")
        if self._sip is not None:
            done += self._sip.reload()
        return done

    async def _look(self) -> None:
        """Say what has come to be wrong, or right again, and notice where there is nothing left to do."""
        known: dict[str, str] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            found = self.problems()
            for name in found.keys() - known.keys():
                logger.error("not ready: %s: %s", name, found[name])
            for name in known.keys() - found.keys():
                logger.info("ready again: %s", name)
            known = found
            failure = getattr(self.engine, "failure", None)
            if TICKS in found or (failure is not None and not getattr(failure, "retryable", False)):
                self.broken.set()

    async def _drain(self) -> None:
        self._ready = False
        if self._sip is not None:
            self._sip.drain()
        if self.calls.active:
            logger.info("%d calls are running: waiting up to %g s", self.calls.active, self._config.server.drain_s)
        await self.calls.drain(self._config.server.drain_s)
        for connector in self._served.values():
            await connector.close()

    async def _close_sinks(self) -> None:
        await self.fanout.close(timeout_s=15.0)
        if self._redis_view is not None:
            await self._redis_view.close()

    def _application(self) -> web.Application:
        wrong_tokens = WrongTokens(self._http).middleware(COOKIE)
        application = web.Application(middlewares=[mark_requests, wrong_tokens, through_proxies(self._config)])
        for connector in self._served.values():
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
        return web.Response(status=503, text=problems) if problems else web.Response(text="ready\n")

    async def _metrics_page(self, request: web.Request) -> web.Response:
        """Open to whoever reaches this server itself; from outside, through a proxy, as transcripts are."""
        try:
            self._access.check_forwarded(request)
        except LiveViewError as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            return web.Response(status=error.status, text=f"{error}\n", headers=headers)
        return web.Response(body=self.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})


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
