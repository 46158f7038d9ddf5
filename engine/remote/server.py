"""Serves an engine to gateways, over a connection that is there or at an address. asyncio, the engine in its thread."""

import asyncio
import contextlib
import errno
import logging
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.api import StepEvents
from engine.engine import Engine
from engine.errors import EngineUnavailable, MalformedFrame
from engine.remote.exchange import Exchange, Gateway
from engine.remote.link import parse_address
from engine.remote.wire import CapacityReport, FromEngine, frame, from_gateway
from supervision import Supervisor
from supervision.signals import handle_signals

logger = logging.getLogger(__name__)

_CAPACITY_S = 0.25
_MAX_GATEWAYS = 64

_GREETING_S = 10.0
"""Who has not said by then that it is a gateway takes the place of one."""


@dataclass(slots=True)
class ServerStats:
    """`slow`: gateways that did not read what they were sent. `malformed`: those that sent what is no message.
    `silent`: connections that did not say in time that they are gateways."""

    gateways: int = 0
    slow: int = 0
    malformed: int = 0
    turned_away: int = 0
    silent: int = 0


class EngineServer:
    """Serves until it is stopped or the engine fails; `failed` says which. `address`: where it listens.

    `output_limit`: bytes that may wait for a gateway to read them. One that lets more gather is disconnected and
    counted, and its sessions are dropped, as are those of every gateway whose connection ends. `greeting_s`: how long a
    connection may be silent at its beginning.
    """

    def __init__(self, engine: Engine, *, output_limit: int = 8 << 20, greeting_s: float = _GREETING_S) -> None:
        self.stats = ServerStats()
        self.greeting_s = greeting_s
        self.supervisor = Supervisor(self._end_failed)
        self.failed = False
        self.address: str | None = None
        self.engine = engine
        self._exchange = Exchange(engine)
        self.supervisor.include(self._exchange.supervisor)
        self._output_limit = output_limit
        self._connections: dict[Gateway, _Connection] = {}
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def serve(self, connection: socket.socket) -> None:
        """Serve one gateway, to the end of its connection. The engine must be started."""
        with self._listening():
            await self._loop.connect_accepted_socket(lambda: _Connection(self, last=True), connection)
            await self._over.wait()

    async def listen(self, address: str) -> None:
        """Serve every gateway that comes to `unix:/path` or `tcp:host:port`, until a signal says stop.

        Raises `EngineUnavailable` where the address is taken. Whoever can connect can have audio recognised: a Unix
        socket is for its owner alone, a TCP port needs a network of its own.
        """
        target = parse_address(address)
        handle_signals(self._over.set)
        try:
            if isinstance(target, Path):
                server = await self._loop.create_unix_server(lambda: _Connection(self), sock=_bind(target))
            else:
                server = await self._loop.create_server(lambda: _Connection(self), *target)
                address = "tcp:{}:{}".format(*server.sockets[0].getsockname()[:2])
        except OSError as error:
            raise EngineUnavailable(f"cannot listen at {address}: {error.strerror or error}") from error
        with self._listening():
            self.address = address
            logger.info("engine ready at %s", address)
            await self._over.wait()
            server.close()
            for connection in list(self._connections.values()):
                connection.end()
            if isinstance(target, Path):
                target.unlink(missing_ok=True)

    def stop(self) -> None:
        """End all connections."""
        self._over.set()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        self.engine.subscribe(self._on_step)
        reporting = self.supervisor.keep(self._report_capacity(), "engine capacity")
        try:
            yield
        finally:
            reporting.cancel()
            self.engine.unsubscribe(self._on_step)

    def _on_step(self, events: StepEvents) -> None:
        """On the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: StepEvents) -> None:
        if self.engine.failure is not None:
            # The sessions have not ended, the engine has: the gateways go on with another one.
            self.failed = True
            self._over.set()
            return
        for gateway, part in self._exchange.step(events).items():
            connection = self._connections.get(gateway)
            if connection is not None:
                connection.send(part)

    def _end_failed(self, _name: str, _why: str) -> None:
        self.failed = True
        self._over.set()

    async def _report_capacity(self) -> None:
        while True:
            await asyncio.sleep(_CAPACITY_S)
            for gateway, connection in list(self._connections.items()):
                if not gateway.greeted:
                    continue
                try:
                    connection.send_capacity(self._exchange.capacity(gateway))
                except Exception as error:  # noqa: BLE001 - the next one is another one
                    self.supervisor.fault("engine capacity", error)

    def _join(self, connection: "_Connection") -> bool:
        """Returns whether there is a place."""
        if len(self._connections) >= _MAX_GATEWAYS:
            self.stats.turned_away += 1
            return False
        self.stats.gateways += 1
        self._connections[connection.gateway] = connection
        return True

    def _leave(self, connection: "_Connection", *, last: bool) -> None:
        if self._connections.pop(connection.gateway, None) is not None:
            if not last:
                logger.info("a gateway left with %d sessions open", len(connection.gateway.sessions))
            self._exchange.leave(connection.gateway)
        if last:
            self._over.set()


def serve_connection(engine: Engine, connection: socket.socket) -> int:
    """Serve one gateway to the end of its connection. Returns the process's exit code: 1 where the engine failed."""

    async def serve() -> bool:
        server = EngineServer(engine)
        await server.serve(connection)
        return server.failed

    with engine:
        return int(asyncio.run(serve()))


