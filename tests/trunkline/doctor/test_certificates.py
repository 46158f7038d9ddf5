from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from connectors.sip.config import SipConfig
from sinks.config import KafkaConfig
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor.certificates import check_certificates
from trunkline.doctor.findings import Level


class Files:
    """Certificates of one authority, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)

    def issued(self, name: str, days: float, since: float = -1) -> tuple[Path, Path]:
        """Certificate and key; valid to `days` from now."""
        now = datetime.now(UTC)
        begin, end = now + timedelta(days=min(since, days - 1)), now + timedelta(days=days)
        made = self.authority.issue_cert(f"{name}.example", not_before=begin, not_after=end)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(certificate)
        made.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def sip(certificate: Path, key: Path, ca: Path | None = None) -> Config:
    trusted = None if ca is None else str(ca)
    section = SipConfig(tls="127.0.0.1:5061", tls_cert=str(certificate), tls_key=str(key), tls_client_ca=trusted)
    return Config(sip=section)


def test_none() -> None:
    assert [finding.what for finding in check_certificates(Config(sip=SipConfig()))] == ["none is configured"]


def test_certificate_key_and_authority_that_are_well(files: Files) -> None:
    found = list(check_certificates(sip(*files.issued("good", 90), files.ca)))
    assert all_ok(found)
    assert [finding.what.partition(" = ")[0] for finding in found] == ["[sip] tls_cert", "[sip] tls_client_ca"]
    assert all(" expires on " in finding.what for finding in found)


@pytest.mark.parametrize(
    ("days", "since", "level", "said"),
    [
        (-1, -2, Level.FAULT, "expired on"),
        (3, -1, Level.WARNING, "expires on"),
        (90, 30, Level.FAULT, "is valid from"),
    ],
)
def test_the_dates(files: Files, days: float, since: float, level: Level, said: str) -> None:
    certificate, key = files.issued("dated", days, since)
    assert str(certificate) in one(check_certificates(sip(certificate, key)), level, said).what


def test_an_authority_that_is_over(files: Files) -> None:
    """As a file of its own: a bundle is good as long as one of it is."""
    stale, _ = files.issued("stale", -1)
    config = Config(
        kafka=KafkaConfig(bootstrap_servers="a:1", security_protocol="SSL", tls_ca_file=str(stale)),
    )
    one(check_certificates(config), Level.FAULT, "[kafka] tls_ca_file")
    stale.write_bytes(stale.read_bytes() + files.ca.read_bytes())
    assert all_ok(check_certificates(config))


def test_files_that_cannot_be_used(files: Files) -> None:
    good, key = files.issued("good", 90)
    _, other_key = files.issued("other", 90)
    one(check_certificates(sip(files.folder / "no.pem", key)), Level.FAULT, "no.pem: No such file or directory")
    one(check_certificates(sip(key, key)), Level.FAULT, "it holds no certificate in PEM")
    one(check_certificates(sip(good, files.folder / "no.key")), Level.FAULT, "no.key: No such file or directory")
    one(check_certificates(sip(good, other_key)), Level.FAULT, "other.key: it does not fit the certificate")


def test_a_password_of_a_key(files: Files) -> None:
    certificate, key = files.issued("locked", 90)
    locked = load_pem_private_key(key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"right-s3cret")
    )
    key.write_bytes(locked)

    def kafka(password: str | None) -> Config:
        section = KafkaConfig(
            bootstrap_servers="a:1",
            security_protocol="SSL",
            tls_certificate_file=str(certificate),
            tls_key_file=str(key),
            tls_key_password=password,
        )
        return Config(kafka=section)

    assert all_ok(check_certificates(kafka("right-s3cret")))
    wrong = one(check_certificates(kafka("wrong-s3cret")), Level.FAULT, "tls_key_password")
    assert "wrong-s3cret" not in wrong.what
    one(check_certificates(kafka(None)), Level.FAULT, "it does not fit the certificate")
