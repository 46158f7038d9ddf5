"""Session descriptions: samples of peers, each attribute, and what is refused."""

import base64
from dataclasses import replace

import pytest

from connectors.sdp.description import (
    MAX_BYTES,
    MAX_MEDIA,
    Attribute,
    AudioMedia,
    Crypto,
    Direction,
    Origin,
    OtherMedia,
    RtpCodec,
    SdpError,
    SessionDescription,
    encode,
    parse,
)
from connectors.sdp.rtp_codec import EVENTS
from connectors.sdp.sdes import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80, parse_crypto
from tests.connectors.samples import SDP, sample

KEY_30 = base64.b64encode(bytes(range(30))).decode()
KEY_28 = base64.b64encode(bytes(range(28))).decode()


def audio(*lines: str, formats: str = "0", session: tuple[str, ...] = ()) -> AudioMedia:
    """The one audio line of a description with these attributes."""
    text = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", *session, f"m=audio 4000 RTP/AVP {formats}"]
    media = parse("\r\n".join([*text, *lines])).media[0]
    assert isinstance(media, AudioMedia)
    return media


@pytest.mark.parametrize("name", SDP)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"])
def test_sample_reads_the_same_with_every_line_end_and_after_writing(name: str, line_end: bytes) -> None:
    description = parse(sample(name, line_end))
    assert description == parse(sample(name))
    assert description.ignored == 0
    assert description.audio
    assert parse(encode(description)) == description


def test_gateway_offers_codecs_in_its_order_and_media_level_address_wins() -> None:
    description = parse(sample("cube.sdp"))
    assert description.origin == Origin("CiscoSystemsSIP-GW-UserAgent", "5811", 4821, "192.0.2.10")
    assert description.address == "192.0.2.10"
    media = description.media[0]
    assert isinstance(media, AudioMedia)
    assert (media.address, media.port, media.protocol, media.ptime_ms) == ("192.0.2.11", 16462, "RTP/AVP", 20)
    assert media.codecs == (
        RtpCodec(0, "PCMU", 8000),
        RtpCodec(8, "PCMA", 8000),
        RtpCodec(18, "G729", 8000, 1, {"annexb": "no"}),
        RtpCodec(101, "TELEPHONE-EVENT", 8000, 1, {EVENTS: "0-15"}),
    )
    assert media.direction is Direction.SENDRECV
    assert not media.on_hold


def test_static_payload_types_need_no_rtpmap() -> None:
    assert [codec.key for codec in audio(formats="0 8 9 10 11 13 18").codecs] == [
        ("PCMU", 8000, 1),
        ("PCMA", 8000, 1),
        ("G722", 8000, 1),
        ("L16", 44100, 2),
        ("L16", 44100, 1),
        ("CN", 8000, 1),
        ("G729", 8000, 1),
    ]


def test_rtpmap_overrides_a_static_number() -> None:
    assert audio("a=rtpmap:8 PCMU/8000", formats="8").codecs == (RtpCodec(8, "PCMU", 8000),)


@pytest.mark.parametrize(
    ("rtpmap", "key"),
    [
        ("G722/16000", ("G722", 8000, 1)),
        ("g722/8000/1", ("G722", 8000, 1)),
        ("opus/48000", ("OPUS", 48000, 2)),
        ("OPUS/48000/2", ("OPUS", 48000, 2)),
        ("L16/16000", ("L16", 16000, 1)),
        ("L16/44100/2", ("L16", 44100, 2)),
        ("pcmu / 8000", ("PCMU", 8000, 1)),
    ],
)
def test_clock_and_channels_are_those_of_the_codec(rtpmap: str, key: tuple[str, int, int]) -> None:
    assert audio(f"a=rtpmap:96 {rtpmap}", formats="96").codecs[0].key == key


