"""Offer and answer: what is agreed, what is refused, and how it changes over a dialog."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import LocalProtocolError
from connectors.sdp.capabilities import DEFAULT_CODECS
from connectors.sdp.description import (
    AudioMedia,
    Crypto,
    Direction,
    MediaLine,
    Origin,
    OtherMedia,
    RtpCodec,
    SessionDescription,
    encode,
    parse,
)
from connectors.sdp.offer_answer import (
    Capabilities,
    MediaWarning,
    Negotiated,
    NegotiationSession,
    NoCommonCodec,
    SrtpPolicy,
)
from connectors.sdp.sdes import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80
from tests.connectors.samples import SDP, sample

OURS = "203.0.113.5"
PCMU, PCMA, G722 = RtpCodec(0, "PCMU", 8000), RtpCodec(8, "PCMA", 8000), RtpCodec(9, "G722", 8000)
G729, EVENTS = RtpCodec(18, "G729", 8000), RtpCodec(101, "TELEPHONE-EVENT", 8000)
OPUS = RtpCodec(111, "OPUS", 48000, 2, {"stereo": "1"})
KEY = Crypto(1, AES_CM_128_HMAC_SHA1_80, bytes(30))


class Ports:
    """A port pool that remembers."""

    def __init__(self, limit: int = 1000) -> None:
        self.taken: set[int] = set()
        self._next, self._limit = 20000, limit

    def allocate(self) -> int:
        if len(self.taken) >= self._limit:
            raise OSError("no port is free")
        self._next += 2
        self.taken.add(self._next)
        return self._next

    def release(self, port: int) -> None:
        self.taken.remove(port)


@pytest.fixture
def ports() -> Ports:
    return Ports()


Start = Callable[..., NegotiationSession]


@pytest.fixture
def start(ports: Ports) -> Start:
    def start(capabilities: Capabilities | None = None) -> NegotiationSession:
        return NegotiationSession(
            OURS, capabilities or Capabilities(), ports.allocate, release_port=ports.release, session_id=77
        )

    return start


def line(*codecs: RtpCodec, port: int = 4000, address: str | None = "192.0.2.1", **fields: Any) -> AudioMedia:
    return replace(AudioMedia(address, port, codecs=codecs or (PCMU,)), **fields)


def offer(*media: MediaLine, version: int = 1) -> SessionDescription:
    return SessionDescription(Origin("-", "1", version, "192.0.2.1"), "192.0.2.1", media)


def answered(session: NegotiationSession, *media: MediaLine) -> tuple[list[MediaLine], list[Negotiated]]:
    """The lines of the answer, as the peer reads them from the wire, and what was agreed."""
    description, agreed = session.answer(offer(*media))
    lines = list(parse(encode(description)).media)
    assert len(lines) == len(media)
    assert agreed == session.streams
    return lines, agreed


def test_answer_takes_the_common_codecs_in_the_order_of_the_offer(start: Start) -> None:
    lines, [agreed] = answered(start(), line(G729, PCMA, EVENTS, PCMU))
    ours = lines[0]
    assert isinstance(ours, AudioMedia)
    assert [codec.payload_type for codec in ours.codecs] == [8, 0, 101]
    assert (ours.address, ours.port, ours.direction) == (OURS, agreed.local.port, Direction.SENDRECV)
    assert agreed.codec == PCMA
    assert [codec.payload_type for codec in agreed.receive] == [8, 0, 101]
    assert agreed.telephone_event == EVENTS
    assert (agreed.index, agreed.ptime_ms, agreed.direction) == (0, 20, Direction.SENDRECV)


def test_own_order_is_taken_where_it_is_configured(start: Start) -> None:
    capabilities = Capabilities(codecs=(G722, PCMU, PCMA), prefer_own_order=True)
    _, [agreed] = answered(start(capabilities), line(PCMA, PCMU, G722))
    assert [codec.name for codec in agreed.receive] == ["G722", "PCMU", "PCMA"]


def test_single_codec_is_answered_but_all_common_ones_are_taken(start: Start) -> None:
    lines, [agreed] = answered(start(Capabilities(single_codec=True)), line(PCMA, PCMU, EVENTS))
    assert lines[0].formats == ("8", "101")
    assert [codec.payload_type for codec in agreed.receive] == [8, 0, 101]


def test_dynamic_numbers_are_the_peers_and_parameters_are_ours(start: Start) -> None:
    lines, [agreed] = answered(start(), line(OPUS))
    ours = lines[0]
    assert isinstance(ours, AudioMedia)
    assert ours.codecs[0].payload_type == 111
    assert ours.codecs[0].parameters["useinbandfec"] == "1"
    assert ours.codecs[0].parameters["stereo"] == "0"
    assert agreed.codec.parameters == {"stereo": "1"}


def test_telephone_events_go_with_the_clock_of_a_codec(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    _, [agreed] = answered(start(), line(OPUS, EVENTS, wide))
    assert agreed.telephone_event == wide
    assert EVENTS not in agreed.receive
    _, [agreed] = answered(start(), line(PCMU, wide))
    assert agreed.telephone_event is None


@pytest.mark.parametrize(
    ("codecs", "clocks", "taken"),
    [
        ((OPUS,), (8000,), (8000,)),
        ((OPUS,), (16000,), (16000,)),
        ((OPUS,), (48000,), (48000,)),
        ((OPUS,), (8000, 48000), (48000,)),
        ((OPUS,), (8000, 16000), (8000, 16000)),
        ((OPUS, PCMU), (8000, 16000, 48000), (8000, 48000)),
        ((OPUS, PCMU), (8000,), (8000,)),
        ((OPUS, PCMU), (16000,), (16000,)),
        ((PCMU,), (8000, 48000), (8000,)),
        ((PCMU,), (48000,), (48000,)),
        ((PCMU,), (32000,), (32000,)),
        ((G722,), (16000,), (16000,)),
        ((RtpCodec(97, "L16", 16000),), (8000,), (8000,)),
    ],
)
def test_telephone_events_are_answered_whatever_their_clock_is(
    start: Start, codecs: tuple[RtpCodec, ...], clocks: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    events = [RtpCodec(120 + place, "TELEPHONE-EVENT", clock) for place, clock in enumerate(clocks)]
    lines, [agreed] = answered(start(), line(*codecs, *events))
    expected = [event for event in events if event.clock_rate in taken]
    assert isinstance(lines[0], AudioMedia)
    assert [codec.key for codec in lines[0].codecs if not codec.is_audio] == [event.key for event in expected]
    assert [codec.payload_type for codec in lines[0].codecs if not codec.is_audio] == [
        event.payload_type for event in expected
    ]
    assert [codec for codec in agreed.receive if not codec.is_audio] == expected
    assert agreed.codec == codecs[0]


def test_a_single_codec_is_answered_with_its_events_or_those_there_are(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    lines, _ = answered(start(Capabilities(single_codec=True)), line(OPUS, PCMU, EVENTS, wide))
    assert lines[0].formats == ("111", "102")
    lines, _ = answered(start(Capabilities(single_codec=True)), line(OPUS, PCMU, EVENTS))
    assert lines[0].formats == ("111", "101")


def test_one_number_for_events_of_two_clocks_is_answered_once_with_the_right_one(start: Start) -> None:
    events = [RtpCodec(101, "TELEPHONE-EVENT", clock) for clock in (16000, 8000)]
    for codec, clock in ((PCMA, 8000), (OPUS, 16000)):
        lines, [agreed] = answered(start(), line(codec, *events))
        assert lines[0].formats == (str(codec.payload_type), "101")
        assert [one.clock_rate for one in agreed.receive if not one.is_audio] == [clock]


def test_without_events_of_ours_none_are_answered(start: Start) -> None:
    lines, _ = answered(start(Capabilities(codecs=(PCMU,))), line(PCMU, EVENTS))
    assert lines[0].formats == ("0",)


def test_keys_of_ours_go_at_the_clock_of_the_codec_or_at_the_one_that_all_have(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    assert answered(start(), line(OPUS, EVENTS))[1][0].telephone_event == EVENTS
    assert answered(start(), line(OPUS, EVENTS, wide))[1][0].telephone_event == wide


def test_an_answer_with_events_of_another_clock_than_its_codec_is_received(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(OPUS, EVENTS)))
    assert {codec.payload_type: codec.key for codec in agreed.receive} == {
        96: OPUS.key,
        111: OPUS.key,
        101: ("TELEPHONE-EVENT", 8000, 1),
    }


def test_an_answer_that_gives_our_number_of_events_another_clock_is_received(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(OPUS, replace(EVENTS, clock_rate=48000))))
    assert {101, 103} <= {codec.payload_type for codec in agreed.receive if not codec.is_audio}


def test_an_answer_without_a_name_for_a_number_of_ours_means_our_codec(start: Start) -> None:
    session = start()
    session.offer()
    text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96 101\r\na=rtpmap:101\r\n"
    [agreed] = session.accept(parse(text))
    assert agreed.codec.key == OPUS.key
    assert {96, 101} <= {codec.payload_type for codec in agreed.receive}


def test_comfort_noise_is_taken_but_is_no_codec(start: Start) -> None:
    noise = RtpCodec(13, "CN", 8000)
    _, [agreed] = answered(start(), line(noise, PCMU))
    assert agreed.codec == PCMU
    assert noise in agreed.receive
    with pytest.raises(NoCommonCodec):
        start().answer(offer(line(noise, EVENTS)))


@pytest.mark.parametrize("name", SDP)
def test_sample_is_accepted_and_its_answer_is_read_back(start: Start, name: str) -> None:
    session = start()
    peers = parse(sample(name))
    description, agreed = session.answer(peers)
    assert parse(encode(description)) == description
    assert [one.index for one in agreed] == [index for index, _ in peers.audio]
    assert [media.port == 0 for media in description.media] == [media.kind != "audio" for media in peers.media]


@pytest.mark.parametrize(
    ("offered", "willing", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "recvonly", "recvonly"),
        ("recvonly", "recvonly", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
    ],
)
def test_directions(start: Start, offered: str, willing: str, ours: str) -> None:
    session = start(Capabilities(direction=Direction(willing)))
    lines, [agreed] = answered(session, line(direction=Direction(offered)))
    assert agreed.direction == ours
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].direction == ours


def test_null_address_holds_although_the_line_says_sendrecv(start: Start) -> None:
    _, [agreed] = answered(start(), line(address="0.0.0.0"))
    assert agreed.direction is Direction.RECVONLY
    assert agreed.remote.on_hold


def test_hold_and_resume_keep_port_and_codec_and_raise_the_version(start: Start) -> None:
    session = start()
    first, [running] = session.answer(offer(line(PCMA)))
    held, [on_hold] = session.answer(offer(line(PCMA, direction=Direction.SENDONLY), version=2))
    resumed, [again] = session.answer(offer(line(PCMA), version=3))
    assert [description.origin.version for description in (first, held, resumed)] == [1, 2, 3]
    assert {description.origin.session_id for description in (first, held, resumed)} == {"77"}
    assert running.local.port == on_hold.local.port == again.local.port
    assert (on_hold.codec, on_hold.direction, again.direction) == (PCMA, Direction.RECVONLY, Direction.SENDRECV)


def test_refresh_gets_the_same_answer_with_the_same_version(start: Start) -> None:
    session = start()
    first, _ = session.answer(offer(line(), line()))
    again, _ = session.answer(offer(line(), line()))
    assert encode(again) == encode(first)


def test_several_lines_each_get_a_port_and_others_are_rejected_in_place(start: Start, ports: Ports) -> None:
    video = OtherMedia("video", 5000, "RTP/AVP", ("96", "97"))
    lines, agreed = answered(start(), line(label="1"), video, line(G729, port=4004), line(label="3", port=4006))
    assert [media.port > 0 for media in lines] == [True, False, False, True]
    assert lines[1] == OtherMedia("video", 0, "RTP/AVP", ("96", "97"), OURS)
    assert lines[2].formats == ("18",)
    assert [(one.index, one.label) for one in agreed] == [(0, "1"), (3, "3")]
    assert len(ports.taken) == 2
    assert [media.label for media in lines if isinstance(media, AudioMedia)] == ["1", None, "3"]


def test_stream_that_goes_frees_its_port_and_its_place_may_be_taken_again(start: Start, ports: Ports) -> None:
    session = start()
    _, [first, second] = answered(session, line(label="1"), line(label="2"))
    lines, [left] = answered(session, line(label="1"), line(label="2", port=0))
    assert [media.port for media in lines] == [first.local.port, 0]
    assert left == first
    assert ports.taken == {first.local.port}
    _, [_, new, third] = answered(session, line(label="1"), line(label="9"), line(label="3"))
    assert new.local.port not in {first.local.port, second.local.port}
    assert [one.index for one in session.streams] == [0, 1, 2]
    assert ports.taken == {first.local.port, new.local.port, third.local.port}
    session.close()
    assert ports.taken == set()


def test_offer_with_fewer_lines_than_before_drops_the_rest(start: Start, ports: Ports) -> None:
    session = start()
    _, [first, _] = answered(session, line(), line())
    answered(session, line())
    assert ports.taken == {first.local.port}


def test_offer_without_a_line_in_use_is_answered_with_none(start: Start, ports: Ports) -> None:
    session = start()
    answered(session, line())
    lines, agreed = answered(session, line(port=0))
    assert [media.port for media in lines] == [0]
    assert agreed == []
    assert answered(session) == ([], [])
    assert ports.taken == set()


@pytest.mark.parametrize(
    ("media", "warning"),
    [
        ((line(G729),), MediaWarning.MEDIA_FORMAT),
        ((OtherMedia("video", 5000, "RTP/AVP", ("96",)),), MediaWarning.MEDIA_TYPE),
        ((OtherMedia("video", 5000, "RTP/AVP", ("96",)), line(G729)), MediaWarning.MEDIA_FORMAT),
        ((line(protocol="UDP/TLS/RTP/SAVPF"),), MediaWarning.TRANSPORT),
        ((line(protocol="RTP/SAVP"),), MediaWarning.TRANSPORT),
        ((line(address="2001:db8::9"),), MediaWarning.ADDRESS_FORMAT),
        ((line(G729), line(port=0)), MediaWarning.MEDIA_FORMAT),
    ],
)
def test_refusal_names_the_warning(
    start: Start, ports: Ports, media: Sequence[MediaLine], warning: MediaWarning
) -> None:
    with pytest.raises(NoCommonCodec) as refused:
        start().answer(offer(*media))
    assert refused.value.warning is warning
    assert ports.taken == set()


def test_refused_reoffer_changes_nothing(start: Start, ports: Ports) -> None:
    session = start()
    before, agreed = session.answer(offer(line(PCMU)))
    with pytest.raises(NoCommonCodec):
        session.answer(offer(line(G729)))
    assert session.streams == agreed
    assert ports.taken == {agreed[0].local.port}
    assert session.answer(offer(line(PCMU)))[0] == before


def test_line_that_there_is_no_room_for_is_refused_in_the_answer(start: Start, ports: Ports) -> None:
    session = start()
    before, [first] = session.answer(offer(line(PCMU)))
    grown, agreed = session.answer(offer(line(PCMU), line(PCMA), line(PCMA)))
    assert (before.origin.version, grown.origin.version) == (1, 2)
    refused = session.refuse([1])
    assert refused.origin.version == 2
    assert [media.port for media in refused.media] == [first.local.port, 0, agreed[2].local.port]
    assert session.streams == [agreed[0], agreed[2]]
    assert ports.taken == {first.local.port, agreed[2].local.port}
    again, _ = session.answer(offer(line(PCMU), line(PCMA, port=0), line(PCMA)))
    assert again.origin.version == 2
    assert session.answer(offer(line(PCMU)))[0].origin.version == 3
    assert session.refuse([0]).media[0].port == 0
    assert ports.taken == set()


def test_ports_that_run_out_pass_through_and_change_nothing(ports: Ports) -> None:
    scarce = Ports(limit=2)
    session = NegotiationSession(OURS, Capabilities(), scarce.allocate, release_port=scarce.release)
    _, [agreed] = answered(session, line())
    with pytest.raises(OSError, match="no port is free"):
        session.answer(offer(line(), line(), line()))
    assert session.streams == [agreed]
    assert scarce.taken == {agreed.local.port}
    with pytest.raises(OSError, match="no port is free"):
        NegotiationSession(OURS, Capabilities(), scarce.allocate, release_port=scarce.release).offer(streams=2)
    assert scarce.taken == {agreed.local.port}


def test_names_and_null_addresses_are_no_other_ip_version(start: Start) -> None:
    for address in ("media.example.com", "0.0.0.0", "::", None):
        _, agreed = answered(start(), line(address=address))
        assert len(agreed) == 1


def test_streams_over_the_limit_are_rejected(start: Start) -> None:
    _, agreed = answered(start(Capabilities(max_streams=2)), line(), line(), line())
    assert [one.index for one in agreed] == [0, 1]


@pytest.mark.parametrize(
    ("ptime", "maxptime", "expected"),
    [(None, None, 20), (30, None, 30), (40, 20, 20), (1, None, 20), (1000, None, 20), (None, 10, 10), (60, 1000, 60)],
)
def test_packet_length(start: Start, ptime: int | None, maxptime: int | None, expected: int) -> None:
    lines, [agreed] = answered(start(), line(ptime_ms=ptime, maxptime_ms=maxptime))
    assert agreed.ptime_ms == expected
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].ptime_ms == expected


def test_reports_go_where_the_line_says(start: Start) -> None:
    _, [agreed] = answered(start(), line())
    assert (agreed.rtcp_mux, agreed.remote_rtcp_port) == (False, 4001)
    _, [agreed] = answered(start(), line(rtcp_port=4100))
    assert agreed.remote_rtcp_port == 4100
    lines, [agreed] = answered(start(), line(rtcp_mux=True, rtcp_port=4100))
    assert (agreed.rtcp_mux, agreed.remote_rtcp_port) == (True, 4000)
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].rtcp_mux
    _, [agreed] = answered(start(Capabilities(rtcp_mux=False)), line(rtcp_mux=True))
    assert not agreed.rtcp_mux


def secure(*crypto: Crypto, **fields: Any) -> AudioMedia:
    return line(protocol="RTP/SAVP", crypto=crypto or (KEY,), **fields)


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


def test_late_offer_has_all_codecs_and_the_answer_decides(start: Start) -> None:
    session = start()
    ours = session.offer()
    media = ours.media[0]
    assert isinstance(media, AudioMedia)
    assert media.codecs == DEFAULT_CODECS
    assert (media.protocol, media.direction, media.crypto) == ("RTP/AVP", Direction.SENDRECV, ())
    assert session.offering
    [agreed] = session.accept(offer(line(PCMA, EVENTS, direction=Direction.SENDONLY)))
    assert not session.offering
    assert (agreed.codec, agreed.telephone_event, agreed.direction) == (PCMA, EVENTS, Direction.RECVONLY)
    assert [codec.payload_type for codec in agreed.receive] == [8, 101]
    assert agreed.local.port == media.port


def test_answer_with_other_numbers_is_sent_with_those_and_taken_with_both(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(replace(OPUS, payload_type=120))))
    assert agreed.codec.payload_type == 120
    assert [codec.payload_type for codec in agreed.receive] == [96, 120]


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


def test_answer_without_a_common_codec_is_refused_and_rejected_lines_are_not(start: Start, ports: Ports) -> None:
    session = start()
    session.offer(streams=2)
    with pytest.raises(NoCommonCodec) as refused:
        session.accept(offer(line(G729), line(port=0)))
    assert refused.value.warning is MediaWarning.MEDIA_FORMAT
    session.offer(streams=2)
    assert session.accept(offer(line(port=0))) == []
    assert ports.taken == set()


def test_answer_with_a_line_too_many_is_taken_without_it(start: Start) -> None:
    session = start()
    session.offer()
    assert [one.index for one in session.accept(offer(line(), line()))] == [0]


def test_reoffer_repeats_lines_ports_keys_and_numbers_and_offers_to_resume(start: Start) -> None:
    session = start()
    numbered = replace(OPUS, payload_type=101)
    held = secure(direction=Direction.SENDONLY, codecs=(numbered, PCMU), label="5")
    before, [running] = session.answer(offer(OtherMedia("video", 9, "RTP/AVP", ("31",)), held))
    ours = session.offer()
    assert ours.origin.version == before.origin.version + 1
    assert [media.port for media in ours.media] == [0, running.local.port]
    media = ours.media[1]
    assert isinstance(media, AudioMedia)
    assert (media.direction, media.protocol, media.label) == (Direction.SENDRECV, "RTP/SAVP", "5")
    assert media.crypto == (running.local_crypto,)
    numbers = {codec.key: codec.payload_type for codec in media.codecs}
    assert numbers["OPUS", 48000, 2] == 101
    assert len(set(numbers.values())) == len(numbers) == len(DEFAULT_CODECS)
    [resumed] = session.accept(
        offer(OtherMedia("video", 0, "RTP/AVP", ("31",)), replace(held, direction=Direction.SENDRECV))
    )
    assert (resumed.index, resumed.direction, resumed.local.port) == (1, Direction.SENDRECV, running.local.port)


def test_one_offer_at_a_time(start: Start, ports: Ports) -> None:
    session = start()
    with pytest.raises(LocalProtocolError):
        session.accept(offer(line()))
    session.offer()
    for misuse in (session.offer, lambda: session.answer(offer(line()))):
        with pytest.raises(LocalProtocolError):
            misuse()
    session.withdraw()
    assert ports.taken == set()
    assert len(answered(session, line())[1]) == 1


def test_withdrawn_reoffer_leaves_the_streams(start: Start, ports: Ports) -> None:
    session = start()
    _, agreed = answered(session, line())
    session.offer()
    session.withdraw()
    assert session.streams == agreed
    assert ports.taken == {agreed[0].local.port}
    assert session.answer(offer(line()))[1] == agreed


codecs = st.lists(
    st.sampled_from([PCMU, PCMA, G722, G729, EVENTS, OPUS, RtpCodec(13, "CN", 8000), RtpCodec(98, "L16", 16000)]),
    unique_by=lambda codec: codec.payload_type,
    min_size=1,
)
lines_offered = st.one_of(
    st.builds(OtherMedia, st.sampled_from(["video", "image"]), st.integers(0, 9), st.just("X"), st.just(("1",))),
    st.builds(
        AudioMedia,
        address=st.sampled_from(["192.0.2.1", "0.0.0.0", "2001:db8::1", None]),
        port=st.sampled_from([0, 4000]),
        protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP"]),
        codecs=codecs.map(tuple),
        direction=st.sampled_from(Direction),
        label=st.sampled_from([None, "1", "2"]),
        crypto=st.sampled_from([(), (KEY,), (replace(KEY, keys=3),)]),
    ),
)
steps = st.lists(
    st.tuples(st.sampled_from(["answer", "offer", "accept", "withdraw"]), st.lists(lines_offered, max_size=5)),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps, policy=st.sampled_from(SrtpPolicy), limit=st.integers(0, 3))
def test_any_dialog_keeps_its_places_versions_and_ports(
    steps: list[tuple[str, list[MediaLine]]], policy: SrtpPolicy, limit: int
) -> None:
    ports = Ports()
    session = NegotiationSession(
        OURS, Capabilities(srtp=policy, max_streams=limit), ports.allocate, release_port=ports.release
    )
    sent: list[SessionDescription] = []
    for step, media in steps:
        try:
            if step == "answer":
                sent.append(session.answer(offer(*media))[0])
                assert [line.port > 0 for line in sent[-1].media] == [
                    index in {one.index for one in session.streams} for index in range(len(media))
                ]
                assert all(
                    ours.port == 0 for ours, theirs in zip(sent[-1].media, media, strict=True) if not theirs.port
                )
            elif step == "offer":
                sent.append(session.offer())
            elif step == "accept":
                session.accept(offer(*media))
            else:
                session.withdraw()
        except (NoCommonCodec, LocalProtocolError):
            pass
        if not session.offering:
            assert ports.taken == {one.local.port for one in session.streams}
        for one in session.streams:
            assert one.codec.is_audio
            assert (one.local_crypto is None) == (one.remote_crypto is None)
            assert one.local_crypto or policy is not SrtpPolicy.REQUIRED
    for former, latter in pairwise(sent):
        changed = former.media != latter.media
        assert latter.origin.version == former.origin.version + changed
        assert parse(encode(latter)) == latter
    session.close()
    assert ports.taken == set()
