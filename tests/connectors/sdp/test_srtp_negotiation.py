"""Keys of SRTP in offer and answer: which are taken, which are ours, and what the policy allows."""

from dataclasses import replace

import pytest

from connectors.sdp.description import AudioMedia, Crypto
from connectors.sdp.offer_answer import Capabilities, MediaWarning, NoCommonCodec, SrtpPolicy
from connectors.sdp.sdes import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80
from tests.connectors.sdp.negotiation import KEY, Ports, Start, answered, line, offer, secure


def test_srtp_is_answered_with_the_chosen_tag_and_a_key_of_ours(start: Start) -> None:
    gcm = Crypto(7, AEAD_AES_128_GCM, bytes(28))
    lines, [agreed] = answered(start(), secure(gcm, KEY))
    ours = lines[0]
    assert isinstance(ours, AudioMedia)
    assert ours.protocol == "RTP/SAVP"
    assert agreed.remote_crypto == gcm
    assert ours.crypto == (agreed.local_crypto,)
    assert agreed.local_crypto is not None
    assert (agreed.local_crypto.tag, agreed.local_crypto.suite) == (7, AEAD_AES_128_GCM)
    assert len(agreed.local_crypto.key_salt) == 28
    assert agreed.local_crypto.key_salt != gcm.key_salt


def test_key_identifier_is_taken_only_where_there_is_nothing_else(start: Start) -> None:
    with_mki = replace(KEY, mki=1, mki_length=4)
    _, [agreed] = answered(start(), secure(with_mki, replace(KEY, tag=2)))
    assert agreed.remote_crypto == replace(KEY, tag=2)
    _, [agreed] = answered(start(), secure(with_mki))
    assert agreed.remote_crypto == with_mki


def test_unusable_keys_and_suites_that_are_not_allowed_are_passed_over(start: Start) -> None:
    clear = replace(KEY, session_parameters=("UNENCRYPTED_SRTP",))
    with pytest.raises(NoCommonCodec):
        start().answer(offer(secure(clear)))
    only_gcm = Capabilities(suites=(AEAD_AES_128_GCM,))
    with pytest.raises(NoCommonCodec):
        start(only_gcm).answer(offer(secure(KEY)))


def test_own_key_stays_over_reoffers_while_the_suite_does(start: Start) -> None:
    session = start()
    first, [running] = session.answer(offer(secure()))
    again, [same] = session.answer(offer(secure(replace(KEY, key_salt=b"\1" * 30))))
    assert running.local_crypto == same.local_crypto
    assert first == again
    assert same.remote_crypto is not None
    assert same.remote_crypto.key_salt == b"\1" * 30
    _, [other] = session.answer(offer(secure(Crypto(1, AES_CM_128_HMAC_SHA1_32, bytes(30)))))
    assert other.local_crypto is not None
    assert running.local_crypto is not None
    assert other.local_crypto.key_salt != running.local_crypto.key_salt


@pytest.mark.parametrize(
    ("policy", "media", "taken"),
    [
        (SrtpPolicy.NEVER, secure(), False),
        (SrtpPolicy.NEVER, line(crypto=(KEY,)), True),
        (SrtpPolicy.OPTIONAL, line(), True),
        (SrtpPolicy.OPTIONAL, secure(), True),
        (SrtpPolicy.REQUIRED, line(), False),
        (SrtpPolicy.REQUIRED, line(crypto=(replace(KEY, keys=2),)), False),
        (SrtpPolicy.REQUIRED, line(crypto=(KEY,)), True),
        (SrtpPolicy.REQUIRED, secure(), True),
    ],
)
def test_srtp_policy(start: Start, policy: SrtpPolicy, media: AudioMedia, taken: bool) -> None:
    session = start(Capabilities(srtp=policy))
    if not taken:
        with pytest.raises(NoCommonCodec) as refused:
            session.answer(offer(media))
        assert refused.value.warning is MediaWarning.TRANSPORT
        return
    lines, [agreed] = answered(session, media)
    encrypted = bool(media.crypto) and policy is not SrtpPolicy.NEVER
    assert (agreed.local_crypto is not None) == (agreed.remote_crypto is not None) == encrypted
    assert isinstance(lines[0], AudioMedia)
    assert (lines[0].protocol, bool(lines[0].crypto)) == (media.protocol, encrypted)


def test_stream_offered_secure_and_plain_is_taken_once(start: Start) -> None:
    for media in ((secure(), line()), (line(), secure())):
        lines, [agreed] = answered(start(), *media)
        assert agreed.local.protocol == "RTP/SAVP"
        assert [one.port > 0 for one in lines] == [one.protocol == "RTP/SAVP" for one in media]
    _, agreed_plain = answered(start(Capabilities(srtp=SrtpPolicy.NEVER)), secure(), line())
    assert [one.index for one in agreed_plain] == [1]
    _, both = answered(start(), secure(label="1"), line(label="2"))
    assert len(both) == 2
    _, both = answered(start(), secure(label="1"), line())
    assert len(both) == 2


def test_late_offer_with_keys(start: Start) -> None:
    session = start(Capabilities(srtp=SrtpPolicy.REQUIRED))
    media = session.offer().media[0]
    assert isinstance(media, AudioMedia)
    assert [crypto.tag for crypto in media.crypto] == [1, 2, 3]
    assert len({crypto.key_salt for crypto in media.crypto}) == 3
    chosen = Crypto(2, AEAD_AES_128_GCM, b"\5" * 28)
    [agreed] = session.accept(offer(secure(chosen)))
    assert (agreed.local_crypto, agreed.remote_crypto) == (media.crypto[1], chosen)


@pytest.mark.parametrize(
    "media",
    [
        line(),
        secure(Crypto(1, AES_CM_128_HMAC_SHA1_80, bytes(29))),
        secure(replace(KEY, session_parameters=("KDR=1",))),
    ],
)
def test_answer_without_a_usable_key_is_refused(start: Start, ports: Ports, media: AudioMedia) -> None:
    session = start(Capabilities(srtp=SrtpPolicy.REQUIRED))
    session.offer()
    with pytest.raises(NoCommonCodec):
        session.accept(offer(media))
    assert (session.streams, session.offering, ports.taken) == ([], False, set())