@pytest.mark.parametrize("rtpmap", ["", "PCMU", "PCMU/", "PCMU/x", "PCMU/0", "/8000", "PCMU/9999999"])
def test_dynamic_format_with_a_broken_rtpmap_is_kept_as_unknown(rtpmap: str) -> None:
    media = audio(f"a=rtpmap:96 {rtpmap}", formats="96 0 97 128 x 00")
    assert media.codecs == (RtpCodec(0, "PCMU", 8000),)
    assert media.unknown_formats == ("96", "97", "128", "x", "00")


def test_format_parameters_have_lower_case_names_and_values_as_written() -> None:
    media = audio(
        "a=fmtp:96 useInbandFEC=1;  sprop-Maxcapturerate = 16000 ;;cbr",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 stereo=0",
        formats="96",
    )
    parameters = media.codecs[0].parameters
    assert parameters == {"useinbandfec": "1", "sprop-maxcapturerate": "16000", "cbr": "", "stereo": "0"}


@pytest.mark.parametrize("written", ["0-15", "events=0-15", "0-15="])
def test_telephone_events_have_a_name_of_their_own_and_are_written_without(written: str) -> None:
    media = audio("a=rtpmap:101 telephone-event/8000", f"a=fmtp:101 {written}", formats="0 101")
    assert media.codecs[1].parameters == {EVENTS: "0-15"}
    assert b"a=fmtp:101 0-15\r\n" in encode(SessionDescription(media=(media,)))


def test_codec_names_are_written_as_registered() -> None:
    codecs = (RtpCodec(96, "OPUS", 48000, 2), RtpCodec(101, "TELEPHONE-EVENT", 8000), RtpCodec(0, "PCMU", 8000))
    text = encode(SessionDescription(media=(AudioMedia("192.0.2.1", 4000, codecs=codecs),)))
    assert b"a=rtpmap:96 opus/48000/2\r\n" in text
    assert b"a=rtpmap:101 telephone-event/8000\r\n" in text
    assert b"a=rtpmap:0 PCMU/8000\r\n" in text


@pytest.mark.parametrize("direction", list(Direction))
def test_direction_of_the_session_holds_for_its_lines_until_they_say_otherwise(direction: Direction) -> None:
    assert audio(session=(f"a={direction}",)).direction is direction
    assert audio(f"a={direction.upper()}", session=("a=inactive",)).direction is direction
    assert audio("a=inactive", "a=sendrecv", f"a={direction}").direction is direction


@pytest.mark.parametrize(
    ("direction", "held"),
    [("sendrecv", False), ("recvonly", False), ("sendonly", True), ("inactive", True)],
)
def test_hold_by_direction(direction: str, held: bool) -> None:
    assert audio(f"a={direction}").on_hold is held


def test_hold_by_null_address_of_session_or_line() -> None:
    held = parse(sample("hold_2543.sdp")).media[0]
    assert isinstance(held, AudioMedia)
    assert held.on_hold
    assert held.direction is Direction.SENDRECV
    assert audio("c=IN IP4 0.0.0.0").on_hold
    assert audio("c=IN IP6 ::").on_hold
    assert not audio("c=IN IP4 192.0.2.2", session=("c=IN IP4 0.0.0.0",)).on_hold


def test_only_version_and_media_are_required() -> None:
    description = parse(sample("lean.sdp"))
    assert description.origin == Origin()
    media = description.media[0]
    assert isinstance(media, AudioMedia)
    assert (description.address, media.address) == (None, "192.0.2.40")


def test_other_attributes_of_an_audio_line() -> None:
    media = parse(sample("browser_like.sdp")).media[0]
    assert isinstance(media, AudioMedia)
    assert (media.maxptime_ms, media.rtcp_port, media.rtcp_address, media.rtcp_mux) == (60, 10031, "192.0.2.31", True)
    assert media.attributes == (Attribute("ssrc", "2718281828 cname:someone"), Attribute("mid", "0"))
    assert audio("a=rtcp:4005").rtcp_port == 4005
    assert audio("a=rtcp:4005 IN").rtcp_address is None
    assert audio("a=rtcp:0 IN IP4 192.0.2.31").rtcp_address is None
    assert audio("a=rtcp:0").rtcp_port is None
    assert audio("a=rtcp").rtcp_port is None
    assert audio("a=ptime:20.0").ptime_ms == 20
    assert audio("a=ptime:x", "a=maxptime:-1").ptime_ms is None
    assert audio("a=label: 7 ").label == "7"


