"""A private rtpengine for tests: Sipwise's media proxy in user space, told what to do over its control protocol."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports

START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 2.0
MEDIA_PORTS = (24_000, 24_199)


class RtpEngine:
    """Debian's rtpengine-daemon on the loopback interface, without its kernel module."""

    def __init__(self) -> None:
        binary = shutil.which("rtpengine")
        if binary is None:
            raise ServiceMissing("rtpengine is not installed: apt-get install rtpengine-daemon")
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-rtpengine-"))
        (port,) = free_ports(1)
        first, last = MEDIA_PORTS
        self._command = [binary, "--config-file=none", "--foreground", "--log-stderr", "--table=-1", "--num-threads=2"]
        self._command += ["--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}", f"--pidfile={self._folder}/pid"]
        self._command += [f"--port-min={first}", f"--port-max={last}"]
        self.address = ("127.0.0.1", port)
        self._process: subprocess.Popen[bytes] | None = None
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.connect(self.address)
        self._cookie = 0

    def start(self) -> None:
        """Returns when it answers. Raises `ServiceMissing` if it does not come up."""
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        self._control.settimeout(0.1)
        while True:
            try:
                self.ask("ping")
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    text = log.read_text(errors="replace")[-2000:]
                    self.remove()
                    raise ServiceMissing(f"rtpengine does not start: {text}") from error
                time.sleep(0.02)
            else:
                self._control.settimeout(ANSWER_TIMEOUT_S)
                return

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """A command of the ng protocol, an underscore in place of each hyphen, and what rtpengine says to it."""
        self._cookie += 1
        request = {name.replace("_", "-"): value for name, value in arguments.items()} | {"command": command}
        self._control.send(f"{self._cookie} {json.dumps(request)}".encode())
        while True:
            cookie, _, text = self._control.recv(65_536).decode().partition(" ")
            if int(cookie) == self._cookie:
                break
        answer: dict[str, Any] = json.loads(text)
        assert answer["result"] in ("ok", "pong"), answer
        return answer

    def remove(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._control.close()
        shutil.rmtree(self._folder, ignore_errors=True)
