"""Datagrams and streams of octets: framing, limits, and each fault by its reason."""

import pytest

from connectors.sip.message.message import Oddity, SipMessage, SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage, SipLimits, StreamParser, parse_datagram

OPTIONS = (
    b"OPTIONS sip:c@d SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
    b"From: <sip:a@b>;tag=1\r\n"
    b"To: <sip:c@d>\r\n"
    b"Call-ID: id1\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def with_line(line: bytes) -> bytes:
    return OPTIONS.replace(b"Content-Length", line + b"\r\nContent-Length", 1)


def with_body(body: bytes) -> bytes:
    return OPTIONS.replace(b"Length: 0", b"Length: %d" % len(body)) + body


def fault(data: bytes, limits: SipLimits | None = None) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        parse_datagram(data, limits or SipLimits())
    return caught.value


def requests(events: list[SipMessage | MalformedMessage]) -> list[SipRequest]:
    assert all(isinstance(event, SipRequest) for event in events)
    return [event for event in events if isinstance(event, SipRequest)]


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\x00", b"\r\n", b"\x00\x00\x00\x00"])
def test_keep_alive_datagram_is_dropped(data: bytes) -> None:
    error = fault(data)
    assert error.drop
    assert error.reason == "Keep-alive"


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"OPTIONS SIP/2.0\r\n\r\n",
        b"OPT@IONS sip:a@b SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a@b\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"SIP/2.0 99 x\r\n\r\n",
        b"SIP/2.0 700 x\r\n\r\n",
        b"SIP/3.0 200 OK\r\n\r\n",
        b"SIP/2.0 200 O\nK\r\n\r\n",
        b"SIP/2.0 200\tOK\r\n\r\n",
    ],
)
def test_what_is_no_sip_is_dropped(data: bytes) -> None:
    error = fault(data)
    assert error.drop
    assert error.partial is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_line(b"f: <sip:x@y>;tag=9"), "Multiple From"),
        (with_line(b"Require: a b"), "Malformed token in Require"),
        (OPTIONS.replace(b"To: <sip:c@d>\r\n", b""), "Missing To"),
        (OPTIONS.replace(b"Call-ID: id1", b"Call-ID: "), "Missing Call-ID"),
        (OPTIONS.replace(b"id1", b"id 1"), "Malformed Call-ID"),
        (OPTIONS.replace(b"OPTIONS\r\nC", b"INVITE\r\nC"), "CSeq names another method"),
        (OPTIONS.replace(b"sip:c@d SIP", b"sip:c@d:0 SIP"), "Port out of range in Request-URI"),
        (OPTIONS.replace(b"OPTIONS sip", b"OPTIONS\tsip"), "Extra white space in the request line"),
        (OPTIONS.removesuffix(b"\r\n"), "No empty line after the headers"),
        (OPTIONS.replace(b"Length: 0", b"Length: 1"), "Content-Length exceeds the message"),
        (with_line(b"l: 7"), "Multiple Content-Length"),
        (OPTIONS.replace(b"From: <", b"From: \r<"), "Control character in a header"),
        (OPTIONS.replace(b"sip:c@d>", b"sip:c@d>" + b";x" * 5000), "Header too long"),
        (OPTIONS.replace(b"<sip:a@b>;tag=1", b"<sip:a b>;tag=1"), "Illegal character in URI of From"),
        (OPTIONS.replace(b"<sip:a@b>;tag=1", b"A, B <sip:a@b>;tag=1"), "Unquoted display name in From"),
        (OPTIONS.replace(b"<sip:a@b>;tag=1", b"<sip:a@b>;tag=1 2"), "Malformed parameter in From"),
        (OPTIONS.replace(b"Length: 0", b"Length: 0, 1"), "Malformed number in Content-Length"),
    ],
)
def test_fault_is_answered_with_its_reason(data: bytes, reason: str) -> None:
    error = fault(data)
    assert (error.status, error.reason, error.drop) == (400, reason, False)
    assert error.partial is not None
    assert error.partial.method == "OPTIONS"
    assert error.partial.headers.get("Via") == "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"


