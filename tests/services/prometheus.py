"""A private Prometheus for tests, with the scrape jobs and the rules of `deploy/prometheus`."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from testing.services.composed import DEPLOY
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports

CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
START_TIMEOUT_S = 30.0


class Prometheus:
    """Debian's prometheus on a port of the loopback interface; scrapes `target`, host:port, every second."""

    def __init__(self, target: str) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            raise ServiceMissing("prometheus is not installed: run `python -m tests.services.install`")
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-prometheus-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._url = f"http://127.0.0.1:{free_ports(1)[0]}"
        config = yaml.safe_load(CONFIG.read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [target]}]
        self._config = self._folder / "prometheus.yml"
        self._config.write_text(yaml.safe_dump(config))

    def start(self) -> None:
        """Returns when it answers. Raises `ServiceMissing` if it does not come up."""
        arguments = [
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
        ]
        log = self._folder / "prometheus.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"{self._url}/-/ready", timeout=5).close()
            except urllib.error.HTTPError as error:
                error.close()
            except OSError:
                pass
            else:
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text()[-2000:]
                self.remove()
                raise ServiceMissing(f"prometheus does not start: {said}")
            time.sleep(0.05)

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of `/api/v1/{path}`. Raises `AssertionError` with what Prometheus says is wrong."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression gives now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def remove(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)
