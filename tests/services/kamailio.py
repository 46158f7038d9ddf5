"""A private Kamailio for tests, with a configuration that the test gives it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from testing.services.missing import ServiceMissing

START_TIMEOUT_S = 10.0
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"

PROBE = (
    "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKprobe{port};rport\r\n"
    "Max-Forwards: 0\r\nFrom: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:probe@127.0.0.1>\r\nCall-ID: probe-{port}\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


class Kamailio:
    """Debian's kamailio at `address`. It must refuse what has no hops left, by which it is seen to run."""

    def __init__(self, address: tuple[str, int], files: dict[str, str]) -> None:
        """`files`: by name; `kamailio.cfg` is the configuration, in which `{folder}` stands for where they are."""
        binary = shutil.which("kamailio", path=PATH)
        if binary is None:
            raise ServiceMissing("kamailio is not installed: apt-get install kamailio")
        self.address = address
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-kamailio-"))
        for name, text in files.items():
            (self._folder / name).write_text(text.replace("{folder}", str(self._folder)))
        self._command = [binary, "-f", str(self._folder / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "4"]
        self._command += ["-Y", str(self._folder), "-w", str(self._folder)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers. Raises `ServiceMissing` if it does not come up."""
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(self.address)
            probe.settimeout(0.1)
            while True:
                try:
                    probe.send(PROBE.format(port=probe.getsockname()[1]).encode())
                    probe.recv(4_096)
                except OSError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        text = log.read_text(errors="replace")[-2000:]
                        self.remove()
                        raise ServiceMissing(f"kamailio does not start: {text}") from error
                    time.sleep(0.02)
                else:
                    return

    def remove(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # with its children
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)
