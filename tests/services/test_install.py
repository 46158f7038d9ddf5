"""What happens where a service is missing."""

import os
import shutil

import pytest

from tests.services import install
from tests.services.kafka_broker import KafkaBroker
from tests.services.missing import ServiceMissing, missing
from tests.services.redis_server import RedisServer


def test_missing_service_fails_the_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no broker"):
        missing("no broker")


def test_missing_service_skips_the_test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no broker"):
        missing("no broker")


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServiceMissing, match="redis-server is not installed"):
        RedisServer()
    with pytest.raises(ServiceMissing, match="java is not installed"):
        KafkaBroker()


def test_install_says_what_to_install_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "is_there", lambda sign: sign != "redis-server")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    install.install_packages()
    assert "please install redis-server; tests that need" in capsys.readouterr().out
