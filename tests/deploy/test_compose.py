"""`deploy/compose.yaml` as podman-compose reads it, and the configuration that it gives Trunkline."""

import contextlib
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from testing.services.composed import DEPLOY, kafka_properties, services
from testing.services.kafka_broker import POM
from trunkline.config_file import load_config

SECRETS = {"TRUNKLINE_LIVEVIEW_TOKEN": "a-token", "TRUNKLINE_TWILIO_AUTH_TOKEN": "another", "GRAFANA_PASSWORD": "third"}


def composed(**secrets: str) -> subprocess.CompletedProcess[str]:
    """What it says of the file with these variables. It asks podman for its version first; `echo` will do."""
    program = [str(Path(sys.executable).with_name("podman-compose")), "--podman-path", shutil.which("echo") or "echo"]
    return subprocess.run(
        [*program, "--file", str(DEPLOY / "compose.yaml"), "config"],
        env={"PATH": os.environ["PATH"]} | secrets,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    done = composed(**SECRETS)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_all_parts_are_there_each_of_a_named_version(read: dict[str, Any]) -> None:
    assert set(read) == {"trunkline", "kafka", "redis", "prometheus", "grafana"}
    images = {name: service["image"].rpartition(":") for name, service in read.items() if name != "trunkline"}
    assert all(version[:1].isdigit() or version[:2] in ("v2", "v3") for _, _, version in images.values())


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_is_missing_or_empty_is_named(secret: str) -> None:
    for secrets in ({name: value for name, value in SECRETS.items() if name != secret}, SECRETS | {secret: ""}):
        done = composed(**secrets)
        assert done.returncode != 0
        assert secret in done.stderr


def test_trunkline_runs_without_rights_on_a_root_that_it_cannot_change(read: dict[str, Any]) -> None:
    trunkline = read["trunkline"]
    assert trunkline["user"] == "10001"
    assert trunkline["read_only"] is True
    assert trunkline["cap_drop"] == ["ALL"]
    assert trunkline["security_opt"] == ["no-new-privileges:true"]
    assert trunkline["tmpfs"][0].startswith("/tmp:")


def test_only_this_machine_reaches_what_is_published(read: dict[str, Any]) -> None:
    ports = [port for service in read.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_is_there(read: dict[str, Any]) -> None:
    mounts = [volume.split(":") for service in read.values() for volume in service.get("volumes", ())]
    files = [source for source, *_ in mounts if source.startswith(".")]
    assert len(files) == 4
    assert all((DEPLOY / source).exists() for source in files)


def test_configuration_has_no_open_door_and_names_the_other_services(read: dict[str, Any]) -> None:
    config = load_config(DEPLOY / "trunkline.toml", read["trunkline"]["environment"])
    assert config.server.strict
    assert config.kafka is not None
    assert config.kafka.bootstrap_servers in kafka_properties()["advertised.listeners"]
    assert config.redis is not None
    assert config.redis.url.startswith("redis://redis:6379")


def test_configuration_without_its_secrets_is_a_mistake() -> None:
    with pytest.raises(Exception, match="TRUNKLINE_LIVEVIEW_TOKEN"):
        load_config(DEPLOY / "trunkline.toml", {})


def test_the_broker_of_the_tests_has_the_version_and_the_settings_of_the_file(kafka_bootstrap: str) -> None:
    (version,) = {
        found.text
        for found in ET.parse(POM).iter()
        if found.tag.endswith("version") and (found.text or "").startswith("4.")
    }
    assert services()["kafka"]["image"] == f"docker.io/apache/kafka:{version}"
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        broker = ConfigResource(ConfigResourceType.BROKER, "1", configs=None)
        settings = admin.describe_configs([broker], config_filter="all")["broker"]["1"]
    elsewhere = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    expected = {name: value for name, value in kafka_properties().items() if name not in elsewhere}
    assert {name: str(settings[name]["value"]) for name in expected} == expected


def test_the_redis_of_the_tests_has_the_settings_of_the_file(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        settings = client.config_get("*")
    assert isinstance(settings, dict)
    assert (settings["save"], settings["appendonly"], settings["maxmemory-policy"]) == ("", "no", "noeviction")
    assert settings["maxmemory"] == str(256 * 2**20)
