"""Whatever a peer puts into a session description: `SdpError`, or something that is answered, and nothing else."""

import itertools
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sdp.description import MAX_BYTES, MAX_LINES, MAX_MEDIA, AudioMedia, SdpError, encode, parse
from connectors.sdp.offer_answer import Capabilities, NegotiationSession, NoCommonCodec
from tests.connectors.damage import damaged
from tests.connectors.samples import SDP, sample

SPARE = [
    b"v=0",
    b"a=",
    b"m=audio 4000 RTP/AVP 0 8 101",
    b"m=audio 0 RTP/SAVP 0",
    b"m=",
    b"c=IN IP4 0.0.0.0",
    b"c=IN IP6 ::1",
    b"a=rtpmap:0 /",
    b"a=rtpmap:101 telephone-event/8000",
    b"a=fmtp:101 ;;=;",
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:",
    b"a=label:",
    b"a=rtcp:99999 IN IP4",
    b"a=ptime:0",
    b"a=inactive",
    b"99999999999999999999999999",
    b"-1",
    b"\xd9\xa3",
    b"\0",
    b"\r",
    b"=",
    b":",
    b"/",
    b" ",
]
descriptions = st.one_of(
    damaged([sample(name) for name in SDP], SPARE),
    st.binary(max_size=200),
    st.lists(st.sampled_from(SPARE), max_size=20).map(lambda lines: b"v=0\n" + b"\n".join(lines)),
)


@settings(max_examples=400, deadline=None)
@given(data=descriptions)
def test_only_sdp_error_escapes_and_what_is_read_can_be_written_and_read_again(data: bytes) -> None:
    try:
        description = parse(data)
    except SdpError as error:
        assert "\n" not in str(error)  # noqa: PT017 - one line for the log
        return
    assert len(description.media) <= MAX_MEDIA
    written = encode(description)
    again = parse(written)
    assert [media.kind for media in again.media] == [media.kind for media in description.media]
    # A line must name a format: one that names none is written with 0.
    lines = dict(again.audio)
    assert all(lines[index] == media for index, media in description.audio if media.formats)
    assert parse(encode(again)) == again


@settings(max_examples=300, deadline=None)
@given(offers=st.lists(descriptions, max_size=4), late=st.booleans())
def test_only_no_common_codec_escapes_from_an_answer(offers: list[bytes], late: bool) -> None:
    numbers = itertools.count(20000, 2)
    session = NegotiationSession("203.0.113.5", Capabilities(), lambda: next(numbers))
    for data in offers:
        try:
            description = parse(data)
            if late:
                session.offer()
                session.accept(description)
            else:
                answer, _ = session.answer(description)
                assert len(answer.media) == len(description.media)
                assert len(parse(encode(answer)).media) == len(answer.media)
        except (SdpError, NoCommonCodec):
            session.withdraw()
        for stream in session.streams:
            assert isinstance(stream.remote, AudioMedia)
            assert stream.codec.is_audio
            assert 5 <= stream.ptime_ms <= 200


def test_largest_descriptions_take_bounded_memory() -> None:
    lines = MAX_LINES - 10
    for filler in (
        b"a=x\n",
        b"a=fmtp:0 a=b;c;d=e\n",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + b"A" * 40 + b"\n",
        b"c=IN IP4 1.1.1.1\n",
        b"=\n",
    ):
        data = (b"v=0\nm=audio 1 RTP/AVP " + b" ".join(b"%d" % n for n in range(128)) + b"\n" + filler * lines)[
            :MAX_BYTES
        ]
        tracemalloc.start()
        description = parse(data[: data.rindex(b"\n")])
        encode(description)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000
