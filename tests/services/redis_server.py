"""A private Redis server for tests."""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports

START_TIMEOUT_S = 20.0


class RedisServer:
    """Debian's redis-server on a port of the loopback interface, without persistence: a restart loses everything."""

    def __init__(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise ServiceMissing("redis-server is not installed: run `python -m tests.services.install`")
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it answers; also starts it again, on the same port and empty."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        log = self._folder / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *arguments, "--dir", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        self.kill()
                        raise ServiceMissing(f"redis-server does not start: {log.read_text()[-2000:]}") from error
                    time.sleep(0.05)
                else:
                    return

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
        shutil.rmtree(self._folder, ignore_errors=True)
