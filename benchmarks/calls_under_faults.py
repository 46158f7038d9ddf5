"""Do calls notice that delivery fails? Transcript latency undisturbed, and during faults of broker, disk and process.

`python -m benchmarks.calls_under_faults [--calls 2] [--hold 30] [--rounds 3]`

`trunkline serve` with the demo model writes to a broker of its own; `trunkline loadtest` plays calls into it and reads
the transcripts from the live API. Each round has a run for each fault, in turns; it lasts for most of the run:
undisturbed; the broker frozen (SIGSTOP) or killed (kill -9); its topics deleted; a spool's disk without space; the
delivery process killed again and again. The figures are medians over the rounds; the goal is a p95 within 20 % of the
undisturbed one. The last line is JSON.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from kafka import KafkaAdminClient

from sinks.kafka import process
from testing.faults.disk import Disk, built
from testing.services.kafka_broker import KafkaBroker
from testing.services.ports import free_ports

READY_S = 300.0
BEFORE_S = 5.0
"""Of a run, before the fault begins; it ends as long before the run does."""

CONFIG = """\
[server]
host = "127.0.0.1"
port = {port}
[engine]
admission = false
[jsonl]
path = ""
[kafka]
bootstrap_servers = "{bootstrap}"
create_topics = true
spool = "{folder}/kafka.spool"
"""
SAYS = {
    "frozen": "records wait in the spool",
    "killed": "records wait in the spool",
    "disk_full": "records are in memory alone",
    "delivery_killed": "the process that delivers has ended",
}
"""What the server's log has of a fault; without it there was none. Topics are gone when the broker says so."""

TRUNKLINE = [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())"]


@contextlib.contextmanager
def serving(folder: Path, bootstrap: str, disk: Disk) -> Iterator[tuple[int, int]]:
    """`trunkline serve`, ready; its port and its pid."""
    (port,) = free_ports(1)
    config = folder / "trunkline.toml"
    config.write_text(CONFIG.format(port=port, bootstrap=bootstrap, folder=disk.folder))
    command = [*TRUNKLINE, "serve", "--config", str(config)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **disk.environment()})
    try:
        deadline = time.monotonic() + READY_S
        while not is_ready(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def run(port: int, calls: int, hold_s: float, begin: Callable[[], object], end: Callable[[], object]) -> dict[str, Any]:
    """One load test; `begin` and `end` of the fault are called within it."""
    command = [*TRUNKLINE, "loadtest", f"ws://127.0.0.1:{port}/twilio", "--calls", str(calls), "--rate", str(calls)]
    test = subprocess.Popen([*command, "--hold", str(hold_s), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(BEFORE_S)
        begin()
        time.sleep(max(hold_s - 2 * BEFORE_S, 1.0))
        end()
        output, _ = test.communicate()
    finally:
        test.kill()
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


class Killing:
    """The delivery process of a server, killed every second."""

    def __init__(self, server: int) -> None:
        self._server = psutil.Process(server)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            for child in self._server.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.__name__ in child.cmdline():
                        child.kill()


def delete_topics(bootstrap: str) -> None:
    """All that are there; the server makes them again."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    topics = [topic for topic in admin.list_topics() if topic.startswith("trunkline.")]
    if not topics:
        raise SystemExit("there are no topics to delete")
    admin.delete_topics(topics)
    admin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2)
    parser.add_argument("--hold", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    broker = KafkaBroker()
    broker.start()
    p95: dict[str, list[float]] = {}
    try:
        with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
            folder = Path(temporary)
            disk = Disk(folder / "disk", built(folder))
            port, pid = stack.enter_context(serving(folder, broker.bootstrap, disk))
            killing = Killing(pid)
            faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
                "undisturbed": (lambda: None, lambda: None),
                "frozen": (lambda: broker.signal(signal.SIGSTOP), lambda: broker.signal(signal.SIGCONT)),
                "killed": (broker.kill, broker.start),
                "topics_deleted": (lambda: delete_topics(broker.bootstrap), lambda: None),
                "disk_full": (lambda: disk.refuse("no space"), disk.recover),
                "delivery_killed": (killing.begin, killing.end),
            }
            for _ in range(given.rounds):
                for name, (begin, end) in faults.items():
                    log = folder / "server.log"
                    said_before = log.stat().st_size
                    report = run(port, given.calls, given.hold, begin, end)
                    if SAYS.get(name, "") not in log.read_bytes()[said_before:].decode():
                        raise SystemExit(f"{name}: the server has not met the fault: its log does not say so")
                    p95.setdefault(name, []).append(report["latency_p95_ms"])
                    print(f"{name}: p95 {p95[name][-1]:.0f} ms", flush=True)
    finally:
        broker.remove()
    medians = {name: statistics.median(values) for name, values in p95.items()}
    result: dict[str, object] = {f"{name}_p95_ms": round(value) for name, value in medians.items()}
    for name in medians.keys() - {"undisturbed"}:
        result[f"{name}_vs_undisturbed"] = round(medians[name] / medians["undisturbed"], 2)
    print(json.dumps(result | {"calls": given.calls, "rounds": given.rounds}))


if __name__ == "__main__":
    main()
