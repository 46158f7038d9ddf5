"""Private Redis servers for tests: alone as in `deploy/compose.yaml`, with a replica and a sentinel, as a cluster."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from testing.services.composed import redis_arguments
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports

START_TIMEOUT_S = 20.0
NODE_TIMEOUT_MS = 500
SENTINEL_NAME = "calls"


class RedisServer:
    """Debian's redis-server on a port of the loopback interface, without persistence: a restart loses everything.

    `arguments`: settings in addition, as on its command line; `tls`: certificate and key of the port, which then speaks
    TLS alone.
    """

    def __init__(self, *arguments: str, tls: tuple[Path, Path] | None = None, port: int = 0) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise ServiceMissing("redis-server is not installed: run `python -m tests.services.install`")
        self._binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="trunkline-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_ports(1)[0]
        self._arguments = ["--port", str(self.port), *arguments]
        if tls is not None:
            self._arguments = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "optional"]
            self._arguments += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
            self._arguments += ["--tls-ca-cert-file", str(tls[0]), *arguments]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    def start(self) -> None:
        """Returns when it takes connections; also starts it again, on the same port and empty."""
        log = self.folder / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *self._command(), "--bind", "127.0.0.1", "--dir", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise ServiceMissing(f"redis-server does not start: {log.read_text()[-2000:]}") from error
                time.sleep(0.02)
            else:
                return

    def _command(self) -> list[str]:
        return [*redis_arguments(), *self._arguments]

    def cli(self, *arguments: str) -> str:
        """What redis-cli answers, without the newline at its end."""
        command = ["redis-cli", "-p", str(self.port), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.rstrip("\n")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop answering without closing a connection, until `thaw`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisSentinel(RedisServer):
    """A sentinel, alone in deciding, over one primary, which it calls `SENTINEL_NAME`."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__()
        settings = [f"sentinel monitor {SENTINEL_NAME} 127.0.0.1 {primary.port} 1"]
        times_ms = {"down-after-milliseconds": NODE_TIMEOUT_MS, "failover-timeout": 5_000}
        settings += [f"sentinel {name} {SENTINEL_NAME} {value}" for name, value in times_ms.items()]
        (self.folder / "sentinel.conf").write_text("\n".join([f"port {self.port}", *settings, ""]))

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.address}/{SENTINEL_NAME}/0"

    def _command(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


class RedisCluster:
    """Three primaries and a replica of the first."""

    def __init__(self, *arguments: str) -> None:
        settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS), *arguments]
        # The port of the cluster's bus is another one of its own.
        ports = free_ports(8)
        self.nodes: list[RedisServer] = []
        for port, bus in zip(ports[:4], ports[4:], strict=True):
            self.nodes.append(RedisServer(*settings, "--cluster-port", str(bus), port=port))
        self._buses = ports[4:]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes[:2])}"

    def start(self) -> None:
        """Returns when all slots are served."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for i, node in enumerate(self.nodes[:3]):
            node.cli("CLUSTER", "ADDSLOTSRANGE", str(i * 16384 // 3), str((i + 1) * 16384 // 3 - 1))
        for node, bus in zip(others, self._buses[1:], strict=True):
            first.cli("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(bus))
        name = first.cli("CLUSTER", "MYID")
        _until(lambda: name in self.nodes[3].cli("CLUSTER", "NODES"))
        self.nodes[3].cli("CLUSTER", "REPLICATE", name)
        _until(lambda: "master_link_status:up" in self.nodes[3].cli("INFO", "replication"))
        _until(lambda: all("cluster_state:ok" in node.cli("CLUSTER", "INFO") for node in self.nodes))
        _until(lambda: all(node.cli("CLUSTER", "NODES").count("connected") == 4 for node in self.nodes))

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceMissing("redis-server: its cluster does not form")
        time.sleep(0.05)
