"""The configuration itself: where it came from, who may read it, and what it leaves open."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from trunkline.config import Config
from trunkline.config_file import DEFAULT_FILE
from trunkline.doctor.findings import Finding, ok, warning
from trunkline.doctor.secrets import secrets_of
from trunkline.doors import open_doors


def check_configuration(config: Config, path: Path | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Of one that could be read. `path`: None for the default file, which need not be there."""
    file = path or DEFAULT_FILE
    names = sorted(name for name in environ if name.startswith("TRUNKLINE_"))
    where = str(file) if file.exists() else f"defaults (there is no {file})"
    yield ok("configuration", f"{where}{f', {len(names)} variables of the environment' if names else ''}")
    if file.is_file() and file.stat().st_mode & stat.S_IROTH and _holds_secrets(file, config):
        yield warning("configuration", f"{file} holds secrets and everybody may read it: chmod o-r {file}")


def check_doors(config: Config) -> Iterator[Finding]:
    """What anybody who reaches the server may use."""
    doors = open_doors(config)
    for door in doors:
        yield warning("access", door)
    if not doors:
        yield ok("access", "no endpoint stands open to everybody who reaches it from outside")


def _holds_secrets(file: Path, config: Config) -> bool:
    text = file.read_text("utf-8")
    return any(one in text for one in secrets_of(config))
