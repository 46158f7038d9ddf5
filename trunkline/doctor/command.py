"""The checks side by side, their findings in a fixed order, and the exit code."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Thread

from connectors.errors import ConnectorError
from engine.errors import EngineError
from sinks.errors import SinkError
from trunkline.config import Config
from trunkline.config_file import load_config
from trunkline.doctor import engine
from trunkline.doctor.certificates import check_certificates
from trunkline.doctor.configuration import check_configuration, check_doors
from trunkline.doctor.disk import check_disks
from trunkline.doctor.findings import Finding, Level, fault
from trunkline.doctor.kafka import check_kafka
from trunkline.doctor.machine import check_cpu, check_descriptors, check_memory
from trunkline.doctor.network import check_ports, check_rtp
from trunkline.doctor.plugins import check_bots, check_plugins
from trunkline.doctor.redis import check_redis
from trunkline.doctor.secrets import masked, secrets_of
from trunkline.doctor.twilio import check_twilio
from trunkline.doctor.webhooks import check_webhooks
from trunkline.errors import ConfigError, TrunklineError
from trunkline.logs import escaped

Check = Callable[[Config], Iterable[Finding]]

LIMIT_S = 15.0
"""For each check: a broker that does not answer takes some five seconds to be given up."""

_CHECKS: Mapping[str, Check] = {
    "access": check_doors,
    "cpu": check_cpu,
    "memory": check_memory,
    "open files": check_descriptors,
    "ports": check_ports,
    "rtp": check_rtp,
    "certificates": check_certificates,
    "twilio": check_twilio,
    "disk": check_disks,
    "kafka": check_kafka,
    "redis": check_redis,
    "webhooks": check_webhooks,
    "plug-ins": check_plugins,
    "bots": check_bots,
}
"""By subject, in the order of the output. The engine comes last, alone: the others would take its time."""

_FOR_PEOPLE = (SinkError, EngineError, ConnectorError, TrunklineError)
_COLOURS = {Level.OK: "\x1b[32m", Level.WARNING: "\x1b[33m", Level.FAULT: "\x1b[31m"}
_PLAIN = "\x1b[0m"
_WIDTH = 14
"""Of the longest subject and a space."""


class _Running:
    """A check on a thread that the process does not wait for at its end."""

    def __init__(self, subject: str, check: Check, config: Config) -> None:
        self._subject = subject
        self._found: list[Finding] = []
        self._thread = Thread(target=self._run, args=(check, config), name=f"check {subject}", daemon=True)
        self._thread.start()

    def wait(self, limit_s: float) -> list[Finding]:
        self._thread.join(limit_s)
        if self._thread.is_alive():
            return [*self._found, fault(self._subject, "the check got no answer in time: see whether something hangs")]
        return self._found

    def _run(self, check: Check, config: Config) -> None:
        try:
            for one in check(config):
                self._found.append(one)
        except _FOR_PEOPLE as error:
            self._found.append(fault(self._subject, str(error).removeprefix(f"{self._subject}: ")))
        except Exception as error:  # noqa: BLE001 - the other checks have something to say, too
            self._found.append(fault(self._subject, f"the check failed: {type(error).__name__}: {error}"))


def doctor(path: Path | None, environ: Mapping[str, str], *, as_json: bool = False) -> int:
    """Print the findings; 0 without a fault, 1 with one, 2 where the configuration cannot be used."""
    secrets: list[str] = []
    every: list[Finding] = []

    def report(found: Iterable[Finding]) -> None:
        clean = [Finding(one.subject, one.level, escaped(masked(one.what, secrets))) for one in found]
        every.extend(clean)
        if not as_json:
            for one in clean:
                print(_line(one), flush=True)

    code = 2
    try:
        config = load_config(path, environ)
    except ConfigError as error:
        report([fault("configuration", str(error))])
    else:
        secrets = secrets_of(config)
        _examine(config, path, environ, report)
        code = int(any(one.level is Level.FAULT for one in every))
    if as_json:
        print(json.dumps([asdict(one) for one in every], ensure_ascii=False))
    return code


def _examine(
    config: Config, path: Path | None, environ: Mapping[str, str], report: Callable[[Iterable[Finding]], None]
) -> None:
    deadline = time.monotonic() + LIMIT_S
    running = [_Running("configuration", lambda whole: check_configuration(whole, path, environ), config)]
    running += [_Running(subject, check, config) for subject, check in _CHECKS.items()]
    for one in running:
        report(one.wait(max(deadline - time.monotonic(), 0.0)))
    report(_Running("engine", engine.check_engine, config).wait(engine.LIMIT_S + LIMIT_S))


def _line(one: Finding) -> str:
    level = f"{one.level:<8}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        level = f"{_COLOURS[one.level]}{level}{_PLAIN}"
    return f"{level} {one.subject:<{_WIDTH}}{one.what}"
