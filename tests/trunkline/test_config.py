import json
import re
from pathlib import Path

import pytest

from trunkline.config import Config, ServerConfig
from trunkline.config_file import load_config, with_options
from trunkline.doors import engine_door, open_doors
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


WEBHOOKS = """
[webhooks]
[[webhooks.endpoints]]
name = "crm"
url = "https://crm.example.com/hook"
events = ["call.END"]
[[sinks.plugins]]
class = "own:Sink"
options = { path = "here", size = 3 }
[jsonl]
rotate_bytes = 1000
rotate_daily = true
keep = 7
"""


def test_destinations_are_read_and_the_secret_may_stand_in_the_environment(tmp_path: Path) -> None:
    secret = "whsec_" + "c2VjcmV0" * 4
    config = load_config(write(tmp_path, WEBHOOKS), {"TRUNKLINE_WEBHOOKS_SECRET": secret})
    assert config.webhooks is not None
    assert (config.webhooks.secret, config.webhooks.endpoints[0].events) == (secret, ("call.END",))
    (plugin,) = config.sinks.plugins
    assert (plugin.class_, plugin.options) == ("own:Sink", {"path": "here", "size": 3})
    assert (config.jsonl.rotate_bytes, config.jsonl.rotate_daily, config.jsonl.keep) == (1000, True, 7)
    with pytest.raises(ConfigError, match="secret is not whsec_ and 24 to 64 random bytes") as caught:
        load_config(write(tmp_path, WEBHOOKS), {"TRUNKLINE_WEBHOOKS_SECRET": "whsec_HIDDEN"})
    assert "HIDDEN" not in str(caught.value)
    with pytest.raises(ConfigError, match="crm: secret is not set, nor is one for all"):
        load_config(write(tmp_path, WEBHOOKS))


@pytest.mark.parametrize("page", ["sinks.md", "operating.md"])
def test_what_the_documentation_shows_can_be_read(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    found = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found
    for block in found:
        load_config(write(tmp_path, block.replace("whsec_...", "whsec_" + "c2VjcmV0" * 4)))


ENDPOINT = "[[webhooks.endpoints]]\nname = 'a'\nurl = 'https://a.example'\n"


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
        ("[kafka]\nbootstrap_servers = 'kafka://a:9092'\n", r"\[kafka\] bootstrap_servers is a URL: write host:port"),
        ("[kafka]\nbootstrap_servers = 'a'\n", "has no port: write host:port, such as a:9092"),
        ("[kafka]\nbootstrap_servers = 'a:1'\nevents_topic = ''\n", "events_topic must not be empty"),
        ("[redis]\nurl = 'cache:6379'\n", r"\[redis\] url: begin it with one of redis"),
        (
            ENDPOINT + "evnts = []\n",
            r"unknown field 'evnts' - at '\$.endpoints.*known: name, url, secret, events, ",
        ),
        ("[[sinks.plugins]]\nclss = 'a:A'\n", r"'clss'.*known: class, options\)"),
        ("[twilio.roles]\nin = 'agent'\n", r"'in'.*known: inbound, outbound\)"),
        ("[twilio.roles]\ninbound = 'agnt'\n", r"'agnt'.*: use one of \w+, \w+"),
        ("[kafka]\nbootstrap_servers = 'a:1'\ncompression = 'zip'\n", r"'zip'.*: use one of gzip, lz4, zstd"),
        ("[server]\nlog_level = 'info'\n", "use one of DEBUG, INFO, WARNING, ERROR"),
        ("[engine]\nprecision = 'fp16'\n", "use one of float32, bfloat16, int8"),
        ("[jsonl]\nkeep = 3\n", r"\[jsonl\] keep = 3 deletes nothing without rotation: set rotate_bytes or"),
        ("[kafka]\nbootstrap_servers = 'a:1'\nspool = '.'\n", r"\[kafka\] spool = '.' is a folder: name a file in it"),
        ("[jsonl]\npath = '/tmp'\n", r"\[jsonl\] path = '/tmp' is a folder"),
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
        ("TRUNKLINE_SERVER_STRICT", "yes", "write true or false"),
        ("TRUNKLINE_SERVER_LOG_LEVEL", "info", "use one of DEBUG, INFO, WARNING, ERROR"),
        ("TRUNKLINE_ENGINE_PRECISION", "fp16", "use one of float32, bfloat16, int8"),
        ("TRUNKLINE_TWILIO_ORIGINS", "https://desk.example.com", "lists and tables stand in the file"),
        ("TRUNKLINE_SIP_ALLOW", "192.0.2.0/24", "lists and tables stand in the file"),
    ],
)
def test_wrong_environment_variables_are_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, ""), {name: value})


