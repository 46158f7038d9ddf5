import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.rtp.config import RtpConfig
from connectors.sip.config import SipConfig
from testing.services.ports import free_ports
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config, ServerConfig
from trunkline.doctor import network
from trunkline.doctor.findings import Level
from trunkline.doctor.network import check_ports, check_rtp, server_runs


@contextmanager
def listening(*words: str) -> Iterator[tuple[int, int]]:
    """A process with these words on its command line that listens: its number, and its port."""
    source = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    command = [sys.executable, "-c", f"{source}; sys.stdin.read()", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def server(port: int, host: str = "127.0.0.1", sip: SipConfig | None = None) -> Config:
    return Config(server=ServerConfig(host=host, port=port), sip=sip)


def test_free_ports_are_named() -> None:
    http, udp, tcp = free_ports(3)
    config = server(http, sip=SipConfig(udp=f"127.0.0.1:{udp}", tcp=f"127.0.0.1:{tcp}"))
    found = list(check_ports(config))
    assert all_ok(found)
    assert found[0].what == f"free: tcp 127.0.0.1:{http}, udp 127.0.0.1:{udp}, tcp 127.0.0.1:{tcp}"
    assert not server_runs(config)


def test_a_port_of_a_strange_process_is_a_fault_that_names_it() -> None:
    with listening() as (pid, port):
        assert f"in use by process {pid} (python" in one(check_ports(server(port)), Level.FAULT, f":{port}").what
        assert server_runs(server(port))


def test_a_port_of_a_trunkline_may_be_that_of_this_server() -> None:
    with listening("/usr/bin/trunkline", "serve") as (pid, port):
        found = one(check_ports(server(port)), Level.WARNING, f"in use by process {pid}")
    assert found.what.endswith("a Trunkline: fine if it is this server")


def test_a_udp_port_that_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        config = server(0, sip=SipConfig(udp=f"127.0.0.1:{port}", tcp=None))
        one(check_ports(config), Level.FAULT, f"[sip] udp = udp 127.0.0.1:{port} is in use by process")


def test_an_address_of_another_machine() -> None:
    one(check_ports(server(0, "192.0.2.1")), Level.FAULT, "no interface of this machine has that address")


@pytest.fixture
def pairs() -> Iterator[tuple[SipConfig, list[socket.socket]]]:
    """SIP with ten pairs of ports, and sockets on the even ones."""
    first = free_ports(1)[0] // 32 * 32
    sockets = []
    for port in range(first, first + 20, 2):
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            sockets[-1].bind(("0.0.0.0", port))
        except OSError:
            sockets.pop().close()
    yield SipConfig(rtp=RtpConfig(first_port=first, last_port=first + 19)), sockets
    for one_socket in sockets:
        one_socket.close()


def test_rtp_ports_are_counted(
    pairs: tuple[SipConfig, list[socket.socket]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The range is among those that the system gives away, unless that is told otherwise."""
    sip, sockets = pairs
    ephemeral, reserved = tmp_path / "range", tmp_path / "reserved"
    ephemeral.write_text("1024 1100\n")
    reserved.write_text("\n")
    monkeypatch.setattr(network, "_EPHEMERAL", ephemeral)
    monkeypatch.setattr(network, "_RESERVED", reserved)
    config = Config(sip=sip)
    one(check_rtp(config), Level.FAULT, "choose another range")
    while len(sockets) > 6:
        sockets.pop().close()
    one(check_rtp(config), Level.WARNING, "4 of 10 pairs of ports free")
    while len(sockets) > 2:
        sockets.pop().close()
    assert one(check_rtp(config), Level.OK, "8 of 10 pairs of ports free")
    ephemeral.write_text("1024\t65535\n")
    one(check_rtp(config), Level.WARNING, f"reserved_ports = {sip.rtp.first_port}-{sip.rtp.last_port}")
    reserved.write_text(f"7,{sip.rtp.first_port}-{sip.rtp.last_port}\n")
    assert all_ok(check_rtp(config))


def test_without_sip() -> None:
    assert all_ok(check_rtp(Config()))
