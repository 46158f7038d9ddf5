"""The configuration: `trunkline.toml` and `TRUNKLINE_*` environment variables over it, validated once.

`[engine] chunk_ms` in the file is `TRUNKLINE_ENGINE_CHUNK_MS` in the environment. Every class receives its own
section, never the tree.
"""

import re
import tomllib
from collections.abc import Mapping
from enum import EnumType
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from connectors.media_ws.config import TwilioConfig
from connectors.sip.config import SipConfig
from connectors.webrtc.config import WebRtcConfig
from engine.api import Precision
from liveview.api import LiveViewConfig
from liveview.forwarding import is_loopback
from pipeline.call import PipelineConfig
from sinks.config import JsonlConfig, KafkaConfig, LiveConfig, RedisConfig
from sinks.credentials import check_credentials
from trunkline.doors import open_doors
from trunkline.errors import ConfigError

DEFAULT_FILE = Path("trunkline.toml")
_PREFIX = "TRUNKLINE_"
_FOR_TESTS = "TRUNKLINE_TEST_"
_HOLDS_SECRET = re.compile("TOKEN|PASSWORD|CREDENTIAL|ICE_SERVERS|URL")


_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_OWN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/mic"})
_OWN_FOLDERS = ("/api/", "/static/")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`drain_s`: how long running calls may go on after the server was told to stop. `strict`: a door that stands open
    to everybody is a mistake in the configuration, not a warning.

    `request_head_s`: how long the headers of a request may take to come. `max_connections`: of HTTP and WebSockets at
    the same time; by default three quarters of the file descriptors. `max_connections_per_address`: by default half of
    those; a reverse proxy is one address."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    request_head_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    max_connections: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1)] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_pii: bool = False
    strict: bool = False

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checkpoint`: a `.nemo` file, a checkpoint folder or a hub id; without it the small demo model runs.
    `precision`: float32, bfloat16 or int8; the default is the fastest that keeps the words: int8 for a large model on a
    CPU, float32 for a small one, bfloat16 on CUDA. `threads`: CPU threads of a step.

    `max_sessions`: the most sessions at the same time, whatever there is time for; by default what memory has room for.
    `admission`: the server measures at its start what the machine has time for and refuses calls beyond it.

    `process`: where the engine of `serve` runs. `spawn`: in a process of its own that the server starts and watches;
    `in-process`: in the server; `unix:/path` or `tcp:host:port`: in the process of `trunkline engine --listen` there,
    whose own configuration then counts. `replay_s`: audio kept of each leg for an engine that takes over."""

    checkpoint: str | None = None
    device: str = "cpu"
    precision: Precision | None = None
    max_sessions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    admission: bool = True
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    process: Annotated[str, msgspec.Meta(pattern=r"^(spawn|in-process|unix:.+|tcp:.+:[0-9]+)$")] = "spawn"
    replay_s: Annotated[float, msgspec.Meta(ge=5, le=300)] = 30.0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree. SIP, WebRTC, Kafka and Redis are used when they have a section; a JSON lines file is always
    written unless its path is empty."""

    server: ServerConfig = ServerConfig()
    engine: EngineConfig = EngineConfig()
    pipeline: PipelineConfig = PipelineConfig()
    twilio: TwilioConfig = TwilioConfig()
    sip: SipConfig | None = None
    webrtc: WebRtcConfig | None = None
    liveview: LiveViewConfig = LiveViewConfig()
    live: LiveConfig = LiveConfig()
    jsonl: JsonlConfig = JsonlConfig()
    kafka: KafkaConfig | None = None
    redis: RedisConfig | None = None


def load_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the file (None: `trunkline.toml` here, if there is one) and the environment. Raises `ConfigError`."""
    sections = _read(path)
    for name, value in (environ or {}).items():
        if name.startswith(_PREFIX) and not name.startswith(_FOR_TESTS):
            _override(sections, name, value)
    origin = path or DEFAULT_FILE
    values = {}
    for name, data in sections.items():
        kind = _SECTIONS.get(name)
        if kind is None:
            raise ConfigError(f"{origin}: unknown section [{name}]: there are {', '.join(_SECTIONS)}")
        try:
            values[name] = msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(kind))
            hint = f" (known: {known})" if "unknown field" in str(error) else ""
            raise ConfigError(f"{origin}: [{name}] {str(error).replace('`', chr(39))}{hint}") from error
    config = Config(**values)
    _check_paths(config)
    _check_doors(config)
    return config


