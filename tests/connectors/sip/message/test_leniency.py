"""Values with one plain meaning are read by it; those with two are refused with the error that they came with."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.headers import parse_contact, parse_name_addr, parse_via
from connectors.sip.message.leniency import (
    first_via,
    known_tokens,
    read_accept,
    read_address,
    read_contacts,
    read_cseq,
    read_integer,
    read_media_type,
    read_party,
    read_uri,
    read_via,
)
from connectors.sip.message.message import SipRequest, SipResponse, encode
from connectors.sip.message.parser import parse_datagram

TEXT = st.text(st.sampled_from('<>";:,=@? \t%[]sipabtg1.é\\'), max_size=30)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("<sip:a@b;tag=1", "<sip:a@b>;tag=1"),
        ("<sip:a@b", "<sip:a@b>"),
        ("<sip:a@b;user=phone;tag=1;x", "<sip:a@b;user=phone>;tag=1;x"),
        ('"Bell" sip:a@b;tag=1', '"Bell" <sip:a@b>;tag=1'),
        ("Dr. J. (UK) Müller <sip:a@b>;tag=1", '"Dr. J. (UK) Müller" <sip:a@b>;tag=1'),
        ("sales@example.com <sip:a@b>;tag=1", '"sales@example.com" <sip:a@b>;tag=1'),
        ('""unknown"" <sip:a@b>;tag=1', '"unknown" <sip:a@b>;tag=1'),
        ('"Sami\\" <sip:a@b>;tag=1', '"Sami" <sip:a@b>;tag=1'),
        ('"Sami \\\\\\" <sip:a@b>;tag=1', '"Sami " <sip:a@b>;tag=1'),
        ('"Bell\\" <sip:a@b>;x="c";tag=1', '"Bell" <sip:a@b>;x="c";tag=1'),
        ('John "Jack" Doe <sip:a@b>;tag=1', '"John Jack Doe" <sip:a@b>;tag=1'),
        ('"Bell, A" <sip:a@b>;;tag=1;', '"Bell, A" <sip:a@b>;tag=1'),
        ("<<sip:a@b>>;tag=1", "<sip:a@b>;tag=1"),
        ("<sip:a@b>tag=1", "<sip:a@b>;tag=1"),
        ("<sip:a@b;>;tag=1", "<sip:a@b>;tag=1"),
        ("<sip:a@b;;lr;>;tag=1", "<sip:a@b;lr>;tag=1"),
        ("<sip:a@b:>;tag=1", "<sip:a@b>;tag=1"),
        ("a@b;tag=1", "<sip:a@b>;tag=1"),
        ("<+15550100@h:5060>;tag=1", "<sip:+15550100@h:5060>;tag=1"),
        ("<192.0.2.1>;tag=1", "<sip:192.0.2.1>;tag=1"),
        ("<sip:100%@b>;tag=1", "<sip:100%25@b>;tag=1"),
        ("<sip:müller@b>;tag=1", "<sip:m%C3%BCller@b>;tag=1"),
        ("<sip:a@[fe80::1%eth0]:5060>;tag=1", "<sip:a@[fe80::1]:5060>;tag=1"),
        ("<sip:a@2001:db8::1>;tag=1", "<sip:a@[2001:db8::1]>;tag=1"),
        ('<sip:a@b;thinfo="V/A=">;tag=1', "<sip:a@b;thinfo=%22V/A=%22>;tag=1"),
        ('<sip:a@b>;tag=1;note="open', "<sip:a@b>;tag=1"),
        ("<sip:a@b>;p@r;tag=1", "<sip:a@b>;tag=1"),
    ],
)
def test_address_with_one_plain_meaning(text: str, meant: str) -> None:
    address, mended = read_address(text, "From")
    assert (str(address), mended) == (meant, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Bell, A <sip:a@b>;tag=1", "Unquoted display name in From"),
        ("Sales; A <sip:a@b>;tag=1", "Unquoted display name in From"),
        ('"Bell <sip:a@b>;tag=1', "Unbalanced quote in From"),
        ('"Bell\\" A <sip:a@b>;tag=1', "Unbalanced quote in From"),
        ("< sip:a@b >;tag=1", "Illegal character in URI of From"),
        ("<sip:a b@c>;tag=1", "Illegal character in URI of From"),
        ("<sip:a@b>, <sip:c@d>;tag=1", "Malformed parameters in From"),
        ("<sip:a@b>;tag=1 2", "Malformed parameter in From"),
        ('<sip:a@b>;x="open;tag=1', "Unbalanced quote in From"),
        ("sip:a@b?x=y;tag=1", "URI without angle brackets in From"),
        ("<>;tag=1", "No scheme in URI of From"),
        ("<nobody>;tag=1", "No scheme in URI of From"),
        ("<sip:a@b:70000>;tag=1", "Port out of range in From"),
    ],
)
def test_address_with_two_meanings_or_none(text: str, reason: str) -> None:
    with pytest.raises(SipParseError) as caught:
        read_address(text, "From")
    assert caught.value.reason.replace("URI of From", "From") == reason.replace("URI of From", "From")


def test_address_by_the_grammar_is_not_mended() -> None:
    text = '"Bell, \\"A\\"" <sip:a;x@b;lr?y=z>;tag=1;note="a;b"'
    assert read_address(text, "From") == (parse_name_addr(text, "From"), False)


@pytest.mark.parametrize(
    ("text", "tag"),
    [("Bell, A <sip:a@b>;tag=7", "7"), ('"open <sip:a@b> ; TAG = 7 ;x', "7"), ("< sip:a@b >", None), ("<", None)],
)
def test_party_that_cannot_be_read_has_its_tag(text: str, tag: str | None) -> None:
    assert read_party(text, "From").tag == tag


def test_party_with_two_tags_is_refused() -> None:
    with pytest.raises(SipParseError, match="Several tags in From"):
        read_party("Bell, A <sip:a@b>;tag=7;tag=8", "From")


def test_contacts_that_can_be_read_are_taken() -> None:
    contacts, mended = read_contacts(["<>, <sip:a@b>;q=0.5,,*", "nobody"])
    assert ([str(one.uri) for one in contacts], mended) == (["sip:a@b"], True)
    assert read_contacts(["*"]) == ((), False)
    assert read_contacts([" "]) == ((), False)
    with pytest.raises(SipParseError, match="No scheme"):
        read_contacts(["<>, nobody"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("SIP/2.0/UDP h;;branch=1;", "SIP/2.0/UDP h;branch=1"),
        ("SIP/2.0/UDP [fe80::1%eth0]:5060;branch=1", "SIP/2.0/UDP [fe80::1]:5060;branch=1"),
        ("SIP/2.0/UDP 2001:db8::1;branch=1", "SIP/2.0/UDP [2001:db8::1];branch=1"),
        ("SIP/2.0/TCP h:0;branch=1", "SIP/2.0/TCP h;branch=1"),
        ("SIP/2.0/UDP h:70000;rport;branch=1", "SIP/2.0/UDP h;rport;branch=1"),
        ("SIP/2.0/UDP h:;branch=1", "SIP/2.0/UDP h;branch=1"),
        ("SIP/2.0/UDP h;odd=<x>;b@d=1;branch=1", 'SIP/2.0/UDP h;odd="<x>";branch=1'),
    ],
)
def test_via_with_one_plain_meaning(text: str, meant: str) -> None:
    via, mended = read_via(text)
    assert (str(via), mended) == (meant, True)


@pytest.mark.parametrize("text", ["SIP/2.0/UDP h:0;branch=1", "SIP/2.0/UDP h;branch=1 2", "SIP/2.0/UDP ;branch=1", "h"])
def test_via_that_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        read_via(text)


def test_first_via_is_behind_what_is_empty() -> None:
    via, others, mended = first_via(["", " , SIP/2.0/UDP a;branch=1 , SIP/2.0/UDP b", "SIP/2.0/UDP c"])
    assert (via.host, others, mended) == ("a", ["SIP/2.0/UDP b"], True)


def test_numbers_and_media_types() -> None:
    assert str(read_cseq("1INVITE")[0]) == str(read_cseq("1 INVITE ;")[0]) == "1 INVITE"
    assert read_integer(" 70 ; x", "X") == read_integer("70, 070", "X") == (70, True)
    with pytest.raises(SipParseError):
        read_integer("70, 71", "X")
    for text in ("application/sdp;", "Application / SDP ,", "application/sdp;;", "application/sdp ; ;"):
        assert str(read_media_type(text)[0]) == "application/sdp"
    kind, mended = read_media_type('multipart/mixed;;boundary="a b";')
    assert (kind.parameters["boundary"], mended) == ("a b", True)
    with pytest.raises(SipParseError):
        read_media_type("multipart/mixed;boundary=a b;")


def test_accept_that_says_nothing_is_not_there() -> None:
    ranges, mended = read_accept(["application/sdp;, application/, */*,"])
    assert ([str(one) for one in ranges or ()], mended) == (["application/sdp", "*/*"], True)
    assert read_accept(["application/"]) == (None, True)
    assert read_accept([""]) == ((), False)


def test_tokens_that_can_be_read_are_known() -> None:
    assert known_tokens([",timer, a b,", "100rel;x, replaces"]) == ("timer", "replaces")


@settings(max_examples=500, deadline=None)
@given(TEXT, st.sampled_from(["", "<", '"x" <sip:a@b>', "sip:a@b", "SIP/2.0/UDP h;branch=1"]))
def test_what_is_read_stands_when_it_is_written_and_read_again(text: str, begin: str) -> None:
    for read, parse in (
        (lambda value: read_address(value, "Route"), lambda value: parse_name_addr(value, "Route")),
        (lambda value: read_contacts([value]), None),
        (read_via, parse_via),
        (lambda value: read_uri(value, "URI"), None),
    ):
        try:
            value, _ = read(begin + text)
        except SipParseError:
            continue
        if parse is not None:
            assert str(parse(str(value))) == str(value)
        elif isinstance(value, tuple):
            assert all(str(parse_contact(str(one))) == str(one) for one in value)


def test_answer_to_an_address_that_was_mended_can_be_read_whatever_its_name_holds() -> None:
    request = parse_datagram(
        b"OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n"
        b'To: "BEL:\\\x07 \\"\\\\ DEL:\\\x7f" <name@example.com>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n'
    )
    assert isinstance(request, SipRequest)
    answer = parse_datagram(encode(request.response(200, to_tag="t")))
    assert isinstance(answer, SipResponse)
    to, _ = read_address(str(answer.headers.get("To")), "To")
    assert (to.display_name, to.tag) == ('BEL:\x07 "\\ DEL:\x7f', "t")