def serve_address(engine: Engine, address: str) -> int:
    """Serve all gateways that come to an address, until SIGTERM or SIGINT. Returns the process's exit code: 1 where the
    engine failed. Raises `EngineUnavailable` where the address cannot be had."""

    async def serve() -> bool:
        server = EngineServer(engine)
        await server.listen(address)
        return server.failed

    with engine:
        return int(asyncio.run(serve()))


class _Connection(asyncio.Protocol):
    """One gateway's connection. `last`: the server ends with it."""

    def __init__(self, server: EngineServer, *, last: bool = False) -> None:
        self.gateway = Gateway()
        self._server = server
        self._last = last
        self._framer = from_gateway()
        self._transport: asyncio.Transport | None = None
        self._capacity = b""
        self._greeting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._server._join(self):
            transport.abort()
            return
        self._greeting = asyncio.get_running_loop().call_later(self._server.greeting_s, self._look_for_greeting)

    def _look_for_greeting(self) -> None:
        if not self.gateway.greeted and self._transport is not None:
            self._server.stats.silent += 1
            logger.warning("a connection is ended: no greeting within %g s", self._server.greeting_s)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        server = self._server
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for message in self._framer.feed(data):
                for answer in server._exchange.receive(self.gateway, message):
                    self.send(answer)
        except MalformedFrame as error:
            server.stats.malformed += 1
            logger.warning("a gateway is disconnected: %s", error)
            self._transport.abort()
        except Exception as error:  # noqa: BLE001 - of this gateway alone, which goes on with a new connection
            server.supervisor.fault("engine gateway", error, "it is disconnected")
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
        self._server._leave(self, last=self._last)

    def send(self, message: FromEngine) -> None:
        try:
            self._write(frame(message))
        except Exception as error:  # noqa: BLE001 - of this gateway alone, which goes on with a new connection
            self._server.supervisor.fault("engine gateway", error, "it is disconnected")
            if self._transport is not None:
                self._transport.abort()

    def send_capacity(self, capacity: CapacityReport) -> None:
        """Send it where it is not what was sent last."""
        data = bytes(frame(capacity))
        if data != self._capacity:
            self._capacity = data
            self._write(data)

    def end(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes | bytearray) -> None:
        transport, server = self._transport, self._server
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > server._output_limit:
            server.stats.slow += 1
            logger.warning("a gateway is disconnected: it does not read")
            transport.abort()


def _bind(path: Path) -> socket.socket:
    """A Unix socket for its owner alone. A file that an engine left behind is replaced, one in use is not."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise OSError(errno.EADDRINUSE, "an engine listens there already")
            path.unlink()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.bind(str(path))
        path.chmod(0o600)
        stack.pop_all()
    return connection