def test_lines_that_are_no_audio_keep_their_place() -> None:
    description = parse(sample("recording.sdp"))
    assert [media.kind for media in description.media] == ["audio", "video", "audio"]
    assert description.media[1] == OtherMedia(
        "video",
        22456,
        "RTP/AVP",
        ("98",),
        "198.51.100.1",
        (
            Attribute("rtpmap", "98 H264/90000"),
            Attribute("fmtp", "98 profile-level-id=42A01E"),
            Attribute("sendonly"),
            Attribute("label", "2"),
        ),
    )
    assert [(index, media.label) for index, media in description.audio] == [(0, "1"), (2, "3")]
    other = parse("v=0\nm=image 4000 udptl t38\nm=audio 0 RTP/AVP 0\nm=audio 5000 TCP 0").media
    assert [type(media) for media in other] == [OtherMedia, AudioMedia, OtherMedia]


def test_port_count_and_ttl_are_left_out() -> None:
    media = parse("v=0\nc=IN IP4 233.252.0.1/127/3\nm=audio 49170/2 RTP/AVP 0").media[0]
    assert (media.port, media.address) == (49170, "233.252.0.1")


def test_senseless_lines_are_ignored_and_counted() -> None:
    description = parse(
        "v=0\n\nnonsense\no=too short\nc=IN IP4\nc=ATM NSAP 47\na=\nzz=1\nm=audio 4000 RTP/AVP 0\nb=AS:64\n"
        "k=clear:x\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short"
    )
    assert description.ignored == 7
    assert len(description.audio) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the description has no line v=0"),
        ("m=audio 4000 RTP/AVP 0", "the description has no line v=0"),
        ("v=1\nm=audio 4000 RTP/AVP 0", "the description has no line v=0"),
        ("v=0\nm=audio 4000", "a media line has fewer than three fields"),
        ("v=0\nm=", "a media line has fewer than three fields"),
        ("v=0\nm=audio x RTP/AVP 0", "the port of a media line is no port number"),
        ("v=0\nm=audio 65536 RTP/AVP 0", "the port of a media line is no port number"),
        ("v=0\nm=audio -1 RTP/AVP 0", "the port of a media line is no port number"),
        ("v=0\nm=audio ٣ RTP/AVP 0", "the port of a media line is no port number"),
        ("v=0\n" + "m=audio 1 RTP/AVP 0\n" * (MAX_MEDIA + 1), "the description has more than 64 media lines"),
        ("v=0\n" + "a=x\n" * 2000, "the description has more than 2000 lines"),
        ("v=0\n" + "a" * MAX_BYTES, "the description is longer than 65536 bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused(text: str, message: str) -> None:
    with pytest.raises(SdpError) as refused:
        parse(text)
    assert str(refused.value) == message


def test_text_in_another_encoding_does_no_harm() -> None:
    description = parse("v=0\r\ns=Gespräch\r\nm=audio 4000 RTP/AVP 0\r\n".encode("latin-1"))
    assert description.name == "Gespr�ch"
    assert parse(sample("cube.sdp") + b"\0") == parse(sample("cube.sdp"))
    assert len(parse(encode(parse("v=0\ns=\ud800\nm=audio 4000 RTP/AVP 0"))).audio) == 1


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


def test_codecs_with_other_parameters_are_different_but_hash_alike() -> None:
    plain = RtpCodec(96, "OPUS", 48000, 2)
    with_fec = replace(plain, parameters={"useinbandfec": "1"})
    assert plain != with_fec
    assert len({plain, with_fec}) == 2


def test_encoding_writes_the_address_once() -> None:
    media = (AudioMedia("192.0.2.1", 4000), AudioMedia("2001:db8::1", 4002))
    text = encode(SessionDescription(Origin("-", "7", 3, "192.0.2.1"), "192.0.2.1", media)).decode()
    assert text.splitlines()[:5] == ["v=0", "o=- 7 3 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    assert text.count("c=IN") == 2
    assert "c=IN IP6 2001:db8::1\r\n" in text
    assert "m=audio 4000 RTP/AVP 0\r\n" in text


# What is written wrongly and has one plain meaning

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 96 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)


def written(*changes: tuple[str, str]) -> str:
    text = OFFER
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_plain_offer_has_nothing_to_mend() -> None:
    description = parse(OFFER)
    assert (description.mended, description.ignored) == (0, 0)
    assert [one.key for one in description.audio[0][1].codecs] == [
        ("PCMU", 8000, 1),
        ("OPUS", 48000, 2),
        ("TELEPHONE-EVENT", 8000, 1),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + OFFER.encode(),
        OFFER.encode("utf-16"),
        b"\xfe\xff" + OFFER.encode("utf-16-be"),
        "\ufeff" + OFFER,
        "\r\n\r\n \r\n" + OFFER,
        OFFER.rstrip(),
        OFFER.replace("\r\n", "\n"),
        OFFER.replace("\r\n", "\r\r\n"),
        OFFER.replace("\r\n", "\r\n\r\n"),
        OFFER.replace("\r\n", "  \r\n"),
        OFFER.replace("=", " = "),
        OFFER.replace("\r\n", "\r\nx=?\r\nnonsense\r\nz=0 0\r\n"),
        written(("v=0", "V=0"), ("m=audio", "M=audio"), ("c=IN", "C=IN")),
        written(("o=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n", ""), ("t=0 0\r\n", "")),
        written(("o=- 1 1 IN IP4 192.0.2.1", "o=A B C 1 1 IN IP4 192.0.2.1"), ("s=-", "s=")),
        written(("c=IN IP4 192.0.2.1\r\n", ""), ("a=ptime", "c=IN IP4 192.0.2.1\r\na=ptime")),
        written(("m=audio 4000 RTP/AVP 0 96 101", "m=audio   4000\tRTP / AVP  0   96 101  ")),
        written(("RTP/AVP 0 96 101", "rtp/avp 0,96, 101")),
        written(("RTP/AVP 0 96 101", "RTP/AVP 0 96 101 0 96")),
    ],
    ids=[
        "byte-order mark",
        "UTF-16",
        "UTF-16 big end",
        "mark in text",
        "blank lines before",
        "no last line end",
        "LF",
        "CR CR LF",
        "blank lines between",
        "blanks behind",
        "blanks around =",
        "lines that nobody knows",
        "upper case",
        "neither o= nor s= nor t=",
        "user name with blanks",
        "address in the line only",
        "blanks and a tab in m=",
        "commas",
        "numbers twice",
    ],
)
def test_description_that_is_written_oddly_is_read_as_meant(data: bytes | str) -> None:
    assert parse(data).media == parse(OFFER).media


