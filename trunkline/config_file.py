"""The configuration as it comes: `trunkline.toml` and `TRUNKLINE_*` environment variables over it, validated once.

`[engine] chunk_ms` in the file is `TRUNKLINE_ENGINE_CHUNK_MS` in the environment.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from sinks.credentials import check_credentials
from trunkline.config import Config
from trunkline.doors import open_doors
from trunkline.errors import ConfigError

DEFAULT_FILE = Path("trunkline.toml")
_PREFIX = "TRUNKLINE_"
_FOR_TESTS = "TRUNKLINE_TEST_"
_HOLDS_SECRET = re.compile("TOKEN|PASSWORD|SECRET|CREDENTIAL|ICE_SERVERS|URL")

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_OWN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/mic"})
_OWN_FOLDERS = ("/api/", "/static/")


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
            text = str(error)
            raise ConfigError(f"{origin}: [{name}] {text.replace('`', chr(39))}{_allowed(kind, text)}") from error
    config = Config(**values)
    _check_paths(config)
    _check_files(config)
    _check_doors(config)
    return config


def _check_files(config: Config) -> None:
    """Raises `ConfigError` where two settings name one file, and where one names a folder."""
    named = {"[jsonl] path": config.jsonl.path}
    if config.kafka is not None:
        named["[kafka] spool"] = config.kafka.spool
    if config.webhooks is not None:
        named["[webhooks] spool"] = config.webhooks.spool
    found: dict[str, str] = {}
    for setting, path in named.items():
        if path and Path(path).is_dir():
            raise ConfigError(f"{setting} = {path!r} is a folder: name a file in it")
        other = found.setdefault(os.path.realpath(path), setting) if path else setting
        if other != setting:
            raise ConfigError(f"{other} and {setting} are the same file, {path}: give each one of its own")


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


def _options(kind: Any) -> list[Any]:
    """The kinds in a union, without what is only said about them."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [option for one in get_args(kind) for option in _options(one)]
    return [kind]


def _values(kind: Any) -> str:
    """What there is to choose from; empty where there is no such list."""
    options = _options(kind)
    values: list[Any] = [value for option in options if get_origin(option) is Literal for value in get_args(option)]
    values += [value for option in options if isinstance(option, EnumType) for value in list[Any](option)]
    return ", ".join(str(value) for value in values)


def _hint(kind: Any) -> str:
    """What a variable of this kind may hold, where the message of a wrong one does not say it."""
    if kind is bool:
        return ": write true or false"
    if values := _values(kind):
        return f": use one of {values}"
    if any(get_origin(option) in (tuple, list, dict) for option in _options(kind)):
        return ": lists and tables stand in the file"
    return ""


def _allowed(kind: Any, text: str) -> str:
    """What the place in a section of this kind may hold of which the message `text` speaks: its keys, or values."""
    place = re.search(r" - at `\$(.*)`$", text)
    for name, index in re.findall(r"\.([\w-]+)|\[(\d+|\.\.\.)\]", place[1] if place else ""):
        inner: list[Any] = []
        for option in _options(kind):
            if index and get_origin(option) in (tuple, list, dict):
                inner.append(get_args(option)[-1 if get_origin(option) is dict else 0])
            elif name and _struct(option) is not None:
                inner += [field.type for field in msgspec.structs.fields(option) if field.encode_name == name]
        if not inner:
            return ""
        kind = inner[0]
    if "unknown field" in text:
        structs = [option for option in map(_struct, _options(kind)) if option is not None]
        known = ", ".join(field.encode_name for one in structs for field in msgspec.structs.fields(one))
        return f" (known: {known})"
    return f": use one of {_values(kind)}" if "Invalid enum value" in text else ""


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
