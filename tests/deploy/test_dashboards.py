"""Dashboards and alerts against the metrics of a running server, scraped by a real Prometheus."""

import contextlib
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from testing.services.composed import DEPLOY
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports
from tests.services.missing import missing
from tests.services.prometheus import Prometheus

DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
SIP = '\n[sip]\nudp = "127.0.0.1:{port}"\ntcp = "127.0.0.1:{port}"\nallow = ["127.0.0.0/8"]\n'
"""Its metrics are exported where there is a SIP server."""


def panels() -> Iterator[tuple[str, str]]:
    """Title and expression of all queries."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield panel["title"], target["expr"]


def alerts() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@dataclass
class Watched:
    """`exported`: metrics that /metrics names; `sampled`: those that have a value."""

    prometheus: Prometheus
    exported: set[str]
    sampled: set[str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str, redis_url: str) -> Iterator[Watched]:
    """A server with the configuration of `deploy/`, Kafka, Redis and SIP, which Prometheus has scraped a few times."""
    folder = tmp_path_factory.mktemp("server")
    port, sip = free_ports(2)
    (folder / "trunkline.toml").write_text((DEPLOY / "trunkline.toml").read_text("utf-8") + SIP.format(port=sip))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")} | {
        "TRUNKLINE_SERVER_PORT": str(port),
        "TRUNKLINE_LIVEVIEW_TOKEN": "a-token",
        "TRUNKLINE_TWILIO_AUTH_TOKEN": "another",
        "TRUNKLINE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "TRUNKLINE_KAFKA_SPOOL": "kafka.spool",
        "TRUNKLINE_REDIS_URL": redis_url,
        "TRUNKLINE_REDIS_KEY_PREFIX": "test-deploy:",
        "TRUNKLINE_ENGINE_PROCESS": "in-process",
        "TRUNKLINE_ENGINE_MAX_SESSIONS": "2",
        "TRUNKLINE_ENGINE_ADMISSION": "false",
        "TRUNKLINE_ENGINE_PRECISION": "float32",  # no kernels to compile
    }
    command = [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main(['serve']))"]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        server = Popen(command, cwd=folder, env=environment, stderr=log)
        stack.callback(server.wait)
        stack.callback(server.kill)
        until_ready(server, f"http://127.0.0.1:{port}/readyz", folder / "log")
        try:
            prometheus = Prometheus(f"127.0.0.1:{port}")
            stack.callback(prometheus.remove)
            prometheus.start()
        except ServiceMissing as error:
            missing(str(error))
        deadline = time.monotonic() + 60
        while not prometheus.query('count_over_time(up{job="trunkline"}[1m]) > 3'):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        yield Watched(
            prometheus,
            {f"{one.name}_total" if one.type == "counter" else one.name for one in families} | {"up"},
            {sample.name for one in families for sample in one.samples} | {"up"},
        )


def until_ready(server: Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 200
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        else:
            return
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def metrics(expression: str) -> set[str]:
    """All names in a PromQL expression that are metrics."""
    without_labels = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without|on|ignoring) *\([^)]*\)", "", expression)
    return set(re.findall(r"\b(?:trunkline_\w+|up)\b", without_labels))


def test_server_is_scraped(watched: Watched) -> None:
    (target,) = watched.prometheus.get("targets")["activeTargets"]
    assert (target["labels"]["job"], target["health"], target["lastError"]) == ("trunkline", "up", "")


def test_dashboards_are_there_and_ask_for_metrics() -> None:
    assert len(list(panels())) >= 20
    assert all(metrics(expression) for _, expression in panels())


@pytest.mark.parametrize(("where", "expression"), [*panels(), *alerts()])
def test_metrics_that_are_asked_for_exist(watched: Watched, where: str, expression: str) -> None:
    assert metrics(expression) - watched.exported == set()


@pytest.mark.parametrize(("panel", "expression"), [*panels()])
def test_a_panel_shows_what_has_values(watched: Watched, panel: str, expression: str) -> None:
    """Some metrics have none before something happens: refusals by status, faults by place."""
    series = watched.prometheus.query(expression)
    assert series or not metrics(expression) <= watched.sampled


def test_prometheus_evaluates_the_alerts(watched: Watched) -> None:
    (group,) = watched.prometheus.get("rules", type="alert")["groups"]
    assert {rule["name"] for rule in group["rules"]} == {name for name, _ in alerts()}
    assert {rule["name"]: rule.get("lastError") for rule in group["rules"] if rule["health"] == "err"} == {}


def test_nothing_alarms_where_nothing_is_wrong(watched: Watched) -> None:
    assert [series["metric"] for series in watched.prometheus.query("ALERTS")] == []
