"""Engines in other processes, one connection for each address in this process, however many streams use it."""

import asyncio
import threading
from dataclasses import dataclass

from engine.remote import RemoteEngine


@dataclass(slots=True)
class _Connection:
    engine: RemoteEngine
    users: int = 0


_connections: dict[str, _Connection] = {}
_lock = threading.Lock()


async def engine_at(address: str) -> RemoteEngine:
    """The engine that listens at `unix:/path` or `tcp:host:port`, connected to if it is not yet. Each call wants one of
    `leave_engine`. Raises `EngineUnavailable`."""

    def connect() -> RemoteEngine:
        with _lock:
            if (connection := _connections.get(address)) is None:
                engine = RemoteEngine.at(address)
                engine.start()
                connection = _connections[address] = _Connection(engine)
            connection.users += 1
            return connection.engine

    connecting = asyncio.ensure_future(asyncio.to_thread(connect))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(lambda done: _leave_unused(address, done))
        raise


def _leave_unused(address: str, done: "asyncio.Future[RemoteEngine]") -> None:
    if not done.cancelled() and done.exception() is None:
        threading.Thread(target=_leave, args=(address,), name="engine left").start()


async def leave_engine(address: str) -> None:
    """The last one to leave closes the connection."""

    await asyncio.to_thread(_leave, address)


def _leave(address: str) -> None:
    with _lock:
        if (connection := _connections.get(address)) is None:
            return
        connection.users -= 1
        if connection.users <= 0:
            del _connections[address]
            connection.engine.stop()
