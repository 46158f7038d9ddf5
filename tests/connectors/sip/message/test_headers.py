"""Typed header fields and the grammar under them."""

import pytest

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.extensions import RAck, Replaces, parse_rack, parse_replaces
from connectors.sip.message.grammar import (
    MAX_PARAMETERS,
    MAX_VALUES,
    SipParameters,
    header_parameters,
    quote,
    split_list,
    unquote_string,
)
from connectors.sip.message.headers import (
    CSeq,
    NameAddr,
    RouteSet,
    is_contact_wildcard,
    parse_accept,
    parse_contacts,
    parse_cseq,
    parse_integer,
    parse_media_type,
    parse_name_addr,
    parse_name_addrs,
    parse_tokens,
    parse_via,
    parse_vias,
)
from connectors.sip.message.uri import TelUri, parse_uri


def reason_of(function: object, *arguments: object) -> str:
    assert callable(function)
    with pytest.raises(SipParseError) as caught:
        function(*arguments)
    return caught.value.reason


def test_address_with_display_name_and_parameters() -> None:
    address = parse_name_addr('"Bell, \\"Alex\\"" <sip:a@b;x=1> ; tag = 7;note="a;b"', "From")
    assert address.display_name == 'Bell, "Alex"'
    assert str(address.uri) == "sip:a@b;x=1"
    assert address.tag == "7"
    assert address.parameters["NOTE"] == "a;b"
    assert str(address) == '"Bell, \\"Alex\\"" <sip:a@b;x=1>;tag=7;note="a;b"'
    assert parse_name_addr(str(address), "From") == address


def test_address_without_brackets_leaves_its_parameters_to_the_field() -> None:
    address = parse_name_addr("sip:a@b;tag=7", "From")
    assert (str(address.uri), address.tag, address.display_name) == ("sip:a@b", "7", None)


def test_asserted_identities_may_be_sip_and_tel() -> None:
    addresses = parse_name_addrs(['"A" <sip:+1555@gw>, <tel:+1555>'], "P-Asserted-Identity")
    assert addresses[1].uri == TelUri("+1555")
    assert [a.uri.user for a in addresses] == ["+1555", "+1555"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"Bell <sip:a@b>', "Unbalanced quote in From"),
        ('"Bell" sip:a@b', "No angle bracket after the display name in From"),
        ("Bell, A <sip:a@b>", "Unquoted display name in From"),
        ("<sip:a@b", "Unbalanced angle bracket in From"),
        ("<sip:a@b>tag=1", "Malformed parameters in From"),
        ("<sip:a@b>;", "Empty parameter in From"),
        ("<sip:a@b>;;tag=1", "Empty parameter in From"),
        ('<sip:a@b>;tag="1', "Unbalanced quote in From"),
        ('<sip:a@b>;tag="1"2', "Malformed parameter in From"),
        ("<sip:a@b>;tag=1 2", "Malformed parameter in From"),
        ("<sip:a@b>;t@g=1", "Malformed parameter in From"),
        ("sip:a@b?x=y", "URI without angle brackets in From"),
        ("sip:a,b@c", "URI without angle brackets in From"),
        ("<>", "No scheme in URI of From"),
        ("", "No scheme in URI of From"),
    ],
)
def test_wrong_address_is_refused_with_its_fault(text: str, reason: str) -> None:
    assert reason_of(parse_name_addr, text, "From") == reason


def test_contacts_have_expiry_and_preference() -> None:
    first, second, third = parse_contacts(["<sip:a@b>;q=0.5;expires=60, <sip:c@d>;q=2;expires=x", "sip:e@f"])
    assert (first.q, first.expires) == (0.5, 60)
    assert (second.q, second.expires) == (1.0, 3600)
    assert (third.q, third.expires) == (1.0, None)


def test_contact_wildcard_stands_alone() -> None:
    assert parse_contacts([" * "]) == ()
    assert is_contact_wildcard(["*"])
    assert not is_contact_wildcard(["*", "*"])
    assert reason_of(parse_contacts, ["*", "sip:a@b"]) == "No scheme in URI of Contact"


