"""Keys in a session description (RFC 4568): which are read, which are usable, and that no log shows them."""

import base64

import pytest

from connectors.sdp.description import AudioMedia, Crypto, SessionDescription, encode, parse
from connectors.sdp.sdes import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80, parse_crypto
from tests.connectors.samples import sample
from tests.connectors.sdp.descriptions import audio

KEY_30 = base64.b64encode(bytes(range(30))).decode()
KEY_28 = base64.b64encode(bytes(range(28))).decode()


def test_sample_with_keys() -> None:
    media = parse(sample("audiocodes_srtp.sdp")).media[0]
    assert isinstance(media, AudioMedia)
    assert [crypto.usable for crypto in media.crypto] == [False, True, True]
    assert media.crypto[1] == Crypto(2, AES_CM_128_HMAC_SHA1_80, bytes(range(30)), 1 << 31, 1, 1)
    assert media.crypto[2] == Crypto(3, AES_CM_128_HMAC_SHA1_32, bytes(range(29, -1, -1)), 1 << 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^20|1:4 WSH=64",
            Crypto(1, AES_CM_128_HMAC_SHA1_80, bytes(range(30)), 1 << 20, 1, 4, ("WSH=64",)),
        ),
        (f"2 aes_cm_128_hmac_sha1_32 INLINE:{KEY_30}|1000", Crypto(2, AES_CM_128_HMAC_SHA1_32, bytes(range(30)), 1000)),
        (f"3 AEAD_AES_128_GCM inline:{KEY_28.rstrip('=')}", Crypto(3, AEAD_AES_128_GCM, bytes(range(28)))),
    ],
)
def test_key_lines(value: str, expected: Crypto) -> None:
    assert parse_crypto(value) == expected
    assert expected.usable
    assert audio(f"a=crypto:{value}").crypto == (expected,)
    written = encode(SessionDescription(media=(AudioMedia("192.0.2.1", 4000, crypto=(expected,)),)))
    assert parse(written).media[0].crypto == (expected,)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        f"x AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}",
        f"1 AES_CM_128_HMAC_SHA1_80 {KEY_30}",
        "1 AES_CM_128_HMAC_SHA1_80 inline:",
        "1 AES_CM_128_HMAC_SHA1_80 ;",
        "1 AES_CM_128_HMAC_SHA1_80 inline:!!!!",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 400,
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_28}",
        f"1 AEAD_AES_128_GCM inline:{KEY_30}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^49",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|0",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|1:0",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|x:4",
    ],
)
def test_malformed_key_line_is_none(value: str) -> None:
    assert parse_crypto(value) is None


def test_key_lines_that_change_the_packets_are_not_usable() -> None:
    for parameters in ("UNENCRYPTED_SRTP", "UNAUTHENTICATED_SRTP", "KDR=1", "WSH=64 FEC_ORDER=FEC_SRTP"):
        crypto = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} {parameters}")
        assert crypto is not None
        assert not crypto.usable
    several = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|1:1;inline:{KEY_30}|2:1")
    assert several is not None
    assert (several.keys, several.usable) == (2, False)
    optional = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} -NEW=1 WSH=64")
    assert optional is not None
    assert optional.usable


def test_keys_do_not_show_in_logs() -> None:
    assert KEY_30 not in repr(crypto := Crypto(1, AES_CM_128_HMAC_SHA1_80, b"secret" * 5))
    assert "secret" not in repr(crypto)


def test_a_key_with_a_blank_before_it_is_read() -> None:
    assert len(audio(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline: {KEY_30}|2^31").crypto) == 1