def test_fault_without_a_via_cannot_be_answered() -> None:
    error = fault(OPTIONS.replace(b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n", b""))
    assert (error.reason, error.drop, error.partial) == ("Missing Via", True, None)


def test_wrong_ack_is_not_answered() -> None:
    error = fault(OPTIONS.replace(b"OPTIONS", b"ACK").replace(b"id1", b""))
    assert (error.reason, error.drop, error.partial) == ("Missing Call-ID", True, None)


def test_reason_holds_nothing_of_the_message() -> None:
    assert "Evil" not in fault(with_line(b"Require: Evil Header")).reason


def test_version_is_compared_without_case() -> None:
    assert isinstance(parse_datagram(OPTIONS.replace(b"sip:c@d SIP/2.0", b"sip:c@d sip/2.0")), SipRequest)


def test_method_is_compared_with_case() -> None:
    error = fault(OPTIONS.replace(b"OPTIONS sip", b"options sip"))
    assert (error.status, error.reason) == (501, "CSeq names another method")


def test_crlf_before_a_message_is_ignored() -> None:
    assert parse_datagram(b"\r\n\r\n" + OPTIONS) == parse_datagram(OPTIONS)


def test_body_without_length_is_the_rest_of_the_datagram() -> None:
    assert parse_datagram(OPTIONS.replace(b"Content-Length: 0\r\n", b"") + b"a\r\n\r\nb").body == b"a\r\n\r\nb"


def test_folded_field_is_one_line() -> None:
    message = parse_datagram(with_line(b"X-A: a \r\n\t b\r\n  \r\n c  "))
    assert message.headers.get("X-A") == "a  b  c"


def test_response_is_parsed() -> None:
    data = OPTIONS.replace(b"OPTIONS sip:c@d SIP/2.0", b"SIP/2.0 487 Request Terminated")
    message = parse_datagram(data)
    assert isinstance(message, SipResponse)
    assert (message.status, message.reason, message.cseq.method) == (487, "Request Terminated", "OPTIONS")


def test_datagram_too_large_is_dropped() -> None:
    limits = SipLimits(datagram_bytes=len(OPTIONS))
    assert isinstance(parse_datagram(OPTIONS, limits), SipRequest)
    error = fault(OPTIONS + b"x", limits)
    assert (error.status, error.drop) == (513, True)


def test_header_section_is_bounded() -> None:
    head = len(OPTIONS) - 4
    assert isinstance(parse_datagram(OPTIONS, SipLimits(head_bytes=head)), SipRequest)
    assert fault(OPTIONS, SipLimits(head_bytes=head - 1)).status == 513


@pytest.mark.parametrize("rest", [b"a" * 96, b"a" * 80 + b"\r\n " + b"a" * 80], ids=["one line", "folded"])
def test_field_length_is_bounded_after_unfolding(rest: bytes) -> None:
    limits = SipLimits(header_bytes=100)
    assert parse_datagram(with_line(b"X-A: " + b"a" * 95), limits).headers.get("X-A") == "a" * 95
    assert parse_datagram(with_line(b"X-A: " + rest), limits).headers.get("X-A") is None
    assert fault(with_line(b"Require: " + rest), limits).reason == "Header too long"


def test_number_of_fields_is_bounded() -> None:
    limits = SipLimits(headers=8)
    assert isinstance(parse_datagram(with_line(b"X-A: 1\r\nX-A: 2"), limits), SipRequest)
    assert fault(with_line(b"X-A: 1\r\nX-A: 2\r\nX-A: 3"), limits).reason == "Too many headers"


@pytest.mark.parametrize("filler", [b"\0", b" \t", b"\xef\xbb\xbf", b"\xff\x00\x7f\r\n"])
def test_octets_that_begin_no_message_are_passed_over_in_a_datagram(filler: bytes) -> None:
    message = parse_datagram(filler + OPTIONS)
    assert message == parse_datagram(OPTIONS)
    assert message.oddities == [Oddity("(filler)", ignored=False)]


@pytest.mark.parametrize("length", [b"", b"Content-Length: \r\n"])
def test_nuls_behind_a_body_without_length_are_no_part_of_it(length: bytes) -> None:
    data = OPTIONS.replace(b"Content-Length: 0\r\n", length)
    assert parse_datagram(data + b"hello\r\n\0\0\0").body == b"hello\r\n"
    assert parse_datagram(data + b"\0\0\0").body == b""


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_may_end_in_lf(end: bytes) -> None:
    lines = with_line(b"X-A: a\r\n b").replace(b"\r\n", b"\n").removesuffix(b"\n") + end
    message = parse_datagram(lines + b"body")
    assert message == parse_datagram(with_line(b"X-A: a\r\n b"))
    assert message.oddities == [Oddity("(line end)", ignored=False)]


@pytest.mark.parametrize("lengths", [b"0\r\nl: 0", b"0, 0", b"0;", b" 00 , 0"])
def test_length_given_several_times_alike_is_one(lengths: bytes) -> None:
    message = parse_datagram(OPTIONS.replace(b"Length: 0", b"Length: " + lengths) + b"more")
    assert message.body == b""
    assert message.oddities == [Oddity("Content-Length", ignored=False)]


@pytest.mark.parametrize("method", [b"BYE", b"ACK", b"CANCEL"])
@pytest.mark.parametrize("length", [b"1", b"x", b"-1", b"0\r\nl: 7", b"99999999999"])
def test_what_needs_no_body_is_taken_whatever_its_length_says(method: bytes, length: bytes) -> None:
    message = parse_datagram(OPTIONS.replace(b"OPTIONS", method).replace(b"Length: 0", b"Length: " + length))
    assert isinstance(message, SipRequest)
    assert message.oddities == [Oddity("Content-Length", ignored=True)]


def test_body_that_begins_as_a_description_is_one_without_a_type() -> None:
    message = parse_datagram(with_body(b"v=0\r\n"))
    assert message.content_type is not None
    assert message.content_type.essence == "application/sdp"
    assert message.oddities == [Oddity("Content-Type", ignored=False)]
    assert parse_datagram(with_body(b"hello")).content_type is None


# -- streams


def test_messages_come_out_when_they_are_whole() -> None:
    parser = StreamParser()
    data = with_body(b"hello") + OPTIONS
    assert parser.feed(data[:-1]) == [parse_datagram(with_body(b"hello"))]
    assert parser.feed(data[-1:]) == [parse_datagram(OPTIONS)]
    assert parser.feed(b"") == []


def test_double_crlf_is_a_ping_and_answered_once() -> None:
    parser = StreamParser()
    assert parser.feed(b"\r\n\r\n") == []
    assert parser.take_pongs() == b"\r\n"
    assert parser.take_pongs() == b""


def test_single_crlf_is_a_pong_and_not_answered() -> None:
    parser = StreamParser()
    assert len(parser.feed(b"\r\n" + OPTIONS + b"\r\n" + OPTIONS)) == 2
    assert parser.take_pongs() == b""


def test_ping_in_pieces_is_answered() -> None:
    parser = StreamParser()
    for octet in b"\r\n\r\n":
        parser.feed(bytes([octet]))
    assert parser.take_pongs() == b"\r\n"
    assert requests(parser.feed(OPTIONS))


def test_flood_of_pings_is_answered_a_bounded_number_of_times() -> None:
    parser = StreamParser()
    parser.feed(b"\r\n\r\n" * 100_000)
    assert 0 < len(parser.take_pongs()) <= 32


def test_stream_that_is_no_sip_is_closed_and_read_no_more() -> None:
    parser = StreamParser()
    (error,) = parser.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + OPTIONS)
    assert isinstance(error, MalformedMessage)
    assert (error.drop, error.close, parser.closed) == (True, True, True)
    assert parser.feed(OPTIONS) == []


def test_stream_without_an_end_of_headers_is_closed() -> None:
    parser = StreamParser(SipLimits(head_bytes=1000))
    assert parser.feed(b"X" * 1000 + b"\r\n\r") == []
    (error,) = parser.feed(b"X")
    assert isinstance(error, MalformedMessage)
    assert (error.status, error.close, parser.closed) == (513, True, True)


def test_message_longer_than_a_stream_may_carry_is_answered_and_closed() -> None:
    limits = SipLimits(stream_bytes=len(OPTIONS) + 100)
    assert requests(StreamParser(limits).feed(with_body(b"x" * 90)))
    parser = StreamParser(limits)
    (error,) = parser.feed(with_body(b"x" * 120)[: len(OPTIONS) + 10])
    assert isinstance(error, MalformedMessage)
    assert (error.status, error.close) == (513, True)
    assert error.partial is not None
    assert parser.closed


FILLERS = [b"\0", b"\0\0\0\0", b" ", b"\t \r\n", b"\r\n\0\r\n", b"\xef\xbb\xbf", b"\xff\x00\x7f", b"\0" * 70_000]


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("step", [1, 100_000])
def test_octets_that_begin_no_message_are_passed_over_between_messages(filler: bytes, step: int) -> None:
    parser, events = StreamParser(), []
    data = filler + with_body(b"hello") + filler + OPTIONS + filler
    for i in range(0, len(data), step):
        events += parser.feed(data[i : i + step])
    assert [one.body for one in requests(events)] == [b"hello", b""]
    assert all(one.oddities == [Oddity("(filler)", ignored=False)] for one in requests(events))
    assert not parser.closed
    assert parser.take_pongs() == b""


def test_stream_is_found_again_at_the_next_start_line_behind_a_body_longer_than_its_length() -> None:
    parser = StreamParser()
    longer = with_body(b"hello").replace(b"Length: 5", b"Length: 3")
    first, second = requests(parser.feed(longer + b"\r\n" + OPTIONS))
    assert (first.body, second.oddities) == (b"hel", [Oddity("(filler)", ignored=False)])
    assert not parser.closed


def test_stream_whose_rest_has_no_start_line_is_lost_and_closed() -> None:
    parser = StreamParser()
    longer = with_body(b"hello").replace(b"Length: 5", b"Length: 3")
    _, error = parser.feed(longer + b"\r\nX: OPTIONS sip:c@d SIP/2.0\r\n\r\n" + OPTIONS)
    assert isinstance(error, MalformedMessage)
    assert (error.close, parser.closed) == (True, True)


def test_message_without_length_and_type_has_no_body_on_a_stream() -> None:
    parser = StreamParser()
    one, two = requests(parser.feed(OPTIONS.replace(b"Content-Length: 0\r\n", b"") + OPTIONS))
    assert (one.body, one.oddities, two.oddities) == (b"", [Oddity("Content-Length", ignored=False)], [])


def test_lines_may_end_in_lf_on_a_stream() -> None:
    parser = StreamParser()
    one, two = requests(parser.feed(OPTIONS.replace(b"\r\n", b"\n") + OPTIONS))
    assert one == two
    assert one.oddities == [Oddity("(line end)", ignored=False)]


def test_headers_too_large_close_a_stream_even_in_one_piece() -> None:
    parser = StreamParser(SipLimits(head_bytes=200))
    (error,) = parser.feed(with_line(b"X-A: " + b"a" * 200))
    assert isinstance(error, MalformedMessage)
    assert error.close