def test_via_is_read_and_written() -> None:
    via = parse_via("SIP / 2.0 / udp  [2001:DB8::9]:5070 ;branch=z9hG4bKx;rport")
    assert (via.transport, via.host, via.port, via.sent_by) == ("UDP", "[2001:DB8::9]", 5070, ("2001:db8::9", 5070))
    assert via.transaction_branch == "z9hG4bKx"
    assert str(via) == "SIP/2.0/UDP [2001:DB8::9]:5070;branch=z9hG4bKx;rport"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SIP/2.0/UDP", "Malformed Via"),
        ("SIP/2.0 host", "Malformed Via"),
        ("SIP/2.0/UDP a b", "Malformed Via"),
        ("SIP/3.0/UDP host", "Unknown protocol in Via"),
        ("HTTP/2.0/UDP host", "Unknown protocol in Via"),
        ("SIP/2.0/U@P host", "Malformed transport in Via"),
        ("SIP/2.0/UDP ho$t", "Malformed host in Via"),
        ("SIP/2.0/UDP host:70000", "Port out of range in Via"),
        ("SIP/2.0/UDP host;;branch=1", "Empty parameter in Via"),
    ],
)
def test_wrong_via_is_refused_with_its_fault(text: str, reason: str) -> None:
    assert reason_of(parse_via, text) == reason


@pytest.mark.parametrize(
    ("branch", "identifies"),
    [("z9hG4bKa", True), ("Z9HG4BKa", True), ("z9hG4bK", False), ("abc", False)],
)
def test_branch_with_the_cookie_identifies_the_transaction(branch: str, identifies: bool) -> None:
    via = parse_via(f"SIP/2.0/UDP h;branch={branch}")
    assert via.transaction_branch == (branch if identifies else None)


@pytest.mark.parametrize(
    ("text", "source", "kept"),
    [
        ("192.0.2.1", ("192.0.2.1", 5060), ""),
        ("host.example:5070", ("192.0.2.1", 7), ";received=192.0.2.1"),
        ("192.0.2.1;rport", ("192.0.2.1", 7), ";rport=7;received=192.0.2.1"),
        ("h;rport;branch=x", ("192.0.2.1", 7), ";rport=7;branch=x;received=192.0.2.1"),
        ("h;received=6.6.6.6", ("192.0.2.1", 7), ";received=192.0.2.1"),
        ("h:9;maddr=224.0.1.75", ("192.0.2.1", 7), ";maddr=224.0.1.75;received=192.0.2.1"),
        ("[2001:db8::1]", ("2001:db8::1", 5060), ""),
    ],
)
def test_via_keeps_where_the_request_came_from(text: str, source: tuple[str, int], kept: str) -> None:
    via = parse_via(f"SIP/2.0/UDP {text}").received_from(*source)
    assert str(via.parameters) == kept
    assert parse_via(str(via)) == via


def test_number_of_hops_is_bounded() -> None:
    assert len(parse_vias([", ".join(["SIP/2.0/UDP h"] * MAX_VALUES)])) == MAX_VALUES
    assert reason_of(parse_vias, [", ".join(["SIP/2.0/UDP h"] * (MAX_VALUES + 1))]) == "Too many values in Via"


def test_number_of_parameters_is_bounded() -> None:
    assert len(header_parameters("".join(f";p{i}" for i in range(MAX_PARAMETERS - 1)), "To")) == MAX_PARAMETERS - 1
    assert reason_of(header_parameters, ";p" * (MAX_PARAMETERS + 1), "To") == "Too many values in To"


def test_cseq_is_a_number_of_32_bits_and_a_method() -> None:
    assert parse_cseq(" 0009 \t INVITE ") == CSeq(9, "INVITE")
    assert parse_cseq("4294967295 BYE").number == 2**32 - 1
    assert reason_of(parse_cseq, "4294967296 BYE") == "Number too large in CSeq"
    assert reason_of(parse_cseq, "1") == "Malformed CSeq"
    assert reason_of(parse_cseq, "-1 BYE") == "Malformed number in CSeq"
    assert reason_of(parse_cseq, "1 A B") == "Malformed CSeq"


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "0x1", "١", "1 2"])
def test_number_is_digits_only(text: str) -> None:
    assert reason_of(parse_integer, text, "X") == "Malformed number in X"


def test_long_number_is_refused_without_being_computed() -> None:
    assert reason_of(parse_integer, "9" * 100_000, "X") == "Number too large in X"
    assert parse_integer("0" * 100_000 + "7", "X") == 7