@pytest.mark.parametrize("path", ["/{call", "/tw ilio", "/twilio?a=1", "/twilio#a", "/", "//", "/twilio//", "/t\n"])
def test_a_path_that_no_request_can_have_is_a_mistake(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"\[twilio\] .*a path is like /twilio"):
        load_config(write(tmp_path, ""), {"TRUNKLINE_TWILIO_PATH": path})
    with pytest.raises(ConfigError, match=r"\[webrtc\] "):
        load_config(write(tmp_path, f"[webrtc]\npath = {json.dumps(path)}\n"))


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/metrics/", "/mic", "/api/calls", "/static/live.js"])
def test_a_path_of_the_servers_own_is_a_mistake(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="an address of the server's own"):
        load_config(write(tmp_path, ""), {"TRUNKLINE_TWILIO_PATH": path})


def test_two_endpoints_at_one_path_are_a_mistake(tmp_path: Path) -> None:
    file = write(tmp_path, "[twilio]\npath = '/in/'\n[webrtc]\npath = '/in'\n")
    with pytest.raises(ConfigError, match=r"\[webrtc\] path = '/in' is that of \[twilio\], too"):
        load_config(file)


@pytest.mark.parametrize("path", ["/twilio", "/a/b-c_d.e~1", "/media/", "/apis"])
def test_other_paths_are_taken(tmp_path: Path, path: str) -> None:
    assert load_config(write(tmp_path, ""), {"TRUNKLINE_TWILIO_PATH": path}).twilio.path == path


def test_outside_address_is_allowed_with_a_token(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[server]\nhost = '0.0.0.0'\n[liveview]\ntoken = 'secret'\n"))
    assert not config.server.is_loopback


def test_command_line_options_come_last() -> None:
    config = with_options(Config(), port=9, chunk_ms=560, records="out.jsonl")
    assert (config.server.port, config.pipeline.chunk_ms, config.jsonl.path) == (9, 560, "out.jsonl")
    assert with_options(config) == config


# -- doors


@pytest.mark.parametrize("token", ["", " ", "\t\n", "\u3000"], ids=ascii)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_an_empty_token_is_never_taken_for_one(tmp_path: Path, host: str, token: str) -> None:
    file = write(tmp_path, f"[server]\nhost = '{host}'\n")
    with pytest.raises(ConfigError, match=r"\[liveview\] token is empty"):
        load_config(file, {"TRUNKLINE_LIVEVIEW_TOKEN": token})
    with pytest.raises(ConfigError, match=r"\[liveview\] token is empty"):
        load_config(write(tmp_path, f"[server]\nhost = '{host}'\n[liveview]\ntoken = {json.dumps(token)}\n"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_TWILIO_AUTH_TOKEN", ""),
        ("TRUNKLINE_TWILIO_ACCOUNT_SID", " "),
        ("TRUNKLINE_WEBRTC_TOKEN", ""),
        ("TRUNKLINE_KAFKA_SASL_PASSWORD", ""),
        ("TRUNKLINE_REDIS_URL", "redis://:@cache/0"),
        ("TRUNKLINE_SIP_TLS_CLIENT_CA", ""),
        ("TRUNKLINE_LIVEVIEW_TOKEN", "secret\n"),
    ],
)
def test_an_empty_variable_of_a_secret_is_a_mistake_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    file = write(tmp_path, "[kafka]\nbootstrap_servers = 'k:9092'\n")
    with pytest.raises(ConfigError, match=r"empty|line break") as error:
        load_config(file, {name: value})
    assert "\n" not in str(error.value)


def test_a_mistaken_variable_does_not_show_its_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TRUNKLINE_SIP_CREDENTIALS") as error:
        load_config(write(tmp_path, ""), {"TRUNKLINE_SIP_CREDENTIALS": "alice:hunter2"})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "localhost", "LocalHost", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_however_it_is_written(host: str) -> None:
    assert ServerConfig(host=host).is_loopback


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "::ffff:0.0.0.0", "192.168.1.2", "localhost.example", "127.1"])
def test_whatever_else_can_be_reached_needs_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"\[liveview\] token is not set"):
        load_config(write(tmp_path, f"[server]\nhost = '{host}'\n"))


OUTSIDE = "[server]\nhost = '0.0.0.0'\nstrict = {}\n[liveview]\ntoken = 't'\n"
ALL_SIP = r"anybody may call \[sip\] udp = '0.0.0.0:5060', tcp = '0.0.0.0:5060'"


