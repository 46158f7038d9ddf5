"""Session descriptions: samples of peers, each attribute, and what is refused."""

from dataclasses import replace

import pytest

from connectors.sdp.description import (
    MAX_BYTES,
    MAX_MEDIA,
    Attribute,
    AudioMedia,
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
from tests.connectors.samples import SDP, sample
from tests.connectors.sdp.descriptions import audio


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
