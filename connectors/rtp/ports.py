"""The UDP ports for media: even ones for RTP, each with the odd one above it for RTCP (RFC 3550, section 11)."""

import errno
import socket
from collections import deque

from connectors.rtp.errors import NoFreePort


class PortPool:
    """Ports `first` to `last`, both included. The one that was free longest is given out next, so packets of an ended
    call have time to die before another call gets their port."""

    def __init__(self, first: int, last: int) -> None:
        """Raises `ValueError` for a range without a pair of ports."""
        pairs = range(first + first % 2, last, 2)
        if not (0 < first <= last <= 65_535) or not pairs:
            raise ValueError(f"no pair of ports in {first}-{last}")
        self._free = deque(pairs)
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """Pairs that can be had."""
        return len(self._free)

    @property
    def taken(self) -> int:
        """Pairs in use."""
        return len(self._taken)

    def allocate(self) -> int:
        """An even port; the one above it belongs to it. Raises `NoFreePort` (retryable)."""
        if not self._free:
            raise NoFreePort(f"all {len(self._taken)} pairs of media ports are in use")
        port = self._free.popleft()
        self._taken.add(port)
        return port

    def release(self, port: int) -> None:
        """Give a port back. Releasing one that is not taken changes nothing."""
        if port in self._taken:
            self._taken.remove(port)
            self._free.append(port)

    def bind(self, address: str) -> tuple[socket.socket, socket.socket]:
        """A pair of non-blocking sockets, RTP and RTCP. Ports that another process has are passed over.

        Raises `NoFreePort`, and `OSError` where the address is none of this machine's.
        """
        refused: OSError | None = None
        for _ in range(self.free):
            port = self.allocate()
            try:
                return _bound_pair(address, port)
            except OSError as error:
                self.release(port)
                if error.errno != errno.EADDRINUSE:
                    raise
                refused = error
        raise NoFreePort("all media ports are in use") from refused


def _bound_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    pair = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(2)]
    try:
        for offset, sock in enumerate(pair):
            sock.setblocking(False)
            sock.bind((address, port + offset))
    except OSError:
        for sock in pair:
            sock.close()
        raise
    return pair[0], pair[1]