@pytest.mark.parametrize("blank", ["\t", "  ", "\u00a0", "\u2009", "\v", "\u3000", "\u200b \u200b", " \t "])
def test_white_space_of_any_kind_is_white_space(blank: str) -> None:
    description = parse(
        OFFER.replace(":0 ", f":0{blank}").replace(":96 ", f":{blank}96{blank}").replace(":101 ", f":101{blank}")
    )
    assert description.media == parse(OFFER).media
    assert description.mended > 0


def test_a_no_break_space_in_latin_1_is_white_space() -> None:
    assert parse(OFFER.replace(":96 ", ":96\u00a0").encode("latin-1")).media == parse(OFFER).media


@pytest.mark.parametrize(
    "rtpmap",
    [
        "a=rtpmap:96\topus/48000/2",
        "a=rtpmap: 96 opus/48000/2",
        "a=rtpmap :96  OPUS/48000/2 ",
        "a=rtpmap 96 opus/48000/2",
        "A=RTPMAP:96 Opus/48000",
        "a=rtpmap:96 opus / 48000 / 2",
        "a=rtpmap:96 opus 48000 2",
        "a=rtpmap:96 opus",
        "a=rtpmap:96 opus/48000/2;",
        "a=rtpmap:96 opus/48000/2 ; stereo",
        "a=rtpmap:96 opus/16000/1",
        "a=rtpmap:96 opus/48000/2\r\na=rtpmap:96 opus/48000/2",
        "a=rtpmap:96 /\r\na=rtpmap:96 opus/48000/2",
        "a=rtpmap:96 opus/48000/2\r\na=rtpmap:97 nobody/8000\r\na=rtpmap:\r\na=rtpmap:x y",
    ],
)
def test_rtpmap_that_is_written_oddly_is_read_as_meant(rtpmap: str) -> None:
    assert parse(written(("a=rtpmap:96 opus/48000/2", rtpmap))).media == parse(OFFER).media


