"""WHIP without HTTP: what is taken, and which status answers what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webrtc.config import IceServer, WebRtcConfig, WebRtcLimits
from connectors.webrtc.whip import (
    IceFragment,
    Offer,
    SessionRequest,
    WhipRefused,
    accepts,
    answered_codecs,
    candidate_address,
    check_entity_tag,
    finish_answer,
)
from sinks.record import SpeakerRole
from tests.connectors.webrtc.offers import BY_NAME, BY_TCP, HOST, audio_line, fragment, offer

LIMITS = WebRtcLimits()
CODECS = ("OPUS", "PCMU")


def status_of(text: str, limits: WebRtcLimits = LIMITS) -> int:
    with pytest.raises(WhipRefused) as refused:
        Offer.parse(text, CODECS, limits)
    return refused.value.status


@pytest.mark.parametrize("ending", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_an_offer_of_audio_is_taken_and_its_ice_session_known(ending: str) -> None:
    taken = Offer.parse(offer(audio_line(), audio_line(1, codecs="both")).replace("\r\n", ending), CODECS, LIMITS)
    assert taken.tracks == 2
    assert taken.ice == {("Ufrg", "abcdefghijklmnopqrstuvwx")}


def test_candidates_of_no_use_are_left_out_of_the_offer() -> None:
    text = offer([*audio_line(), HOST, BY_NAME, BY_TCP, "a=end-of-candidates"])
    assert Offer.parse(text, CODECS, LIMITS).text == text.replace(f"{BY_NAME}\r\n{BY_TCP}\r\n", "")


def test_candidates_beyond_the_limit_are_left_out() -> None:
    taken = Offer.parse(offer([*audio_line(), *[HOST] * 5]), CODECS, WebRtcLimits(max_candidates=3))
    assert taken.text.count("a=candidate") == 3


@pytest.mark.parametrize("missing", ["ice-ufrag", "ice-pwd", "fingerprint", "setup"])
def test_an_offer_without_what_webrtc_needs_is_malformed(missing: str) -> None:
    lines = [line for line in audio_line() if not line.startswith(f"a={missing}")]
    assert status_of(offer(lines)) == 400
    session_wide = next(line for line in audio_line() if line.startswith(f"a={missing}"))
    text = offer(lines).replace("t=0 0\r\n", f"t=0 0\r\n{session_wide}\r\n")
    assert Offer.parse(text, CODECS, LIMITS).tracks == 1


@pytest.mark.parametrize("text", ["", "hello", offer(), "v=0\r\nm=audio\r\n"], ids=["empty", "text", "no media", "cut"])
def test_what_is_no_offer_is_malformed(text: str) -> None:
    assert status_of(text) == 400


def test_plain_rtp_is_malformed() -> None:
    assert status_of(offer(audio_line()).replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")) == 400


@pytest.mark.parametrize(
    "text",
    [
        offer(audio_line(), audio_line(1, kind="video")),
        offer(audio_line(direction="recvonly")),
        offer(audio_line(direction="inactive")),
        offer(audio_line(), audio_line(1, codecs="g729")),
        offer([line for line in audio_line() if line != "a=rtcp-mux"]),
        offer(audio_line(), audio_line(1), bundled=False),
        offer(*[audio_line(index) for index in range(LIMITS.max_tracks + 1)]),
    ],
    ids=["video", "recvonly", "inactive", "codec", "two ports", "not bundled", "too many"],
)
def test_an_offer_that_cannot_be_taken_whole_is_refused(text: str) -> None:
    assert status_of(text) == 422


def test_the_answer_gets_what_whip_and_the_decoder_ask_for() -> None:
    answer = finish_answer(offer(audio_line(codecs="both", direction="recvonly")))
    assert "a=rtcp-mux\r\na=rtcp-mux-only\r\n" in answer
    ((opus, pcmu),) = answered_codecs(answer)
    assert (opus.name, pcmu.name) == ("OPUS", "PCMU")
    assert opus.parameters["useinbandfec"] == "1"
    assert opus.parameters["maxplaybackrate"] == "16000"
    assert not pcmu.parameters


def test_a_fragment_brings_candidates_of_its_line() -> None:
    taken = IceFragment.parse(fragment(HOST, BY_NAME, BY_TCP), LIMITS)
    assert taken.candidates == (("0", HOST.removeprefix("a=candidate:")),)
    assert (taken.ufrag, taken.pwd, taken.complete) == ("Ufrg", "abcdefghijklmnopqrstuvwx", False)


def test_a_fragment_may_say_that_there_are_no_more() -> None:
    assert IceFragment.parse(fragment("a=end-of-candidates"), LIMITS).complete


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate",
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host",
        "a=ice-ufrag:x\r\n",
        "a=ice-pwd:x\r\n",
        fragment() + "ab=c\r\n",
        fragment(*[HOST] * 101),
    ],
    ids=["empty", "text", "no session", "no pwd", "no ufrag", "no SDP", "too many"],
)
def test_a_malformed_fragment_is_refused(text: str) -> None:
    with pytest.raises(WhipRefused) as refused:
        IceFragment.parse(text, LIMITS)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (HOST, "192.0.2.7"),
        ("candidate:1 1 UDP 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9", "2001:db8::1"),
        ("a=candidate:1 1 udp 1 192.0.2.7 0 typ host", None),
        ("a=candidate:1 1 udp 1 192.0.2.7 65536 typ host", None),
        ("a=candidate:1 x udp 1 192.0.2.7 9 typ host", None),
        ("a=candidate:1 1 udp 99999999999 192.0.2.7 9 typ host", None),
        ("a=candidate:1 1 udp 1 192.0.2.7 9 raddr host", None),
        ("a=candidate:1 1 udp 1 192.0.2.7 9 typ srflx raddr 10.0.0.1 rport x", None),
        ("a=candidate:1 1 udp 1 192.0.2.7", None),
    ],
)
def test_candidates_with_a_udp_address_are_of_use(line: str, address: str | None) -> None:
    assert candidate_address(line) == address


@pytest.mark.parametrize("header", ['"abc"', "*", '"x", "abc"'])
def test_an_entity_tag_of_the_session_is_accepted(header: str) -> None:
    check_entity_tag(header, "abc")


@pytest.mark.parametrize(("header", "status"), [(None, 428), ('"x"', 412), ("abc", 412), ('W/"abc"', 412), ("", 412)])
def test_any_other_entity_tag_is_refused(header: str | None, status: int) -> None:
    with pytest.raises(WhipRefused) as refused:
        check_entity_tag(header, "abc")
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, True),
        ("*/*", True),
        ("application/sdp", True),
        ("text/html, application/*;q=0.8", True),
        ("Application/SDP", True),
        ("text/html", False),
        ("application/sdp;q=0", False),
        ("", False),
    ],
)
def test_the_answer_must_be_acceptable(header: str | None, accepted: bool) -> None:
    assert accepts(header, "application/sdp") is accepted


def test_the_url_says_whose_call_it_is() -> None:
    request = SessionRequest.parse(
        [
            ("call_id", "CA7"),
            ("from", "+1"),
            ("to", "+2"),
            ("language", "es-ES"),
            ("role", "customer,agent"),
            ("leg", "caller"),
            ("queue", "billing"),
            ("empty", ""),
        ],
        LIMITS,
    )
    assert (request.call_id, request.from_, request.to, request.language) == ("CA7", "+1", "+2", "es-ES")
    assert request.metadata == {"queue": "billing"}
    assert [request.track(index, SpeakerRole.UNKNOWN) for index in range(3)] == [
        ("caller", SpeakerRole.CUSTOMER),
        (None, SpeakerRole.AGENT),
        (None, SpeakerRole.AGENT),
    ]
    assert SessionRequest.parse([], LIMITS).track(0, SpeakerRole.AGENT) == (None, SpeakerRole.AGENT)


@pytest.mark.parametrize(
    "query",
    [
        [("role", "boss")],
        [("x", "1"), ("x", "2")],
        [("x", "a\nb")],
        [("x", "a" * 501)],
        [(f"x{index}", "1") for index in range(33)],
    ],
    ids=["role", "twice", "control", "long", "many"],
)
def test_wrong_parameters_are_refused(query: list[tuple[str, str]]) -> None:
    with pytest.raises(WhipRefused) as refused:
        SessionRequest.parse(query, LIMITS)
    assert refused.value.status == 400


LINES = st.sampled_from(
    [*audio_line(), HOST, BY_NAME, BY_TCP, "v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=", "a=", "a=mid", "\x0b", ""]
)
TEXTS = st.lists(LINES | st.text(max_size=40)).map("\r\n".join)


@given(TEXTS)
def test_no_text_raises_anything_else(text: str) -> None:
    for parse in (lambda: Offer.parse(text, CODECS, LIMITS), lambda: IceFragment.parse(text, LIMITS)):
        try:
            parse()
        except WhipRefused as refused:
            assert refused.status in (400, 422)  # noqa: PT017 - both outcomes are right


def test_secrets_are_not_shown() -> None:
    config = WebRtcConfig(token="s3cret", ice_servers=(IceServer(url="turn:t", username="u", credential="s3cret"),))
    assert "s3cret" not in repr(config) + repr(config.ice_servers)


@pytest.mark.parametrize("values", [{"path": "whip"}, {"path": "/whip/"}, {"token": ""}, {"codecs": ()}])
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"path|token|codecs"):
        WebRtcConfig(**values)  # type: ignore[arg-type]
