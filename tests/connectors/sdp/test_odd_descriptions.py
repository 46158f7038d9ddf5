"""Session descriptions that are written wrongly and have one plain meaning."""

import pytest

from connectors.sdp.description import Direction, OtherMedia, RtpCodec, encode, parse
from tests.connectors.sdp.descriptions import audio

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
