"""The command as it is called, and the frame around the checks."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.services.ports import free_ports
from tests.trunkline.command import trunkline
from trunkline.config import Config
from trunkline.doctor import command, engine
from trunkline.doctor.findings import Finding, ok, warning

SECRET = "marker-s3cret"

EVERYTHING = """
[server]
port = {port}
[engine]
process = "unix:{folder}/engine.sock"
[liveview]
token = "{secret}-liveview"
[twilio]
auth_token = "{secret}-twilio"
[webrtc]
token = "{secret}-webrtc"
ice_servers = [{{url = "turn:a.example", username = "a", credential = "{secret}-turn"}}]
[sip]
udp = "127.0.0.1:{sip}"
tcp = "127.0.0.1:{sip}"
credentials = [{{username = "pbx", password = "{secret}-sip"}}]
[sip.rtp]
first_port = 20000
last_port = 20100
[jsonl]
path = "{folder}/records.jsonl"
[kafka]
bootstrap_servers = "127.0.0.1:{away}"
spool = "{folder}/no/spool"
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-256"
sasl_username = "trunkline"
sasl_password = "{secret}-kafka"
tls_certificate_file = "{folder}/no.pem"
tls_key_file = "{folder}/no.key"
tls_key_password = "{secret}-key"
[redis]
url = "redis://nobody:{secret}-redis@{redis}/0"
"""


def test_no_secret_is_ever_printed(redis_url: str, tmp_path: Path) -> None:
    port, sip, away = free_ports(3)
    redis = redis_url.removeprefix("redis://").partition("/")[0]
    file = tmp_path / "trunkline.toml"
    file.write_text(
        EVERYTHING.format(port=port, sip=sip, away=away, folder=tmp_path, secret=SECRET, redis=redis), "utf-8"
    )
    file.chmod(0o644)
    done = trunkline("doctor", "--config", file, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert SECRET not in done.stdout
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "fault") for line in lines)
    for subject, part in (
        ("configuration", "holds secrets and everybody may read it"),
        ("twilio", "auth_token has 20 characters"),
        ("disk", "[kafka] spool"),
        ("certificates", "no.pem: No such file or directory"),
        ("kafka", "no.pem"),
        ("redis", "see [redis] url"),
        ("engine", "start `trunkline engine --listen"),
    ):
        assert any(line[9:].startswith(subject) and part in line for line in lines), (subject, done.stdout)
    as_json = trunkline("doctor", "--json", "--config", file, cwd=tmp_path)
    assert (as_json.returncode, as_json.stderr, as_json.stdout.count("\n")) == (1, "", 1)
    assert SECRET not in as_json.stdout
    findings = json.loads(as_json.stdout)
    assert [list(one) for one in findings] == [["subject", "level", "what"]] * len(lines)
    assert [one["subject"] for one in findings] == [line[9:23].strip() for line in lines]


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text("[kafka]\n")
    done = trunkline("doctor", "--config", file, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(f"fault    configuration {file}: [kafka] Object missing required field")
    assert done.stdout.count("\n") == 1
    as_json = trunkline("doctor", "--json", "--config", file, cwd=tmp_path)
    assert as_json.returncode == 2
    assert [(one["subject"], one["level"]) for one in json.loads(as_json.stdout)] == [("configuration", "fault")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_REDIS_URL", "http://cache"),
        ("TRUNKLINE_KAFKA_BOOTSTRAP_SERVERS", "broker"),
        ("TRUNKLINE_JSONL_PATH", "."),
    ],
)
def test_a_setting_that_cannot_be_is_no_finding_of_a_machine_but_of_the_configuration(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.doctor(None, {name: value}) == 2


def fails(_: Config) -> Iterator[Finding]:
    yield warning("first", "something\nodd")
    raise RuntimeError("with of-twilio in it")


def hangs(_: Config) -> Iterator[Finding]:
    time.sleep(30)
    yield ok("second", "late")


def test_a_check_that_fails_or_hangs_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    checks = {"first": fails, "second": hangs, "third": lambda _: [ok("third", "well")]}
    monkeypatch.setattr(command, "_CHECKS", checks)
    monkeypatch.setattr(command, "LIMIT_S", 0.5)
    monkeypatch.setattr(engine, "check_engine", lambda _: [ok("engine", "well")])
    monkeypatch.chdir(tmp_path)
    assert command.doctor(None, {"TRUNKLINE_TWILIO_AUTH_TOKEN": "of-twilio"}) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok       configuration defaults (there is no trunkline.toml), 1 variables of the environment",
        r"warning  first         something\nodd",
        "fault    first         the check failed: RuntimeError: with *** in it",
        "fault    second        the check got no answer in time: see whether something hangs",
        "ok       third         well",
        "ok       engine        well",
    ]


def test_warnings_are_no_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "_CHECKS", {"first": lambda _: [warning("first", "odd")]})
    monkeypatch.setattr(engine, "check_engine", lambda _: [])
    monkeypatch.chdir(tmp_path)
    assert command.doctor(None, {}, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"subject": "first", "level": "warning", "what": "odd"}
