"""When certificates are valid, read from their file.

The standard library tells it of the certificates of authorities only (`SSLContext.get_ca_certs`), and a parser of
certificates is no dependency of the server. So this walks over the first fields of a certificate, which is DER:

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { version [0], serialNumber, signature, issuer,
                               validity SEQUENCE { notBefore, notAfter }, ... }, ... }

Source: RFC 5280, section 4.1; ITU-T X.690, sections 8.1 and 11.
"""

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_PEM = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_LONG = 0x80

_BEFORE_VALIDITY = 3
"""Serial number, signature algorithm, issuer."""


@dataclass(frozen=True, slots=True)
class Validity:
    """Both ends included, in UTC."""

    begin: datetime
    end: datetime


def validities(pem: str) -> list[Validity]:
    """Of each certificate of a PEM file, in order. Raises `ValueError` for one that is none."""
    return [_validity(ssl.PEM_cert_to_DER_cert(text)) for text in _PEM.findall(pem)]


def _validity(der: bytes) -> Validity:
    _, at, _ = _element(der, 0, _SEQUENCE)
    _, at, _ = _element(der, at, _SEQUENCE)
    tag, _, end = _element(der, at)
    if tag == _VERSION:  # certificates of version 1 have none
        at = end
    for _ in range(_BEFORE_VALIDITY):
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at, _SEQUENCE)
    tag, begin, end = _element(der, at)
    first = _time(tag, der[begin:end])
    tag, begin, end = _element(der, end)
    return Validity(first, _time(tag, der[begin:end]))


def _element(der: bytes, at: int, wanted: int | None = None) -> tuple[int, int, int]:
    """Tag, and where the content of the element at `at` begins and ends."""
    if at + 2 > len(der) or (wanted is not None and der[at] != wanted):
        raise ValueError("no certificate")
    tag, length, at = der[at], der[at + 1], at + 2
    if length & _LONG:
        octets = length & ~_LONG
        length, at = int.from_bytes(der[at : at + octets]), at + octets
    if at + length > len(der):
        raise ValueError("a certificate that is cut short")
    return tag, at, at + length


def _time(tag: int, text: bytes) -> datetime:
    """RFC 5280, section 4.1.2.5: YYMMDDHHMMSSZ with years from 1950 to 2049, or YYYYMMDDHHMMSSZ."""
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits >= "50" else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time in a certificate")
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