def _check_paths(config: Config) -> None:
    """Raises `ConfigError` where an endpoint would have no address of its own."""
    found: dict[str, str] = {}
    for section in ("twilio", "webrtc"):
        path = getattr(getattr(config, section), "path", None)
        if path is None:
            continue
        if not _PATH.fullmatch(path):
            raise ConfigError(f"[{section}] path = {path!r}: a path is like /{section}, of letters, digits and -._~/")
        if path.rstrip("/") in _OWN_PATHS or path.startswith(_OWN_FOLDERS):
            raise ConfigError(f"[{section}] path = {path!r} is an address of the server's own: choose another")
        if path.rstrip("/") in found:
            raise ConfigError(
                f"[{section}] path = {path!r} is that of [{found[path.rstrip('/')]}], too: choose another"
            )
        found[path.rstrip("/")] = section


def _check_doors(config: Config) -> None:
    """Raises `ConfigError` where everybody would see transcripts, and for any open door if that is asked for."""
    try:
        check_credentials(config.liveview, "token")
    except ValueError as error:
        raise ConfigError(f"[liveview] {error} (TRUNKLINE_LIVEVIEW_TOKEN)") from error
    if not config.server.is_loopback and config.liveview.token is None:
        raise ConfigError(
            f"[server] host = {config.server.host!r} can be reached from outside, but [liveview] token is not set: "
            "set one (TRUNKLINE_LIVEVIEW_TOKEN), or bind to 127.0.0.1"
        )
    doors = open_doors(config) if config.server.strict else []
    if doors:
        raise ConfigError(f"[server] strict = true, and {len(doors)} doors stand open: {'; '.join(doors)}")


def with_options(
    config: Config, *, port: int | None = None, chunk_ms: int | None = None, records: str | None = None
) -> Config:
    """The configuration with what the command line said put over it."""
    changes: dict[str, dict[str, Any]] = {
        "server": {} if port is None else {"port": port},
        "pipeline": {} if chunk_ms is None else {"chunk_ms": chunk_ms},
        "jsonl": {} if records is None else {"path": records},
    }
    sections = {
        name: msgspec.convert(msgspec.to_builtins(getattr(config, name)) | change, _SECTIONS[name])
        for name, change in changes.items()
    }
    return msgspec.structs.replace(config, **sections)


def _read(path: Path | None) -> dict[str, Any]:
    file = path or DEFAULT_FILE
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise ConfigError(f"{file}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _struct(kind: Any) -> Any:
    """The struct in `Struct` or `Struct | None`; None for anything else."""
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


_SECTIONS: dict[str, Any] = {field.name: _struct(field.type) for field in msgspec.structs.fields(Config)}


def _hint(kind: Any) -> str:
    """What a variable of this kind may hold, where the message of a wrong one does not say it."""
    if kind is bool:
        return ": write true or false"
    options = (kind, *get_args(kind))
    values: list[Any] = [value for option in options if get_origin(option) is Literal for value in get_args(option)]
    values += [value for option in options if isinstance(option, EnumType) for value in list[Any](option)]
    if values:
        return f": use one of {', '.join(str(value) for value in values)}"
    if any(get_origin(option) in (tuple, list, dict) for option in options):
        return ": lists and tables stand in the file"
    return ""


def _override(sections: dict[str, Any], variable: str, value: str) -> None:
    """Put one environment variable's value where the file would have it."""
    target, kind, rest = sections, Config, variable.removeprefix(_PREFIX).lower()
    while True:
        for field in msgspec.structs.fields(kind):
            nested = _struct(field.type)
            if nested is None and rest == field.name:
                try:
                    target[field.name] = msgspec.convert(value, field.type, strict=False)
                except msgspec.ValidationError as error:
                    shown = "..." if _HOLDS_SECRET.search(variable) else repr(value)
                    raise ConfigError(f"{variable}={shown}: {error}{_hint(field.type)}") from error
                return
            if nested is not None and rest.startswith(field.name + "_"):
                target, kind = target.setdefault(field.name, {}), nested
                rest = rest.removeprefix(field.name + "_")
                break
        else:
            raise ConfigError(f"{variable} is no setting: {_PREFIX}<SECTION>_<KEY>, sections {', '.join(_SECTIONS)}")
