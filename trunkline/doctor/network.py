"""Ports: whether the server can have those that it listens on, and RTP its range."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from connectors.sip.config import DEFAULT_PORTS, parse_listen
from trunkline.config import Config
from trunkline.doctor.findings import Finding, fault, ok, warning
from trunkline.doctor.processes import holder_of_port

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")

_MANY_BUSY = 0.5
"""Share of the RTP ports: with more the range is too small, or not ours."""


def check_ports(config: Config) -> Iterator[Finding]:
    """One finding for all that are free, one for each that is not."""
    free = []
    for name, kind, host, port in _listeners(config):
        error = _refusal(kind, host, port)
        where = f"{kind} {host}:{port}"
        if error is None:
            free.append(where)
        elif error.errno == errno.EADDRINUSE:
            yield _taken(f"{name} = {where}", kind, port)
        else:
            yield fault("ports", f"{name} = {where}: {error.strerror or error}{_HINTS.get(error.errno or 0, '')}")
    if free:
        yield ok("ports", f"free: {', '.join(free)}")


def server_runs(config: Config) -> bool:
    """Whether something listens on the port of the configured server."""
    error = _refusal("tcp", config.server.host, config.server.port)
    return error is not None and error.errno == errno.EADDRINUSE


def check_rtp(config: Config) -> Iterator[Finding]:
    """Whether the pairs of ports can be bound: tried with the even ones."""
    if config.sip is None:
        yield ok("rtp", "not configured ([sip])")
        return
    rtp = config.sip.rtp
    pairs = range(rtp.first_port + rtp.first_port % 2, rtp.last_port, 2)
    busy = [port for port in pairs if _refusal("udp", _any_address(config), port) is not None]
    what = f"{len(pairs) - len(busy)} of {len(pairs)} pairs of ports free in {rtp.first_port}-{rtp.last_port}"
    if len(busy) == len(pairs):
        yield fault("rtp", f"{what}: choose another range ([sip.rtp] first_port, last_port)")
    elif len(busy) > _MANY_BUSY * len(pairs):
        yield warning("rtp", f"{what}: widen the range ([sip.rtp] first_port, last_port)")
    else:
        yield ok("rtp", what)
    own = range(rtp.first_port, rtp.last_port + 1)
    if shared := _given_to_anybody(own):
        yield warning(
            "rtp",
            f"the system gives ports {shared[0]}-{shared[-1]} to anybody: choose a range outside, or set "
            f"net.ipv4.ip_local_reserved_ports = {rtp.first_port}-{rtp.last_port}",
        )


_HINTS = {
    errno.EACCES: ": below 1024 it needs CAP_NET_BIND_SERVICE (AmbientCapabilities of the service), or choose another",
    errno.EADDRNOTAVAIL: ": no interface of this machine has that address",
}


def _listeners(config: Config) -> Iterator[tuple[str, str, str, int]]:
    """Setting, tcp or udp, host, port."""
    yield "[server] port", "tcp", config.server.host, config.server.port
    for name in DEFAULT_PORTS if config.sip is not None else ():
        listen = getattr(config.sip, name)
        if listen is not None:
            yield f"[sip] {name}", "udp" if name == "udp" else "tcp", *parse_listen(name, listen)


def _refusal(kind: str, host: str, port: int) -> OSError | None:
    """Why the port cannot be bound; it is given back at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
            if kind == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over are in no way
            sock.bind((host, port))
            if kind == "tcp":
                sock.listen(1)
    except OSError as error:
        return error
    return None


def _taken(what: str, kind: str, port: int) -> Finding:
    holder = holder_of_port(kind, port)
    if holder is None:
        return warning(
            "ports", f"{what} is in use by a process of another user: fine if it is this server, or choose another port"
        )
    if holder.is_trunkline:
        return warning("ports", f"{what} is in use by {holder}, a Trunkline: fine if it is this server")
    return fault("ports", f"{what} is in use by {holder}: stop it, or choose another port")


def _any_address(config: Config) -> str:
    """RTP is bound to the address that SIP came to, whichever it is."""
    assert config.sip is not None
    hosts = [host for name, _, host, _ in _listeners(config) if name.startswith("[sip]")]
    return "::" if all(":" in host for host in hosts) else "0.0.0.0"  # noqa: S104 - to try a port, for a moment


def _given_to_anybody(own: range) -> range:
    """Those of our ports that the system gives to sockets that ask for none; empty where ours are reserved."""
    try:
        low, high = (int(word) for word in _EPHEMERAL.read_text().split())
        reserved = _RESERVED.read_text().strip()
    except OSError:  # a container without them
        return range(0)
    for text in filter(None, reserved.split(",")):  # 20000-29999,40000
        first, _, last = text.partition("-")
        if int(first) <= own[0] and own[-1] <= int(last or first):
            return range(0)
    return range(max(low, own[0]), min(high, own[-1]) + 1)
