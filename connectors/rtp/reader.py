"""Reads the media sockets of all legs through one entry of the event loop.

Sockets are kept in a selector of their own, and only that is watched by the loop: under load one wake-up of the loop
serves every socket that became readable meanwhile, and none costs a callback of the loop (docs/decisions.md).
"""

import asyncio
import selectors
import socket
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary

_ROUNDS = 4  # of reading before other work of the loop has its turn


class SocketReader:
    """One for each event loop; get it with `SocketReader.of`."""

    _readers: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, SocketReader]"] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()
        self._watched = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "SocketReader":
        """The loop's reader."""
        reader = cls._readers.get(loop)
        if reader is None:
            reader = cls._readers[loop] = cls(loop)
        return reader

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` whenever there is a datagram; it reads one and raises nothing."""
        self._selector.register(sock, selectors.EVENT_READ, on_readable)
        if not self._watched:
            self._loop.add_reader(self._selector, self._ready)
            self._watched = True

    def remove(self, sock: socket.socket) -> None:
        """Before the socket is closed. With the last one nothing is left in the loop."""
        self._selector.unregister(sock)
        if not self._selector.get_map():
            self._loop.remove_reader(self._selector)
            self._watched = False

    def _ready(self) -> None:
        for _ in range(_ROUNDS):
            ready = self._selector.select(0)
            if not ready:
                return
            for key, _ in ready:
                if key.fileobj in self._selector.get_map():  # not removed by a callback before it
                    key.data()