@pytest.mark.parametrize(
    ("text", "door"),
    [
        ("", r"anybody may stream to /twilio: set \[twilio\] auth_token"),
        ("[sip]\n", ALL_SIP),
        ("[sip]\nallow = ['10.0.0.0/8', '0.0.0.0/0']\n", ALL_SIP),
        ("[sip]\nallow = ['0.0.0.0/1', '128.0.0.0/1']\n", ALL_SIP),
        ("[sip]\nallow = ['::/0']\n", ALL_SIP),
        ("[sip]\nudp = '127.0.0.1'\ntcp = '192.0.2.7:5070'\n", r"\[sip\] tcp = '192.0.2.7:5070'"),
        ("[sip]\nudp = '[::]:5060'\n", r"\[sip\] udp = '\[::\]:5060'"),
        ("[sip]\ntls = '0.0.0.0'\ntls_cert = 'c'\ntls_key = 'k'\n", r"tls = '0.0.0.0'"),
        ("[webrtc]\n", r"anybody may send audio to /whip: set \[webrtc\] token"),
        ("[webrtc]\npath = '/in'\n", "anybody may send audio to /in"),
        ("[webrtc]\norigins = ['*']\n", r"pages of any site may use /whip: name them in \[webrtc\] origins"),
    ],
)
def test_strict_refuses_a_door_that_stands_open_and_names_it(tmp_path: Path, text: str, door: str) -> None:
    config = load_config(write(tmp_path, OUTSIDE.format("false") + text))
    assert any(re.search(door, line) for line in open_doors(config))
    with pytest.raises(ConfigError, match=door) as error:
        load_config(write(tmp_path, OUTSIDE.format("true") + text))
    assert "\n" not in str(error.value)


def test_strict_names_all_open_doors_in_one_line(tmp_path: Path) -> None:
    file = write(tmp_path, OUTSIDE.format("false") + "[sip]\n[webrtc]\n")
    with pytest.raises(ConfigError, match=r"3 doors stand open: .*/twilio.*/whip.*\[sip\]"):
        load_config(file, {"TRUNKLINE_SERVER_STRICT": "true"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[sip]\nallow = ['192.0.2.0/24']\n",
        "[sip]\ncredentials = [{username = 'u', password = 'p'}]\n",
        "[sip]\nudp = '127.0.0.1'\ntcp = '[::1]:5060'\n",
        "[webrtc]\ntoken = 'w'\n",
    ],
)
def test_strict_starts_where_every_door_has_a_lock(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, OUTSIDE.format("true") + "[twilio]\nauth_token = 'a'\n" + text))
    assert open_doors(config) == []


def test_a_client_certificate_locks_sip_over_tls(tmp_path: Path) -> None:
    tls = "[sip]\nudp = '127.0.0.1'\ntcp = '127.0.0.1'\ntls = '0.0.0.0'\ntls_cert = 'c'\ntls_key = 'k'\n"
    assert len(open_doors(load_config(write(tmp_path, tls)))) == 1
    assert open_doors(load_config(write(tmp_path, tls + "tls_client_ca = 'ca'\n"))) == []


def test_a_server_on_loopback_has_no_open_doors_but_to_pages_of_any_site(tmp_path: Path) -> None:
    assert open_doors(load_config(write(tmp_path, "[webrtc]\n"))) == []
    assert len(open_doors(load_config(write(tmp_path, "[webrtc]\norigins = ['*']\n[twilio]\norigins = ['*']\n")))) == 2


@pytest.mark.parametrize("listen", ["tcp:0.0.0.0:9000", "tcp:[::]:9000", "tcp:engine.example:9000", "tcp:10.0.0.1:1"])
def test_an_engine_that_can_be_reached_from_outside_is_an_open_door(listen: str) -> None:
    assert listen in (engine_door(listen) or "")


@pytest.mark.parametrize("listen", ["tcp:127.0.0.1:9000", "tcp:[::1]:9000", "tcp:localhost:9000", "unix:/run/engine"])
def test_an_engine_on_this_machine_is_none(listen: str) -> None:
    assert engine_door(listen) is None


KAFKA_IN_ONE = "[kafka]\nbootstrap_servers = 'k:9092'\nspool = 'one'\n"
WEBHOOKS_IN_ONE = """[webhooks]
spool = './one'
[[webhooks.endpoints]]
name = 'a'
url = 'https://a.example'
secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
"""


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("[jsonl]\npath = './one'\n" + KAFKA_IN_ONE, r"\[jsonl\] path and \[kafka\] spool"),
        (KAFKA_IN_ONE + WEBHOOKS_IN_ONE, r"\[kafka\] spool and \[webhooks\] spool"),
    ],
)
def test_two_settings_never_name_one_file(tmp_path: Path, text: str, settings: str) -> None:
    with pytest.raises(ConfigError, match=f"{settings} are the same file"):
        load_config(write(tmp_path, text), {})
