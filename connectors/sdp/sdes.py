"""SRTP keys in SDP: the `a=crypto` attribute (RFC 4568; RFC 7714 for AES-GCM).

Sits below `connectors.sdp.description`. A line that is understood may still be one we cannot use; `usable` says so.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from connectors.sdp.rtp_codec import number

AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
AEAD_AES_128_GCM = "AEAD_AES_128_GCM"

KEY_SALT_BYTES = {
    AES_CM_128_HMAC_SHA1_80: 30,  # RFC 4568, section 6.2: 16 of the key, 14 of the salt
    AES_CM_128_HMAC_SHA1_32: 30,
    AEAD_AES_128_GCM: 28,  # RFC 7714, section 12: a salt of 12
}
"""The suites we know, with the length of the master key and salt."""

MAX_KEY_BYTES = 128
MAX_TAG = 999_999_999


@dataclass(frozen=True, slots=True)
class Crypto:
    """One `a=crypto` line. `key_salt`: master key and master salt of who wrote the line, for what that side sends.
    `lifetime`: packets under this key; `mki`, `mki_length`: value and bytes of the key's identifier in each packet, 0
    bytes where there is none. `keys`: how many keys the line has; only the first one is read."""

    tag: int
    suite: str
    key_salt: bytes = field(repr=False)
    lifetime: int | None = None
    mki: int = 0
    mki_length: int = 0
    session_parameters: tuple[str, ...] = ()
    keys: int = 1

    @property
    def usable(self) -> bool:
        """A known suite with a key of its length, one key, and no session parameter that changes the packets.

        Parameters with a leading '-' may be ignored (RFC 4568, section 6.3.7), and WSH is only a hint.
        """
        return (
            self.keys == 1
            and KEY_SALT_BYTES.get(self.suite) == len(self.key_salt)
            and all(item.startswith(("-", "WSH=")) for item in self.session_parameters)
        )


def parse_crypto(value: str) -> Crypto | None:
    """The value of an `a=crypto` line: 'tag suite inline:KEY[|lifetime][|mki:length] [parameters]'.

    None where it is malformed; a known suite with a key of the wrong length is malformed too.
    """
    parts = re.sub(r"(?i)(inline:)\s+", r"\1", value).split()
    if len(parts) < 3:
        return None
    tag = number(parts[0], MAX_TAG)
    keys = [item for item in parts[2].split(";") if item]
    if tag is None or not keys or not all(item.lower().startswith("inline:") for item in keys):
        return None
    key_text, *rest = keys[0][len("inline:") :].split("|")
    suite = parts[1].upper()
    key_salt = _key(key_text)
    if key_salt is None or KEY_SALT_BYTES.get(suite, len(key_salt)) != len(key_salt):
        return None
    lifetime, mki, mki_length = None, 0, 0
    for item in rest:
        if ":" in item:
            identifier, _, length = item.partition(":")
            known_mki, known_length = number(identifier, 2**63), number(length, 128)
            if known_mki is None or not known_length:
                return None
            mki, mki_length = known_mki, known_length
        elif item:
            lifetime = _lifetime(item)
            if lifetime is None:
                return None
    return Crypto(tag, suite, key_salt, lifetime, mki, mki_length, tuple(parts[3:]), len(keys))


def _key(text: str) -> bytes | None:
    """Padding may be missing: some peers leave it out."""
    if len(text) > MAX_KEY_BYTES * 2:
        return None
    text = text.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _lifetime(text: str) -> int | None:
    """'2^31' or a plain number, 2^48 at most (RFC 4568, section 6.1; RFC 3711, section 9.2)."""
    if text.startswith("2^"):
        exponent = number(text[2:], 48)
        return None if exponent is None else 1 << exponent
    return number(text, 1 << 48) or None


def crypto_value(crypto: Crypto) -> str:
    """The value of its `a=crypto` line, with its first key."""
    key = base64.b64encode(crypto.key_salt).decode()
    if crypto.lifetime is not None:
        exponent = crypto.lifetime.bit_length() - 1
        key += f"|2^{exponent}" if crypto.lifetime == 1 << exponent else f"|{crypto.lifetime}"
    if crypto.mki_length:
        key += f"|{crypto.mki}:{crypto.mki_length}"
    return " ".join([str(crypto.tag), crypto.suite, f"inline:{key}", *crypto.session_parameters])
