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
from liveview.api import LivePage
from liveview.microphone import Microphone
from pipeline.call import Calls, PipelineConfig
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import LiveView, View
from sinks.sink import Sink
from trunkline.config import Config, EngineConfig
from trunkline.errors import AddressInUse, ConfigError
from trunkline.metrics import Metrics

if TYPE_CHECKING:
    from connectors.sip.connector import SipConnector
    from connectors.webrtc import WebRtcConnector
    from engine.engine import Engine

logger = logging.getLogger(__name__)


def load_engine(config: EngineConfig, *, serving: bool = False) -> "Engine":
    """The engine of the configured checkpoint, in this process, not started yet. `serving`: it hears calls, which it
    may have to refuse. Raises `CheckpointError`, `ConfigError`."""
    # The model's libraries take seconds and 200 MB: a server whose engine is in another process has none of it.
    import torch  # noqa: PLC0415

    from engine.engine import Engine  # noqa: PLC0415

    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"[engine] device = {config.device!r}, but there is no CUDA device here: use 'cpu'")
    settings = _settings(config)
    if not serving:
        settings |= {"admission": False, "max_sessions": config.max_sessions or _SESSIONS}
    return Engine.load(**settings)


def find_engine(config: EngineConfig) -> "Engine | RemoteEngine":
    """The engine where `process` says, not started yet. Raises `CheckpointError`, `ConfigError`,
    `EngineUnavailable`."""
    if config.process == "in-process":
        return load_engine(config, serving=True)
    if config.process == "spawn":
        return RemoteEngine.spawn(_settings(config), replay_s=config.replay_s)
    return RemoteEngine.at(config.process, replay_s=config.replay_s)


def _settings(config: EngineConfig) -> dict[str, Any]:
    """The arguments of `Engine.load`."""
    return {
        "checkpoint": config.checkpoint,
        "device": config.device,
        "precision": config.precision,
        "max_sessions": config.max_sessions,
        "threads": config.threads,
        "admission": config.admission,
    }


_SESSIONS = 64
"""Room of an engine that hears no calls, where its user does not say."""


def _with_class(config: PipelineConfig, classes_ms: Collection[int]) -> PipelineConfig:
    """The default latency class gives way to the nearest that the checkpoint has; one that was chosen does not."""
    if config.chunk_ms != DEFAULT_CHUNK_MS or config.chunk_ms in classes_ms:
        return config
    nearest = nearest_class(config.chunk_ms, classes_ms)
    logger.warning("this checkpoint has no chunks of %d ms, the default: legs run at %d ms", config.chunk_ms, nearest)
    return msgspec.structs.replace(config, chunk_ms=nearest)


class Server:
    """All running parts. `extra_sinks` get the records beside the configured ones."""

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
        if config.jsonl.path:
            destinations.append(JsonlSink(config.jsonl))
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
            self._served["webrtc"] = import_module("connectors.webrtc").WebRtcConnector(self.calls, config.webrtc)
        self._sip: SipConnector | None = None
        if config.sip is not None:
            self._sip = import_module("connectors.sip.connector").SipConnector(self.calls, config.sip)
        served: dict[str, ConnectorStats] = {name: connector.stats for name, connector in self._served.items()}
        self._metrics = Metrics(engine, self.calls, self.fanout, served, self._sip.stats if self._sip else None)
        self._ready = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve while entered; yields the base URL. On leaving, running calls get `drain_s` to end, their last words
        go out, then everything stops. Raises `AddressInUse`, `SipUnavailable`, `SinkMisconfigured`."""
        config = self._config.server
        listener = _listen(config.host, config.port)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=2.0)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(listener.close)
            await self.fanout.start()
            stack.push_async_callback(self._close_sinks)
            stack.enter_context(self.engine)
            ticking = asyncio.create_task(self.calls.run(), name="ticks")
            stack.callback(ticking.cancel)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener).start()
            if self._sip is not None:
                await self._sip.start()
                stack.push_async_callback(self._sip.close)
            stack.push_async_callback(self._drain)
            self._ready = True
            yield f"http://{config.host}:{listener.getsockname()[1]}"

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
        application = web.Application()
        for connector in self._served.values():
            application.add_routes(connector.routes())
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.get("/metrics", self._metrics_page),
            ]
        )
        LivePage(self.view, self._config.liveview, _microphone(self._config)).install(application)
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self._ready else web.Response(status=503, text="draining\n")

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})


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
