"""SRTP and SRTCP with the keys of SDP (RFC 3711, 4568, 7714): one context for each direction of a stream.

Outermost stage: what fails here is counted by the receiver and seen by nobody else. Replayed packets are counted apart
from forged ones, because a network that duplicates packets replays them.
"""

import pylibsrtp

from connectors.rtp.errors import SrtpReplayed, SrtpUnauthentic, UnsupportedSuite
from connectors.sdp.sdes import (
    AEAD_AES_128_GCM,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    KEY_SALT_BYTES,
    Crypto,
)

_PROFILES = {
    AES_CM_128_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    AES_CM_128_HMAC_SHA1_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}
_TAG_BYTES = {AES_CM_128_HMAC_SHA1_80: (10, 10), AES_CM_128_HMAC_SHA1_32: (4, 10), AEAD_AES_128_GCM: (0, 0)}
"""Octets after the key identifier, in RTP and in RTCP; with GCM the tag stands before it (RFC 7714, section 8)."""

_WINDOW = 1_024


def _session(crypto: Crypto, kind: int) -> pylibsrtp.Session:
    if crypto.suite not in _PROFILES:
        raise UnsupportedSuite(f"no SRTP with {crypto.suite}")
    if len(crypto.key_salt) != KEY_SALT_BYTES[crypto.suite]:
        raise UnsupportedSuite(f"{len(crypto.key_salt)} octets are no key and salt of {crypto.suite}")
    policy = pylibsrtp.Policy(crypto.key_salt, kind, srtp_profile=_PROFILES[crypto.suite])
    policy.window_size = _WINDOW
    return pylibsrtp.Session(policy)


class SrtpReceiver:
    """What the peer sends. `crypto`: its line. Raises `UnsupportedSuite`."""

    def __init__(self, crypto: Crypto) -> None:
        self._session = _session(crypto, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._mki = crypto.mki_length
        self._tags = _TAG_BYTES[crypto.suite]

    def open(self, data: bytes) -> bytes:
        """The RTP packet. Raises `SrtpReplayed`, `SrtpUnauthentic`."""
        try:
            return self._session.unprotect(self._without_mki(data, self._tags[0]) if self._mki else data)
        except (pylibsrtp.Error, ValueError, IndexError) as error:
            raise _refusal(error) from None

    def open_rtcp(self, data: bytes) -> bytes:
        """The RTCP packet. Raises `SrtpReplayed`, `SrtpUnauthentic`."""
        try:
            return self._session.unprotect_rtcp(self._without_mki(data, self._tags[1]) if self._mki else data)
        except (pylibsrtp.Error, ValueError, IndexError) as error:
            raise _refusal(error) from None

    def _without_mki(self, data: bytes, tag: int) -> bytes:
        """With one key its identifier says nothing, and it is not authenticated (RFC 3711, section 3.1)."""
        return data[: -tag - self._mki] + data[len(data) - tag :]


class SrtpSender:
    """What we send. `crypto`: our line. Raises `UnsupportedSuite`."""

    def __init__(self, crypto: Crypto) -> None:
        self._session = _session(crypto, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)

    def seal(self, data: bytes) -> bytes:
        return self._session.protect(data)

    def seal_rtcp(self, data: bytes) -> bytes:
        return self._session.protect_rtcp(data)


def _refusal(error: Exception) -> SrtpReplayed | SrtpUnauthentic:
    message = str(error)
    if message.startswith(("replay check failed", "packet index is too old")):
        return SrtpReplayed(message)
    return SrtpUnauthentic(message)
