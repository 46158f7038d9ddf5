"""The pair of UDP sockets of a media line."""

import asyncio
import contextlib

from connectors.rtp.bulk import LaneEntry
from connectors.rtp.latching import Address
from connectors.rtp.ports import PortPool
from connectors.rtp.reader import Lane, MediaReader, OnDatagram


class RtpTransport:
    """Bound when made, read from `start` on: until then packets wait in the sockets. `port`: of RTP; RTCP has the next.

    Raises `NoFreePort`, `OSError`.
    """

    def __init__(self, address: str, ports: PortPool) -> None:
        self._rtp, self._rtcp = ports.bind(address)
        self.port: int = self._rtp.getsockname()[1]
        self._ports = ports
        self._reader: MediaReader | None = None

    @property
    def closed(self) -> bool:
        return self._rtp.fileno() < 0

    def start(self, on_rtp: OnDatagram, on_rtcp: OnDatagram) -> None:
        """Read; on the running loop."""
        self._reader = MediaReader.of(asyncio.get_running_loop())
        self._reader.add(self._rtp, on_rtp)
        self._reader.add(self._rtcp, on_rtcp)

    def enter_lane(self, entry: LaneEntry) -> Lane | None:
        """RTP is read in bulk from here on and comes to `on_rtp` only where it is not what is due; None: it is not."""
        return None if self._reader is None else self._reader.enter(self._rtp, entry)

    def read_waiting(self) -> None:
        """RTP that lies in the socket, to `on_rtp`."""
        if self._reader is not None:
            self._reader.read_waiting(self._rtp)

    def send(self, data: bytes, address: Address | None) -> None:
        """RTP, and with rtcp-mux RTCP; lost where the network does not take it."""
        if address is not None:
            with contextlib.suppress(OSError):
                self._rtp.sendto(data, address)

    def send_rtcp(self, data: bytes, address: Address | None) -> None:
        """From the RTCP port."""
        if address is not None:
            with contextlib.suppress(OSError):
                self._rtcp.sendto(data, address)

    def close(self) -> None:
        """Close the sockets and give their ports back. Idempotent."""
        if self.closed:
            return
        if self._reader is not None:
            self._reader.remove(self._rtp)
            self._reader.remove(self._rtcp)
        self._rtp.close()
        self._rtcp.close()
        self._ports.release(self.port)
