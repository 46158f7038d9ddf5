from pathlib import Path

import pytest

from trunkline.config import Config, load_config, with_options
from trunkline.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "trunkline.toml"
    path.write_text(text, "utf-8")
    return path


def test_no_file_and_no_environment_give_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config()
    assert config == Config()
    assert (config.server.host, config.engine.checkpoint, config.kafka, config.redis) == ("127.0.0.1", None, None, None)


def test_file_sections_and_keys_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[engine]\nmax_sessions = 9\n[twilio.roles]\ninbound = "agent"\n[kafka]\nbootstrap_servers = "kafka:9092"\n',
    )
    config = load_config(path)
    assert config.engine.max_sessions == 9
    assert config.twilio.roles.inbound == "agent"
    assert config.kafka is not None
    assert config.kafka.bootstrap_servers == "kafka:9092"


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[pipeline]\nchunk_ms = 320\n")
    environ = {
        "TRUNKLINE_PIPELINE_CHUNK_MS": "80",
        "TRUNKLINE_ENGINE_CHECKPOINT": "model.nemo",
        "TRUNKLINE_TWILIO_ROLES_OUTBOUND": "customer",
        "TRUNKLINE_REDIS_URL": "redis://cache:6379/1",
        "TRUNKLINE_TEST_KAFKA": "is not a setting",
        "HOME": "/nowhere",
    }
    config = load_config(path, environ)
    assert config.pipeline.chunk_ms == 80
    assert config.engine.checkpoint == "model.nemo"
    assert config.twilio.roles.outbound == "customer"
    assert config.redis is not None
    assert config.redis.url == "redis://cache:6379/1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine]\nchekpoint = 'x'\n", r"\[engine\] .*unknown field 'chekpoint'.*known: checkpoint"),
        ("[enigne]\n", r"unknown section \[enigne\]: there are server, engine"),
        ("[pipeline]\nchunk_ms = 100\n", r"\[pipeline\] Invalid enum value 100"),
        ("[server]\nport = 'eighty'\n", r"\[server\] Expected `?'?int"),
        ("[server]\nport = 70000\n", r"\[server\] .*65535"),
        ("[server\n", "not valid TOML"),
        ("[server]\nhost = '0.0.0.0'\n", r"\[liveview\] token is not set"),
        ("[kafka]\n", r"\[kafka\] .*bootstrap_servers"),
    ],
)
def test_mistakes_are_one_line_that_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such configuration file"):
        load_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TRUNKLINE_ENGINE_CHUNK", "80", "is no setting"),
        ("TRUNKLINE_SERVER_PORT", "many", "TRUNKLINE_SERVER_PORT='many'"),
    ],
)
def test_wrong_environment_variables_are_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, ""), {name: value})


def test_outside_address_is_allowed_with_a_token(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[server]\nhost = '0.0.0.0'\n[liveview]\ntoken = 'secret'\n"))
    assert not config.server.is_loopback


def test_command_line_options_come_last() -> None:
    config = with_options(Config(), port=9, chunk_ms=560, records="out.jsonl")
    assert (config.server.port, config.pipeline.chunk_ms, config.jsonl.path) == (9, 560, "out.jsonl")
    assert with_options(config) == config