@pytest.mark.parametrize(
    ("rtpmap", "key"),
    [
        ("", ("PCMU", 8000, 1)),
        ("a=rtpmap:0", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 PCMU", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 PCMU/16000", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 pcmu/8000/0", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 PCMU/8k", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 G711u/8000", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 ulaw/8000", ("PCMU", 8000, 1)),
        ("a=rtpmap:0 G.722/16000", ("G722", 8000, 1)),
    ],
)
def test_a_static_number_needs_no_rtpmap_and_none_that_is_right(rtpmap: str, key: tuple[str, int, int]) -> None:
    assert audio(*([rtpmap] if rtpmap else [])).codecs[0].key == key


@pytest.mark.parametrize(
    "name", ["telephone-event", "TELEPHONE-EVENT/8000", "telephone-events/8000", "telephone_event/8000"]
)
def test_telephone_events_are_known_by_any_spelling(name: str) -> None:
    assert audio(f"a=rtpmap:101 {name}", formats="0 101").codecs[1].key == ("TELEPHONE-EVENT", 8000, 1)


def test_a_number_with_several_clocks_stands_for_each() -> None:
    media = audio("a=rtpmap:101 telephone-event/16000", "a=rtpmap:101 telephone-event/8000", formats="8 101 101")
    assert [codec.key[:2] for codec in media.codecs[1:]] == [("TELEPHONE-EVENT", 16000), ("TELEPHONE-EVENT", 8000)]


def test_a_number_with_two_names_is_ambiguous_and_left_out() -> None:
    text = written(("a=rtpmap:96 opus/48000/2", "a=rtpmap:96 opus/48000/2\r\na=rtpmap:96 L16/16000"))
    description = parse(text)
    media = description.audio[0][1]
    assert [codec.payload_type for codec in media.codecs] == [0, 101]
    assert media.unknown_formats == ("96",)
    assert description.ignored == 1


@pytest.mark.parametrize("second", ["v=0PCMU/8000", "PCMA/8000", "opus/48000/2"])
def test_a_static_number_with_two_names_keeps_its_own_codec(second: str) -> None:
    text = written(("a=rtpmap:0 PCMU/8000", f"a=rtpmap:0 {second}\r\na=rtpmap:0 PCMU/8000"))
    description = parse(text)
    assert description.media == parse(OFFER).media
    assert description.ignored == 1
    assert parse(encode(description)) == description


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("c=IN IP4 192.0.2.7", "192.0.2.7"),
        ("c=IN  IP4\t192.0.2.7 ", "192.0.2.7"),
        ("c=in ip4 192.0.2.7/127", "192.0.2.7"),
        ("c=IN IP4 192.0.2.7 0", "192.0.2.7"),
        ("c=IN IPV4 192.0.2.7", "192.0.2.7"),
        ("c=IN 192.0.2.7", "192.0.2.7"),
        ("c=192.0.2.7", "192.0.2.7"),
        ("c=IN IP4 2001:db8::7", "2001:db8::7"),
        ("c=IN IP6 [2001:db8::7]", "2001:db8::7"),
        ("c=IN IP6 ::ffff:192.0.2.7", "192.0.2.7"),
        ("c=IN IP4 media.example.com", "media.example.com"),
        ("c=IN IP4", "192.0.2.1"),
        ("c=ATM NSAP 47", "192.0.2.1"),
    ],
)
def test_the_address_is_found_however_it_is_written(line: str, address: str) -> None:
    assert audio(line).address == address


