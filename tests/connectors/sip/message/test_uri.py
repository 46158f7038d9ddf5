"""URIs: what they mean, and how they are written."""

import pytest

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import SipParameters
from connectors.sip.message.uri import OtherUri, SipUri, TelUri, parse_uri


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def test_all_parts_of_a_sip_uri() -> None:
    uri = sip("SIPS:alice:secret@[2001:db8::1]:5071;transport=TCP;lr?subject=a%20b&priority=urgent")
    assert uri.scheme == "sips"
    assert (uri.user, uri.password) == ("alice", "secret")
    assert (uri.host, uri.port) == ("[2001:db8::1]", 5071)
    assert uri.transport == "tcp"
    assert uri.is_loose_router
    assert uri.headers == (("subject", "a b"), ("priority", "urgent"))
    assert str(uri) == "sips:alice:secret@[2001:db8::1]:5071;transport=TCP;lr?subject=a%20b&priority=urgent"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sip:a@h.example", ("h.example", 5060)),
        ("sips:a@h.example", ("h.example", 5061)),
        ("sip:a@h.example;transport=tls", ("h.example", 5061)),
        ("sip:a@[::1]", ("::1", 5060)),
        ("sip:h.example:7000", ("h.example", 7000)),
    ],
)
def test_address_has_the_port_of_its_transport(text: str, address: tuple[str, int]) -> None:
    assert sip(text).address == address


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("sip:+1-201-555-0123@gw.example;user=phone", "+1-201-555-0123"),
        ("sip:*21#@gw.example", "*21#"),
        ("sip:@gw.example", ""),
        ("sip:gw.example", None),
        ("sip:J%C3%BCrgen@gw.example", "Jürgen"),
        ("sip:%FF@gw.example", "\ufffd"),
    ],
)
def test_user_means_what_is_dialled(text: str, user: str | None) -> None:
    assert sip(text).user == user
    assert str(sip(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user@example.com", "No scheme in URI"),
        ("sip:", "Malformed host in URI"),
        ("sip:a@b@c", "Malformed user in URI"),
        ("sip:a@", "Malformed host in URI"),
        ("sip:a@h:0", "Port out of range in URI"),
        ("sip:a@h:65536", "Port out of range in URI"),
        ("sip:a@h:x", "Malformed host in URI"),
        ("sip:a@[::g]", "Malformed host in URI"),
        ("sip:a@[:::]", "Malformed IPv6 address in URI"),
        ("sip:%4@h", "Bad escape in URI"),
        ("sip:a@h;x=%zz", "Bad escape in URI"),
        ("sip:a@h;;x", "Empty parameter in URI"),
        ("sip:a@h?x", "Malformed headers in URI"),
        ("sip:a b@h", "Illegal character in URI"),
        ("tel:", "Nothing after the scheme in URI"),
        ("sip:a@h" + ";x" * 101, "Too many parameters in URI"),
        ("sip:a@h?" + "&".join(["x=1"] * 101), "Too many headers in URI"),
    ],
)
def test_wrong_uri_is_refused_with_its_fault(text: str, reason: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_uri(text)
    assert (caught.value.status, caught.value.reason) == (400, reason)


def test_tel_uri_loses_its_visual_separators_and_keeps_its_parameters() -> None:
    uri = parse_uri("tel:+1(201)555-01.23;phone-context=example.com")
    assert isinstance(uri, TelUri)
    assert uri.user == "+12015550123"
    assert uri.parameters["Phone-Context"] == "example.com"
    assert str(uri) == "tel:+1(201)555-01.23;phone-context=example.com"


def test_other_schemes_are_kept_as_they_are() -> None:
    assert parse_uri("urn:service:sos") == OtherUri("urn", "service:sos")
    assert str(parse_uri("urn:service:sos")) == "urn:service:sos"


def test_uri_of_ours_escapes_its_user() -> None:
    uri = SipUri.to("192.0.2.1", "a b@c", 5070, SipParameters.of(transport="tcp"))
    assert str(uri) == "sip:a%20b%40c@192.0.2.1:5070;transport=tcp"
    assert sip(str(uri)).user == "a b@c"
    assert str(SipUri.to("2001:db8::1")) == "sip:[2001:db8::1]"


def test_request_uri_has_no_headers_and_no_method() -> None:
    uri = sip("sip:a@h;method=INVITE;lr?to=x").without_headers()
    assert str(uri) == "sip:a@h;lr"
