"""What the drivers of the three transports share: whom they listen to, and to whom they hand what came."""

import socket
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Protocol

from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.transaction import Flow

REMEMBERED = 4_096


@dataclass(slots=True)
class TransportStats:
    """`strangers`: from outside the allowed networks, not answered. `dropped`: no SIP, or nothing to answer.
    `accepted`: connections of both directions. `crowded`: those refused for the limits. `idle`: those ended
    because no message, or only a part of one, came in time. `unsent`: answers whose peer is gone or does not read."""

    received: int = 0
    sent: int = 0
    strangers: int = 0
    malformed: int = 0
    dropped: int = 0
    keepalives: int = 0
    accepted: int = 0
    crowded: int = 0
    idle: int = 0
    unsent: int = 0


class Receiver(Protocol):
    """The server behind the drivers."""

    def received(self, message: SipRequest | SipResponse | MalformedMessage, flow: Flow, /) -> None: ...

    def fault(self, error: Exception, what: str, /) -> None:
        """Of ours, in reading what came."""

    def is_busy(self, flow: Flow, /) -> bool:
        """A call uses this connection: it stays open, however quiet."""


class AllowList:
    """Networks that may send anything at all; none given: everybody. Answers are remembered, boundedly."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._known: OrderedDict[str, bool] = OrderedDict()

    def admits(self, host: str) -> bool:
        if not self._networks:
            return True
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = self._look_up(host)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    def _look_up(self, host: str) -> bool:
        try:
            address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class LocalAddress:
    """Our address as a peer sees it: the advertised one, the one listened on, or, where that is all of them, that of
    the interface which leads to the peer. Remembered, boundedly."""

    def __init__(self, listening: tuple[str, int], advertised: str | None = None) -> None:
        self._host, self._port = advertised or listening[0], listening[1]
        self._any = ip_address(self._host).is_unspecified
        self._known: OrderedDict[str, str] = OrderedDict()

    def towards(self, peer: str) -> tuple[str, int]:
        if not self._any:
            return self._host, self._port
        host = self._known.get(peer)
        if host is None:
            host = self._known[peer] = self._route(peer)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return host, self._port

    def _route(self, peer: str) -> str:
        """Connecting a datagram socket asks the routing table and sends nothing."""
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((peer, 9))
            except OSError:
                return self._host
            return str(probe.getsockname()[0])
