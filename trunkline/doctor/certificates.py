"""Every file of certificates that the configuration names: readable, valid, and the key fits."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trunkline.config import Config
from trunkline.doctor.findings import Finding, fault, ok, warning
from trunkline.doctor.tables import tables
from trunkline.doctor.validity import Validity, validities

SOON = timedelta(days=14)

_OWN = {"tls_cert": "tls_key", "tls_certificate_file": "tls_key_file"}
"""Settings that name a certificate of ours, and those of their keys."""

_AUTHORITIES = ("tls_ca_file", "tls_client_ca")
"""Settings that name a file of certificates that are trusted."""


def check_certificates(config: Config) -> Iterator[Finding]:
    found = [one for name, table in tables(config) for one in _of_table(f"[{name}]", table)]
    yield from found or [ok("certificates", "none is configured")]


def _of_table(name: str, table: Any) -> Iterator[Finding]:
    for certificate, key in _OWN.items():
        if (file := getattr(table, certificate, None)) is not None:
            yield _chain(f"{name} {certificate} = {file}", file)
            if (key_file := getattr(table, key, None)) is not None:
                where = f"{name} {key} = {key_file}"
                yield from _key(where, file, key_file, getattr(table, "tls_key_password", None))
    for authorities in _AUTHORITIES:
        if (file := getattr(table, authorities, None)) is not None:
            yield _trusted(f"{name} {authorities} = {file}", file)


def _read(file: str) -> list[Validity]:
    """Raises `ValueError` with what is wrong with the file."""
    try:
        found = validities(Path(file).read_text("ascii", "replace"))
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if not found:
        raise ValueError("it holds no certificate in PEM")
    return found


def _chain(where: str, file: str) -> Finding:
    """Of a certificate of ours and those that it is signed with: as good as the one that ends first."""
    try:
        chain = _read(file)
    except ValueError as error:
        return fault("certificates", f"{where}: {error}")
    begin, end = max(one.begin for one in chain), min(one.end for one in chain)
    return _judged(where, begin, end)


def _trusted(where: str, file: str) -> Finding:
    """Of authorities, of which one may be enough: as good as the one that ends last."""
    try:
        trusted = _read(file)
    except ValueError as error:
        return fault("certificates", f"{where}: {error}")
    last = max(trusted, key=lambda one: one.end)
    return _judged(where, last.begin, last.end)


def _judged(where: str, begin: datetime, end: datetime) -> Finding:
    now = datetime.now(UTC)
    if now > end:
        return fault("certificates", f"{where} expired on {end:%Y-%m-%d %H:%M} UTC: renew it")
    if now < begin:
        return fault("certificates", f"{where} is valid from {begin:%Y-%m-%d %H:%M} UTC only: see this machine's clock")
    if end - now < SOON:
        return warning("certificates", f"{where} expires on {end:%Y-%m-%d %H:%M} UTC: renew it")
    return ok("certificates", f"{where} expires on {end:%Y-%m-%d}")


def _key(where: str, certificate: str, key: str, password: str | None) -> Iterator[Finding]:
    try:
        Path(key).read_bytes()
    except OSError as error:
        yield fault("certificates", f"{where}: {error.strerror or error}")
        return
    try:
        # Without a password given, never ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: password or "")
    except OSError as error:  # ssl.SSLError is one
        if Path(certificate).exists():
            hint = ", or its password (tls_key_password) is wrong" if password is not None else ""
            yield fault("certificates", f"{where}: it does not fit the certificate{hint} ({error.strerror or error})")