def test_media_types() -> None:
    kind = parse_media_type('Multipart/Mixed ;boundary="a b"')
    assert kind.essence == "multipart/mixed"
    assert kind.parameters["boundary"] == "a b"
    assert str(kind) == 'multipart/mixed;boundary="a b"'
    assert reason_of(parse_media_type, "text") == "Malformed media type in Content-Type"


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("application/sdp", True),
        ("application/*", True),
        ("*/*;q=0.1", True),
        ("text/plain, application/SDP", True),
        ("text/*", False),
        ("application/sdp;q=0.0", False),
        ("", False),
    ],
)
def test_accept_takes_what_a_range_covers(accept: str, taken: bool) -> None:
    assert any(media.matches("application/sdp") for media in parse_accept([accept])) == taken


def test_option_tags_come_from_all_occurrences() -> None:
    assert parse_tokens(["100rel, timer", "replaces"], "Supported") == ("100rel", "timer", "replaces")
    assert parse_tokens([""], "Supported") == ()
    assert reason_of(parse_tokens, ["100rel,,timer"], "Supported") == "Empty value in Supported"
    assert reason_of(parse_tokens, ["100 rel"], "Supported") == "Malformed token in Supported"


def test_loose_route_keeps_the_target() -> None:
    target = parse_uri("sip:caller@10.0.0.1")
    routes = RouteSet.recorded(["<sip:p1;lr>, <sip:p2;lr>"], as_server=True)
    assert routes.target(target) == (target, ("<sip:p1;lr>", "<sip:p2;lr>"))
    assert RouteSet.recorded(["<sip:p1;lr>, <sip:p2;lr>"], as_server=False).routes == routes.routes[::-1]
    assert RouteSet().target(target) == (target, ())


def test_strict_route_takes_the_place_of_the_target() -> None:
    """RFC 3261, section 12.2.1.1."""
    routes = RouteSet.recorded(["<sip:p1?x=y>", "<sip:p2;lr>"], as_server=True)
    uri, values = routes.target(parse_uri("sip:caller@10.0.0.1"))
    assert str(uri) == "sip:p1"
    assert values == ("<sip:p2;lr>", "<sip:caller@10.0.0.1>")


def test_tag_of_ours_is_put_into_an_address() -> None:
    address = parse_name_addr("<sip:a@b>;x=1", "To")
    assert str(address.with_tag("t1")) == "<sip:a@b>;x=1;tag=t1"
    assert str(address.with_tag("t1").with_tag("t2")) == "<sip:a@b>;x=1;tag=t2"
    assert str(NameAddr(parse_uri("sip:a@b"), 'A "B"')) == '"A \\"B\\"" <sip:a@b>'


def test_parameters_are_a_mapping_without_case() -> None:
    parameters = header_parameters(';Tag=1;lr;note="a,b";tag=2', "X")
    assert dict(parameters) == {"tag": "1", "lr": None, "note": "a,b"}
    assert len(parameters) == 3
    assert parameters == SipParameters.of(TAG="1", lr=None, note="a,b")
    assert hash(parameters) == hash(SipParameters.of(TAG="1", lr=None, note="a,b"))
    assert str(parameters.put("note", "x y")) == ';Tag=1;lr;note="x y";tag=2'
    assert "missing" not in parameters


def test_quoting_comes_back() -> None:
    assert unquote_string(quote('a\\b"c')) == 'a\\b"c'


def test_rack_and_replaces() -> None:
    assert parse_rack("776656 1 INVITE") == RAck(776656, 1, "INVITE")
    assert str(parse_rack("776656 1 INVITE")) == "776656 1 INVITE"
    assert reason_of(parse_rack, "1 INVITE") == "Malformed RAck"
    replaces = parse_replaces("98732@host ; from-tag=r33th4x0r;to-tag=ff87ff;early-only")
    assert replaces == Replaces("98732@host", "ff87ff", "r33th4x0r", early_only=True)
    assert parse_replaces(str(replaces)) == replaces
    assert reason_of(parse_replaces, "98732@host;to-tag=1") == "Malformed Replaces"


def test_list_values_stay_whole_in_quotes_and_brackets() -> None:
    assert split_list('"a,b" <sip:a,b@c>, <sip:d@e;x=1,2>;q=0.1', "Contact") == [
        '"a,b" <sip:a,b@c>',
        "<sip:d@e;x=1,2>;q=0.1",
    ]
