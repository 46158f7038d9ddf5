"""What happens where a service is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from testing.services.kafka_broker import KafkaBroker
from testing.services.missing import ServiceMissing
from tests.services import install
from tests.services.kamailio import Kamailio
from tests.services.missing import missing
from tests.services.redis_server import RedisServer
from tests.services.rtpengine import RtpEngine


def test_missing_service_fails_the_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no broker"):
        missing("no broker")


def test_missing_service_skips_the_test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no broker"):
        missing("no broker")


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ServiceMissing, match="redis-server is not installed"):
        RedisServer()
    with pytest.raises(ServiceMissing, match="java is not installed"):
        KafkaBroker()
    with pytest.raises(ServiceMissing, match="rtpengine is not installed"):
        RtpEngine()
    with pytest.raises(ServiceMissing, match="kamailio is not installed"):
        Kamailio(("127.0.0.1", 0), {})


def test_install_says_what_to_install_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "is_there", lambda sign: sign != "redis-server")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    install.install_packages()
    assert "please install redis-server; tests that need" in capsys.readouterr().out


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
def test_services_of_packages_are_not_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str | None
) -> None:
    policy = tmp_path / "policy-rc.d"
    if before is not None:
        policy.write_text(before)
        policy.chmod(0o755)
    asked: list[tuple[str, int]] = []
    run = subprocess.run

    def apt(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append((command[4], run([policy], check=False).returncode))
        return subprocess.CompletedProcess(command, 1, "", "no network")

    monkeypatch.setattr(install, "POLICY", policy)
    monkeypatch.setattr(install, "is_there", lambda sign: sign != "rtpengine")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", apt)
    install.install_packages()
    answer = 101 if before is None else 0
    assert asked == [("update", answer), ("install", answer)]
    assert (policy.read_text() if policy.exists() else None) == before