def test_every_way_to_write_the_null_address_is_a_hold() -> None:
    assert audio("c=IN IP6 0::0").on_hold
    assert audio("c=IN IP6 ::ffff:0.0.0.0").on_hold


@pytest.mark.parametrize(
    ("value", "expected", "ignored"),
    [
        ("20", 20, 0),
        ("20.0", 20, 0),
        ("30 ms", 30, 0),
        ("20ms", 20, 0),
        ("", None, 1),
        ("0", None, 1),
        ("-20", None, 1),
    ],
)
def test_packet_length_is_read_where_it_has_a_number(value: str, expected: int | None, ignored: int) -> None:
    description = parse(written(("a=ptime:20", f"a=ptime:{value}")))
    assert (description.audio[0][1].ptime_ms, description.ignored) == (expected, ignored)


def test_attributes_of_the_media_at_the_session_level_are_for_all_lines() -> None:
    lines = ("a=rtpmap:96 opus/48000/2", "a=fmtp:96 stereo=0", "a=ptime:40")
    media = audio(formats="96", session=lines)
    assert media.codecs == (RtpCodec(96, "OPUS", 48000, 2, {"stereo": "0"}),)
    assert (media.ptime_ms, audio("a=ptime:20", session=lines).ptime_ms) == (40, 20)


@pytest.mark.parametrize("fmtp", ["101", "101 ", "101\t0-15", ": 101 ;;=;", "102 x", "101 \x01=\x02;" + "a;" * 200])
def test_parameters_that_make_no_sense_leave_the_codec(fmtp: str) -> None:
    media = audio("a=rtpmap:101 telephone-event/8000", f"a=fmtp:{fmtp}", formats="0 101")
    assert [codec.name for codec in media.codecs] == ["PCMU", "TELEPHONE-EVENT"]


@pytest.mark.parametrize(
    "line", ["m=video x RTP/AVP 31", "m=video", "m=image 70000 udptl t38", "m=video 0 RTP/AVP 255"]
)
def test_a_line_that_is_no_audio_decides_nothing_and_keeps_its_place(line: str) -> None:
    description = parse(OFFER + line + "\r\n")
    assert next(media.kind for media in description.media) == "audio"
    assert isinstance(description.media[1], OtherMedia)
    assert description.media[1].port == 0
    assert len(parse(encode(description)).media) == 2


def test_a_key_with_a_blank_before_it_is_read() -> None:
    assert len(audio(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline: {KEY_30}|2^31").crypto) == 1


@pytest.mark.parametrize("value", ["PCMU/" + "1" * 60_000 + "k", "opus" + " " * 60_000 + "x", "a/" * 30_000])
def test_a_long_rtpmap_takes_no_time_to_speak_of(value: str) -> None:
    assert audio(f"a=rtpmap:96 {value}", formats="0 96").codecs[0].name == "PCMU"


@pytest.mark.parametrize("line", ["a=inactive;", "a=inactive,", "a=inactive ;", "a=Inactive;;", "a=inactive:"])
def test_an_attribute_with_a_separator_behind_it_is_that_attribute(line: str) -> None:
    description = parse(f"v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n{line}\r\na=rtcp-mux;\r\n")
    ((_, audio),) = description.audio
    assert audio.direction is Direction.INACTIVE
    assert audio.rtcp_mux
    assert description.mended >= 1
