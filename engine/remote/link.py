"""Ways to an engine process: one that is started here, or one that listens at an address."""

import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.errors import EngineUnavailable

logger = logging.getLogger(__name__)

_END_S = 5.0
"""How long an engine may take to end by itself once its gateway is gone."""


class Link(Protocol):
    """Makes connections to an engine, one at a time. `patience_s`: how long its first message may take."""

    patience_s: float

    def connect(self) -> socket.socket:
        """A new blocking connection. Raises `EngineUnavailable`."""
        ...

    def end(self, *, kill: bool = False) -> None:
        """The connection is closed: see to what was behind it; `kill`: it does not answer."""
        ...


class Spawned:
    """An engine process of our own, on one end of a socket pair. It ends when the other end is closed, so also with a
    gateway that is killed. `settings`: the arguments of `Engine.load`. `process`: the present one."""

    patience_s = inf  # a checkpoint may have to be fetched; where that fails, the process ends

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = msgspec.json.encode(settings).decode()

    def connect(self) -> socket.socket:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise EngineUnavailable(f"no connection to an engine process can be made: {error}") from error
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", "engine.remote", "--fd", str(number), "--settings", self._settings]
            try:
                self.process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)  # noqa: S603
            except OSError as error:
                ours.close()
                raise EngineUnavailable(f"the engine process cannot be started: {error}") from error
        logger.debug("engine process %d started", self.process.pid)
        return ours

    def end(self, *, kill: bool = False) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if kill:
            process.kill()
        try:
            status = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        logger.debug("engine process %d ended with status %d", process.pid, status)


class Remote:
    """An engine process that listens: `unix:/path` or `tcp:host:port`. Raises `ValueError` for another address."""

    patience_s = 10.0

    def __init__(self, address: str) -> None:
        self._address = address
        self._target = parse_address(address)

    def connect(self) -> socket.socket:
        with contextlib.ExitStack() as stack:
            try:
                if isinstance(self._target, Path):
                    connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                    connection.connect(str(self._target))
                else:
                    connection = stack.enter_context(socket.create_connection(self._target, timeout=_END_S))
                    connection.settimeout(None)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                raise EngineUnavailable(f"no engine answers at {self._address}: {error.strerror or error}") from error
            stack.pop_all()
        return connection

    def end(self, *, kill: bool = False) -> None:
        """Nothing: the engine belongs to somebody else."""


def parse_address(address: str) -> Path | tuple[str, int]:
    """`unix:/path` or `tcp:host:port` (IPv6 hosts in brackets). Raises `ValueError`, its message one line."""
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return Path(rest)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host:
        with contextlib.suppress(ValueError):
            if 0 <= int(port) <= 65_535:
                return host.removeprefix("[").removesuffix("]"), int(port)
    raise ValueError(f"{address!r} is no address of an engine: write unix:/path or tcp:host:port")
