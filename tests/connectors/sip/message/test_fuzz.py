"""Whatever octets come: a message or a `MalformedMessage`, in bounded time and memory. The corpus: RFC 4475's."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.sip.digest import Challenge, DigestAuthenticator, parse_digest
from connectors.sip.inspection import inspect
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import quote, unquote_string
from connectors.sip.message.headers import NameAddr, parse_name_addr, parse_via
from connectors.sip.message.message import Headers, SipMessage, SipRequest, SipResponse, encode
from connectors.sip.message.parser import MalformedMessage, SipLimits, StreamParser, parse_datagram
from connectors.sip.message.uri import SipUri, parse_uri

CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent / "torture").glob("*.dat"))]
SPLICES = (
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\x00",
    b'"',
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b"@",
    b"?",
    b"%",
    b"=",
    b":",
)
LIMITS = SipLimits(datagram_bytes=4096, stream_bytes=4096, head_bytes=2048, header_bytes=512, headers=40)

TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cc", "Cs"]), max_size=20)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message of the corpus with some octets replaced, removed, doubled or spliced in."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 6))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.binary(max_size=4), st.sampled_from(SPLICES), st.just(bytes(data[begin:end]) * 2)))
        data[begin:end] = piece
    return bytes(data)


OCTETS = st.one_of(st.binary(max_size=300), mutated(), st.sampled_from(CORPUS))


def outcome(data: bytes, limits: SipLimits | None = None) -> SipMessage | MalformedMessage:
    try:
        return parse_datagram(data, limits or SipLimits())
    except MalformedMessage as error:
        return error


def read_everything(message: SipMessage) -> None:
    """What every layer above may ask of a message that the parser let through."""
    _ = message.via, message.vias, message.from_.tag, message.to.tag, message.call_id, message.cseq, message.require
    _ = message.via.received_from("192.0.2.1", 9), message.supported, message.content_type
    for contact in message.contacts:
        _ = contact.expires, contact.q, contact.uri.user, contact.uri.host
    if isinstance(message, SipRequest):
        _ = message.max_forwards, message.uri.user
        answer = parse_datagram(encode(message.response(200, to_tag="t")))
        assert answer.call_id == message.call_id
        assert answer.to.tag is not None


@settings(max_examples=400)
@given(OCTETS)
def test_datagram_is_a_message_or_an_error(data: bytes) -> None:
    result = outcome(data)
    if not isinstance(result, MalformedMessage):
        read_everything(result)
        return
    assert 400 <= result.status <= 599
    assert result.drop == (result.partial is None)
    if result.partial is not None:
        answer = encode(result.partial.response(result.status, result.reason, to_tag="t"))
        assert answer.startswith(f"SIP/2.0 {result.status} {result.reason}\r\nVia: ".encode())


@settings(max_examples=200)
@given(OCTETS)
def test_parsed_message_is_the_same_after_encoding(data: bytes) -> None:
    message = outcome(data)
    if isinstance(message, MalformedMessage):
        return
    again = parse_datagram(encode(message))
    assert encode(again) == encode(message)
    if any(oddity.ignored for oddity in message.oddities):
        return  # what was left out may have been the one part that is no UTF-8, so the rest is read as other text
    message.headers.remove("Content-Length")
    again.headers.remove("Content-Length")
    assert again == message


@settings(max_examples=200)
@given(OCTETS)
def test_server_inspects_any_request(data: bytes) -> None:
    message = outcome(data)
    if isinstance(message, SipRequest):
        assert isinstance(DigestAuthenticator("r", lambda _: None).check(message, 0.0), Challenge)
        with contextlib.suppress(SipParseError):
            refusal = inspect(message)
            assert refusal is None or refusal.status >= 400


@settings(max_examples=200)
@given(st.lists(OCTETS, max_size=4), st.lists(st.integers(1, 200), min_size=1, max_size=20))
@example([b"\r\n\r\n\r", b"\n", CORPUS[0]], [1])
def test_stream_in_any_pieces_gives_the_same_and_holds_a_bounded_buffer(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    whole = StreamParser(LIMITS)
    expected = whole.feed(data)
    parser = StreamParser(LIMITS)
    events: list[SipMessage | MalformedMessage] = []
    position, turn = 0, 0
    while position < len(data):
        step = cuts[turn % len(cuts)]
        events += parser.feed(data[position : position + step])
        position, turn = position + step, turn + 1
        assert len(parser._buffer) <= LIMITS.stream_bytes + step
    assert parser.closed == whole.closed
    assert [str(event) if isinstance(event, MalformedMessage) else event for event in events] == [
        str(event) if isinstance(event, MalformedMessage) else event for event in expected
    ]


FRAMES = (
    b"INVITE sip:a@b%s SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
    b"INVITE%sSIP/2.0\r\n\r\n",
    b"SIP/2.0 200 %s\r\nVia: SIP/2.0/UDP h\r\n\r\n",
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h%s\r\nCall-ID: a\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\n\r\n",
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nCall-ID: a\r\nFrom: %s\r\nTo: <sip:a@b>\r\n\r\n",
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\nCall-ID: a\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>%s\r\nCSeq: 1 A\r\n\r\n",
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\nCall-ID: a\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\nCSeq: %s A\r\n\r\n",
)
UNITS = (
    *(b" ", b"\t", b'"', b'\\"', b"<", b"<>", b";", b";a", b";a=", b",", b"SIP/2.0/UDP h,", b"<sip:a@b>,", b"a b "),
    *(
        b"\r\n ",
        b"%41",
        b"@",
        b"[",
        b":",
        b"/ ",
        b"SIP ",
        b"a:\r\n",
        b"\xff",
        b"0",
        b"&a=b",
        b"?",
        b'";"',
        b"\\",
        b"\r",
    ),
    *(b"\r\n\r\n", b'" "'),
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("frame", FRAMES)
def test_repetition_costs_no_more_than_its_length(frame: bytes, unit: bytes) -> None:
    """A scan that is quadratic in 60 KiB runs into the time limit of the test."""
    limits = SipLimits(header_bytes=64 * 1024)
    data = frame.replace(b"%s", unit * (60_000 // len(unit)))
    assert isinstance(outcome(data, limits), SipRequest | SipResponse | MalformedMessage)
    assert len(StreamParser(limits).feed(data)) <= 2


@given(st.text(max_size=80))
def test_single_values_raise_nothing_else(text: str) -> None:
    for parse in (parse_uri, parse_via, parse_digest, lambda value: parse_name_addr(value, "To")):
        with contextlib.suppress(SipParseError):
            assert parse(text) is not None


@given(TEXT)
def test_quoted_text_comes_back(text: str) -> None:
    assert unquote_string(quote(text)) == text
    address = NameAddr(SipUri.to("h.example", "u"), text).with_tag("t")
    assert parse_name_addr(str(address), "To") == address


@given(st.text(max_size=20), st.integers(1, 65535) | st.none())
def test_user_of_ours_comes_back(user: str, port: int | None) -> None:
    try:
        user.encode()
    except UnicodeEncodeError:
        return
    uri = SipUri.to("h.example", user, port)
    assert parse_uri(str(uri)) == uri
    assert parse_uri(str(uri)).user == user


@given(
    method=TOKENS,
    fields=st.lists(st.tuples(TOKENS.map("X-{}".format), TEXT.map(lambda text: text.strip(" \t"))), max_size=8),
    body=st.binary(max_size=100),
    status=st.integers(100, 699) | st.none(),
    reason=TEXT,
)  # fmt: skip
def test_message_of_ours_comes_back(
    method: str, fields: list[tuple[str, str]], body: bytes, status: int | None, reason: str
) -> None:
    headers = Headers([
        ("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", "x"),
        ("CSeq", f"1 {method}"),
        *fields,
    ])  # fmt: skip
    message: SipMessage = SipRequest(method, parse_uri("sip:c@d"), headers, body)
    if status is not None:
        message = SipResponse(status, reason, headers, body)
    headers.add("Content-Length", len(body))
    assert parse_datagram(encode(message)) == message
    assert StreamParser().feed(encode(message) * 2) == [message, message]
