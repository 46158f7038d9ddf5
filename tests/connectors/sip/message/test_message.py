"""Header collections, responses and encoding."""

import pytest

from connectors.errors import LocalProtocolError
from connectors.sip.message.message import Headers, SipRequest, SipResponse, encode
from connectors.sip.message.parser import parse_datagram
from connectors.sip.message.uri import parse_uri


def an_invite() -> SipRequest:
    headers = Headers([
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
        ("v", "SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK0"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", "id1"),
        ("CSeq", "1 INVITE"),
        ("Timestamp", "54"),
        ("X-Queue", "sales"),
    ])  # fmt: skip
    return SipRequest("INVITE", parse_uri("sip:c@d"), headers, b"v=0\r\n")


def test_field_names_have_no_case_and_no_compact_form() -> None:
    headers = Headers([("v", "1"), ("VIA", "2"), ("x-a", "3"), ("x", "90")])
    assert list(headers) == [("Via", "1"), ("Via", "2"), ("x-a", "3"), ("Session-Expires", "90")]
    assert headers.get("via") == "1"
    assert headers.get_all("V") == ["1", "2"]
    assert headers.get("X-A") == "3"
    assert "SESSION-EXPIRES" in headers
    assert "Contact" not in headers
    assert len(headers) == 4


def test_set_takes_the_place_of_the_first() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-C", "4")])
    headers.set("x-a", 5)
    assert list(headers) == [("x-a", "5"), ("X-B", "2"), ("X-C", "4")]
    headers.set("X-D", "6")
    headers.remove("x-b")
    assert list(headers) == [("x-a", "5"), ("X-C", "4"), ("X-D", "6")]


def test_copy_is_its_own() -> None:
    headers = Headers([("A", "1")])
    other = headers.copy()
    other.add("B", "2")
    assert headers == Headers([("a", "1")])
    assert headers != other


@pytest.mark.parametrize("text", ["a\r\nEvil: 1", "a\nb", "a\rb"])
def test_line_break_cannot_be_smuggled_into_a_field(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        Headers([("A", text)])
    with pytest.raises(LocalProtocolError):
        Headers([(text, "A")])
    with pytest.raises(LocalProtocolError):
        encode(SipResponse(200, text))


def test_response_copies_what_the_request_is_known_by() -> None:
    response = an_invite().response(200, to_tag="t", headers=[("Allow", "INVITE")], body=b"x", content_type="a/b")
    assert list(response.headers) == [
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
        ("Via", "SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK0"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>;tag=t"),
        ("Call-ID", "id1"),
        ("CSeq", "1 INVITE"),
        ("Allow", "INVITE"),
        ("Content-Type", "a/b"),
    ]
    assert (response.status, response.reason, response.body) == (200, "OK", b"x")


def test_trying_has_no_tag_and_the_timestamp() -> None:
    response = an_invite().response(100, to_tag="t")
    assert response.to.tag is None
    assert response.headers.get("Timestamp") == "54"


def test_tag_of_the_request_stays() -> None:
    request = an_invite()
    request.headers.set("To", "<sip:c@d>;TAG=theirs")
    assert request.response(200, to_tag="ours").headers.get("To") == "<sip:c@d>;TAG=theirs"


def test_tag_goes_to_the_field_where_the_address_has_no_brackets() -> None:
    request = an_invite()
    request.headers.set("To", "sip:c@d")
    assert request.response(200, to_tag="ours").to.tag == "ours"


def test_reason_phrase_is_usual_or_given() -> None:
    assert an_invite().response(488).reason == "Not Acceptable Here"
    assert an_invite().response(400, "Missing From").reason == "Missing From"
    assert an_invite().response(499).reason == "Unknown"


def test_content_length_is_counted() -> None:
    request = an_invite()
    request.headers.add("L", "999")
    data = encode(request)
    assert data.startswith(b"INVITE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n")
    assert data.endswith(b"X-Queue: sales\r\nContent-Length: 5\r\n\r\nv=0\r\n")
    assert data.count(b"Content-Length") == 1


def test_field_in_another_charset_is_echoed_as_it_came() -> None:
    data = encode(an_invite()).replace(b"<sip:a@b>", b'"J\xfcrgen" <sip:a@b>')
    request = parse_datagram(data)
    assert isinstance(request, SipRequest)
    assert request.from_.display_name == "Jürgen"
    assert b'From: "J\xfcrgen" <sip:a@b>;tag=1\r\n' in encode(request.response(200))
    assert "大".encode() in encode(request.response(200, headers=[("X-A", "大")]))


def test_typed_fields_of_a_message() -> None:
    request = an_invite()
    request.headers.add("Require", "100rel, Timer")
    request.headers.add("k", "replaces")
    request.headers.add("c", "application/sdp")
    request.headers.add("m", "<sip:a@192.0.2.9:5070>")
    assert request.require == ("100rel", "timer")
    assert request.supported == ("replaces",)
    assert request.content_type is not None
    assert request.content_type.essence == "application/sdp"
    assert request.contacts[0].uri.host == "192.0.2.9"
    assert request.via.host == "192.0.2.9"
    assert [via.host for via in request.vias] == ["192.0.2.9", "192.0.2.8"]
    assert request.max_forwards is None
